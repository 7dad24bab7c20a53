"""What the kernels of infinitely wide convolutional networks have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mupi.activations import Activation, as_activation
from mupi.activations.determinant import differentiated
from mupi.arrays import takes_numpy
from mupi.checks import fail, is_eager, positive_int
from mupi.kernels.bounds import bound_root, check_diagonal, check_entries, check_variances
from mupi.kernels.conv_images import Images, moved_sum
from mupi.kernels.inner_products import check_inputs, check_sigma, shrunk, snap_parallel
from mupi.kernels.resolution import UNRESOLVED, check_only_equal, fail_unresolved, is_coarse, moved_apart, unresolved

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
    flattened images (n, channels·height·width), as `mupi.KernelRegression` has them. Where a variance is so large that
    its rounding would show, all is computed in float64; for rectifiers and polynomials it never does.

    Args:
        image_shape: Channels, height and width.
        depth: Number L ≥ 1 of hidden layers.
        activation: φ, an `Activation` or any callable.
        pooling: Whether φ is averaged over positions before the readout.
        kernel_size: Odd side k of all kernels.
        sigma_w: σ_w of the weights.
        sigma_b: σ_b of the biases.

    Raises:
        ValueError: For a size that is not a positive integer, an even kernel, or a σ that is negative or has no finite
            square.
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
        check_sigma(f"{name}(sigma_w=...)", self.sigma_w)
        check_sigma(f"{name}(sigma_b=...)", self.sigma_b)
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
        """The kernel of every row of ``x1`` with every row of ``x2``, by default ``x1``; differentiable.

        Raises:
            ValueError: For inputs that are not finite matrices of one dtype, with images of ``image_shape`` as rows, or
                so large or small that the kernel is not finite or breaks 0 ≤ k(x, x), |k(x, x')| ≤
                √(k(x, x) k(x', x')), or that not even float64 tells the angles of patches where it depends on them.
        """
        name = type(self).__name__
        check_inputs(name, x1, x2)
        self._check_width(f"{name}(x1)", x1)
        symmetric = x2 is None or x2 is x1
        x2 = x1 if x2 is None else x2
        if differentiated(x1, x2):
            return self._differentiable(x1, x2)
        images_1, images_2 = self._both_images(x1, x2)
        out = x1.new_empty(len(x1), len(x2))
        side = max(1, int(self._block_pairs() ** 0.5))
        for i in range(0, len(x1), side):
            for j in range(0, i + 1 if symmetric else len(x2), side):
                rows, columns = slice(i, i + side), slice(j, j + side)
                block = self._block(images_1[rows], images_2[columns])
                out[rows, columns] = block
                if symmetric and j < i:
                    out[columns, rows] = block.T
        diagonal_1 = out.diagonal() if symmetric else self._diagonal(images_1).to(out.dtype)
        self._check(out, diagonal_1, diagonal_1 if symmetric else self._diagonal(images_2).to(out.dtype))
        return out

    def diagonal(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """k(x, x) of each row; differentiable.

        Raises:
            ValueError: As in a call.
        """
        name = type(self).__name__
        check_inputs(name, x, None)
        self._check_width(f"{name}(x)", x)
        diagonal = self._diagonal(self._images(f"{name}(x)", x)).to(x.dtype)
        if is_eager(diagonal):
            check_diagonal(f"{name}(x)", diagonal)
        return diagonal

    def affine(self, moment: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
        """σ_w²/k² Σ_o ``moment``(p+o, p'+o) + σ_b², of pairs in the last two or four axes."""
        return self.sigma_w**2 * self.moved_average(moment) + self.sigma_b**2

    def moved_average(self, moment: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
        """(1/k²) Σ_o ``moment``(p+o, p'+o), zeros outside the images."""
        for axes in ((-4, -2), (-3, -1)) if moment.ndim >= 6 else ((-2,), (-1,)):
            moment = moved_sum(moment, axes, self.kernel_size // 2)
        return moment / self.kernel_size**2

    def layer(
        self, var_u: Float[Tensor, "*#pairs"], moment: Float[Tensor, "*pairs"], var_v: Float[Tensor, "*#pairs"]
    ) -> Float[Tensor, "*pairs"]:
        """K^l of pairs, from the moments of the layer before; parallel pairs are exactly parallel."""
        return snap_parallel(var_u, self.affine(moment), var_v)

    def readout(self, moment: Float[Tensor, "n m *positions"]) -> Float[Tensor, "n m"]:
        """The mean over all pairs of positions that the readout sees."""
        return moment.flatten(2).mean(2)

    def _check_width(self, argument: str, x: Tensor) -> None:
        channels, height, width = self.image_shape
        if x.shape[1] != channels * height * width:
            fail(argument, f"of width {channels * height * width}, that of {self.image_shape}", x.shape[1])

    def _block_pairs(self) -> int:
        """Pairs of images that a block holds."""
        positions = self.image_shape[1] * self.image_shape[2]
        return max(1, BLOCK_ENTRIES // positions ** (2 if self.pooling else 1))

    def _images(self, argument: str, x: Float[Tensor, "n d"]) -> Images:
        """Rows as images, with K^1(p, p), …, K^L(p, p); checked, but under a transform of `torch.func`.

        In float64 where they must be.
        """
        given, (x, scale) = x, shrunk(x)
        pixels = x.reshape(-1, *self.image_shape)
        var = [self._affine_image(pixels.square().mean(1) / scale**2)]
        for _ in range(self.depth - 1):
            var.append(self._affine_image(self.φ.dual(var[-1], var[-1], var[-1])))
        if x.dtype != torch.float64 and is_coarse(self.φ, var):
            return self._images(argument, given.double())
        if is_eager(x):
            check_variances(argument, pixels, var[0], var, self.sigma_b)
        return Images(pixels, scale, var)

    def _both_images(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> tuple[Images, Images]:
        """Those of two sets of inputs, once if they are one, in one dtype."""
        name = type(self).__name__
        first = self._images(f"{name}(x1)", x1)
        if x1 is x2:
            return first, first
        second = self._images(f"{name}(x2)", x2)
        if first.pixels.dtype == second.pixels.dtype:
            return first, second
        return self._images(f"{name}(x1)", x1.double()), self._images(f"{name}(x2)", x2.double())

    def _affine_image(self, moment: Float[Tensor, "n height width"]) -> Float[Tensor, "n height width"]:
        for axis in (-2, -1):
            moment = moved_sum(moment, (axis,), self.kernel_size // 2)
        return self.sigma_w**2 * moment / self.kernel_size**2 + self.sigma_b**2

    def _block(self, first: Images, second: Images) -> Float[Tensor, "n m"]:
        """Every image with every one."""
        channels = self.image_shape[0] * first.scale * second.scale
        if self.pooling:
            cov = torch.einsum("nchw,mcij->nmhwij", first.pixels, second.pixels) / channels
            left = [v[:, None, :, :, None, None] for v in first.variances]
            right = [v[None, :, None, None] for v in second.variances]
        else:
            cov = torch.einsum("nchw,mchw->nmhw", first.pixels, second.pixels) / channels
            left, right = [v[:, None] for v in first.variances], [v[None] for v in second.variances]
        entries = self.entries(left, cov, right)
        if is_eager(cov) and is_coarse(self.φ, (*first.variances, *second.variances)):
            with torch.no_grad():
                self._check_resolved(entries, self._moved_entries(left, cov, right), first, second)
        return entries

    def _diagonal(self, images: Images) -> Float[Tensor, " n"]:
        """Every image with itself, block by block."""
        step, n = self._block_pairs(), len(images.pixels)
        return torch.cat([self._own(images[i : i + step]) for i in range(0, max(1, n), step)])

    def _own(self, images: Images) -> Float[Tensor, " n"]:
        """Every image of a block with itself."""
        channels, pixels = self.image_shape[0] * images.scale**2, images.pixels
        if self.pooling:
            cov = torch.einsum("nchw,ncij->nhwij", pixels, pixels)[:, None] / channels
            left = [v[:, None, :, :, None, None] for v in images.variances]
            right = [v[:, None, None, None] for v in images.variances]
        else:
            cov = pixels.square().sum(1)[:, None] / channels
            left = right = [v[:, None] for v in images.variances]
        entries = self.entries(left, cov, right)[:, 0]
        if self.pooling and is_eager(cov) and is_coarse(self.φ, images.variances):
            with torch.no_grad():
                off = (entries - self._moved_entries(left, cov, right)[:, 0]).abs()
                if not (off <= UNRESOLVED * entries.abs()).all():
                    fail_unresolved(f"{type(self).__name__}(x)")
        return entries

    def _moved_entries(self, left: list[Tensor], cov: Tensor, right: list[Tensor]) -> Float[Tensor, "n m"]:
        """Entries at angles that rounding does not tell from those of the pairs."""
        own = self.sigma_w / self.kernel_size  # the part of a pair in the average that is its own K^1
        return self.entries(left, moved_apart(left[0], cov, right[0], own), right)

    def _check_resolved(
        self, entries: Float[Tensor, "n m"], moved: Float[Tensor, "n m"], first: Images, second: Images
    ) -> None:
        """Raise ``ValueError`` where rounding of inner products decides."""
        argument = f"{type(self).__name__}(x1, x2)"
        at = unresolved(entries, moved, self._diagonal(first), self._diagonal(second))
        if self.pooling and at.any():  # between its own patches an image has angles that are not known
            fail_unresolved(argument)
        check_only_equal(argument, at, first.pixels.flatten(1), second.pixels.flatten(1), self.sigma_b)

    def _differentiable(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """By blocks, of which autograd stores the inputs only; at once where `torch.func` allows no such."""
        if not (is_eager(x1) and is_eager(x2)):
            return self._checked_block(x1, x2)
        side = max(1, int(self._block_pairs() ** 0.5))
        if len(x1) <= side and len(x2) <= side:
            return self._checked_block(x1, x2)

        def block(part_1: Tensor, part_2: Tensor) -> Tensor:
            out = checkpoint(self._checked_block, part_1, part_2, use_reentrant=False, preserve_rng_state=False)
            assert isinstance(out, Tensor)
            return out

        return torch.cat([torch.cat([block(i, j) for j in x2.split(side)], 1) for i in x1.split(side)])

    def _checked_block(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        first, second = self._both_images(x1, x2)
        out = self._block(first, second).to(x1.dtype)
        if is_eager(out):
            with torch.no_grad():
                self._check(out, self._diagonal(first).to(out.dtype), self._diagonal(second).to(out.dtype))
        return out

    def _check(self, out: Float[Tensor, "n m"], diagonal_1: Float[Tensor, " n"], diagonal_2: Float[Tensor, " m"]):
        name = type(self).__name__
        check_diagonal(f"{name}(x1)", diagonal_1)
        check_diagonal(f"{name}(x2)", diagonal_2)
        check_entries(f"{name}(x1, x2)", out, bound_root(diagonal_1), bound_root(diagonal_2))
