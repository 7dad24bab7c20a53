"""What the kernels of infinitely wide convolutional networks have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations import Activation, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.kernels.inner_products import check_inputs, snap_parallel

BLOCK_ENTRIES = 2**18
"""Pairs of positions that a block holds, about: a megabyte in float32, with some ten temporaries of its size."""


@takes_numpy
@dataclass(frozen=True)
class ConvKernel(ABC):
    """A kernel of a convolutional network with L hidden layers of infinitely many channels, in NTK parametrization.

    h^1(p) = σ_w Σ_o W^1_o x(p+o)/√(d k²) + σ_b b^1,  h^{l+1}(p) = σ_w Σ_o W^{l+1}_o φ(h^l(p+o))/√(n k²) + σ_b b^{l+1},

    with o over the k² offsets of a k × k kernel and zeros outside the image. The readout is linear in φ(h^L) of all
    positions (``pooling=False``: f = σ_w Σ_p W_p φ(h^L(p))/√(nP) + σ_b b), or in their average over positions
    (``pooling=True``: f = σ_w W Σ_p φ(h^L(p))/(√n P) + σ_b b). Channels are iid Gaussian functions of image and
    position; with (u, v) of covariance K^l(p, p') (Novak et al. 2019; Arora et al. 2019)

    K^{l+1}(p, p') = σ_w²/k² Σ_o E φφ(p+o, p'+o) + σ_b².

    Without pooling only pairs p = p' of the two images matter, P to a pair of images; with it all P². Inputs are
    flattened images (n, channels·height·width), as `mupi.KernelRegression` has them.

    Args:
        image_shape: Channels, height and width.
        depth: L ≥ 1.
        activation: φ, an `Activation` or any callable.
        pooling: Whether φ is averaged over positions before the readout.
        kernel_size: Odd side k of all kernels.
        sigma_w: σ_w.
        sigma_b: σ_b.

    Raises:
        ValueError: For a size that is not a positive integer, an even kernel, or a σ that is negative or not finite.
    """

    image_shape: tuple[int, int, int]
    depth: int
    activation: Activation | Callable[[Tensor], Tensor]
    pooling: bool = False
    kernel_size: int = 3
    sigma_w: float = sqrt(2)
    sigma_b: float = 0.0

    def __post_init__(self):
        name = type(self).__name__
        for size in self.image_shape:
            positive_int(f"{name}(image_shape=...)", size)
        positive_int(f"{name}(depth=...)", self.depth)
        positive_int(f"{name}(kernel_size=...)", self.kernel_size)
        if self.kernel_size % 2 == 0:
            fail(f"{name}(kernel_size=...)", "odd", self.kernel_size)
        non_negative(f"{name}(sigma_w=...)", self.sigma_w)
        non_negative(f"{name}(sigma_b=...)", self.sigma_b)
        object.__setattr__(self, "activation", as_activation(self.activation, f"{name}(activation=...)"))

    @property
    def φ(self) -> Activation:
        """The activation as an `Activation`."""
        assert isinstance(self.activation, Activation)
        return self.activation

    @abstractmethod
    def entries(
        self,
        var_u: list[Float[Tensor, "*#pairs"]],
        cov: Float[Tensor, "*pairs"],
        var_v: list[Float[Tensor, "*#pairs"]],
    ) -> Float[Tensor, "n m"]:
        """Entries from K^1(p, p), …, K^L(p, p) of each image and the moments ⟨x(p), x'(p')⟩/d of pairs.

        Pairs have shape (n, m, height, width), or (n, m, height, width, height, width) with pooling.
        """

    def __call__(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"] | None = None) -> Float[Tensor, "n m"]:
        """The kernel of every row of ``x1`` with every row of ``x2``, by default ``x1``; without autograd.

        Raises:
            ValueError: For inputs that are not finite matrices of one dtype, with images of ``image_shape`` as rows.
        """
        name = type(self).__name__
        check_inputs(name, x1, x2)
        channels, height, width = self.image_shape
        if x1.shape[1] != channels * height * width:
            fail(f"{name}(x1)", f"of width {channels * height * width}, that of {self.image_shape}", x1.shape[1])
        symmetric = x2 is None or x2 is x1
        x2 = x1 if x2 is None else x2
        out = x1.new_empty(len(x1), len(x2))
        positions = height * width
        side = max(1, int((BLOCK_ENTRIES / positions ** (2 if self.pooling else 1)) ** 0.5))
        with torch.no_grad():
            var_1, var_2 = self._variances(x1), self._variances(x2)
            for i in range(0, len(x1), side):
                rows = slice(i, i + side)
                for j in range(0, i + 1 if symmetric else len(x2), side):
                    columns = slice(j, j + side)
                    block = self._block(x1[rows], x2[columns], var_1, var_2, rows, columns)
                    out[rows, columns] = block
                    if symmetric and j < i:
                        out[columns, rows] = block.T
        return out

    def diagonal(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """k(x, x) of each row."""
        return torch.stack([self(row[None])[0, 0] for row in x]) if len(x) else x.new_zeros(0)

    def affine(self, moment: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
        """σ_w²/k² Σ_o ``moment``(p+o, p'+o) + σ_b², of pairs in the last two or four axes."""
        return self.sigma_w**2 * self.moved_average(moment) + self.sigma_b**2

    def moved_average(self, moment: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
        """(1/k²) Σ_o ``moment``(p+o, p'+o), zeros outside the images."""
        for axes in ((-4, -2), (-3, -1)) if moment.ndim >= 6 else ((-2,), (-1,)):
            moment = _moved_sum(moment, axes, self.kernel_size // 2)
        return moment / self.kernel_size**2

    def layer(
        self, var_u: Float[Tensor, "*#pairs"], moment: Float[Tensor, "*pairs"], var_v: Float[Tensor, "*#pairs"]
    ) -> Float[Tensor, "*pairs"]:
        """K^l of pairs, from the moments of the layer before; parallel pairs are exactly parallel."""
        return snap_parallel(var_u, self.affine(moment), var_v)

    def readout(self, moment: Float[Tensor, "n m *positions"]) -> Float[Tensor, "n m"]:
        """The mean over all pairs of positions that the readout sees."""
        return moment.flatten(2).mean(2)

    def _images(self, x: Tensor) -> Float[Tensor, "n channels height width"]:
        return x.reshape(-1, *self.image_shape)

    def _variances(self, x: Tensor) -> list[Float[Tensor, "n height width"]]:
        """K^1(p, p), …, K^L(p, p)."""
        var = [self._affine_image(self._images(x).square().mean(1))]
        for _ in range(self.depth - 1):
            var.append(self._affine_image(self.φ.dual(var[-1], var[-1], var[-1])))
        return var

    def _affine_image(self, moment: Float[Tensor, "n height width"]) -> Float[Tensor, "n height width"]:
        for axis in (-2, -1):
            moment = _moved_sum(moment, (axis,), self.kernel_size // 2)
        return self.sigma_w**2 * moment / self.kernel_size**2 + self.sigma_b**2

    def _block(
        self, x1: Tensor, x2: Tensor, var_1: list[Tensor], var_2: list[Tensor], rows: slice, columns: slice
    ) -> Float[Tensor, "n m"]:
        first, second = self._images(x1), self._images(x2)
        channels = self.image_shape[0]
        if self.pooling:
            cov = torch.einsum("nchw,mcij->nmhwij", first, second) / channels
            left = [v[rows, None, :, :, None, None] for v in var_1]
            right = [v[None, columns, None, None] for v in var_2]
        else:
            cov = torch.einsum("nchw,mchw->nmhw", first, second) / channels
            left, right = [v[rows, None] for v in var_1], [v[None, columns] for v in var_2]
        return self.entries(left, cov, right)


def _moved_sum(moment: Tensor, axes: tuple[int, ...], reach: int) -> Tensor:
    """Σ_{|s| ≤ reach} of the tensor moved by s along all ``axes`` at once, zeros coming in."""
    total, size = moment.clone(), moment.shape[axes[0]]
    for s in range(1, min(reach, size - 1) + 1):
        to, source = total, moment
        for axis in axes:
            to, source = to.narrow(axis, 0, size - s), source.narrow(axis, s, size - s)
        to += source
        to, source = total, moment
        for axis in axes:
            to, source = to.narrow(axis, s, size - s), source.narrow(axis, 0, size - s)
        to += source
    return total
