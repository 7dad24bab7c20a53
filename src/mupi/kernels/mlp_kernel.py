"""What the kernels of infinitely wide multilayer perceptrons have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mupi.activations import Activation, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import non_negative, positive_int
from mupi.kernels.inner_products import check_inputs, mean_square, snap_parallel
from mupi.kernels.tiles import row_blocks, tiles

SYMMETRIC_ROWS = 512
"""Rows of a block of a symmetric matrix, whose part right of the diagonal is computed in vain."""

CHECKPOINT_ENTRIES = 2**20
"""Entries of a block of rows that autograd goes through at a time, with some 30 temporaries of its size."""


@takes_numpy
@dataclass(frozen=True)
class MLPKernel(ABC):
    """A kernel of the perceptron with L = ``depth`` hidden layers of infinite width, in NTK parametrization.

    h^1 = σ_w W^1 x/√d + σ_b b^1,  h^{l+1} = σ_w W^{l+1} φ(h^l)/√n + σ_b b^{l+1},  f = h^{L+1}, every entry of W^l and
    b^l a trainable N(0, 1). As n → ∞ the coordinates of h^l are iid Gaussian functions of x with covariance

    K^1 = σ_w² ⟨x, x'⟩/d + σ_b²,  K^{l+1} = σ_w² E φ(u)φ(v) + σ_b²,  (u, v) ~ N(0, K^l on {x, x'}).

    A kernel of the family maps the L + 1 variances of two inputs and ⟨x, x'⟩/d to an entry. Inputs have shape
    (n, d). Beside the result, a call holds a few blocks of rows only; under autograd it recomputes them in the
    backward pass. Angles below 4√eps count as 0.

    Args:
        depth: L ≥ 1.
        activation: φ, an `Activation` or any callable.
        sigma_w: σ_w; for ReLU √2 keeps variances the same in all layers, and any value only rescales the kernel.
        sigma_b: σ_b.

    Raises:
        ValueError: For a depth that is not a positive integer, or a σ that is negative or not finite.
    """

    depth: int
    activation: Activation | Callable[[Tensor], Tensor]
    sigma_w: float = sqrt(2)
    sigma_b: float = 0.0

    def __post_init__(self):
        name = type(self).__name__
        positive_int(f"{name}(depth=...)", self.depth)
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
        var_u: Float[Tensor, "layers *#pairs"],
        cov: Float[Tensor, "*#pairs"],
        var_v: Float[Tensor, "layers *#pairs"],
    ) -> Float[Tensor, "*#pairs"]:
        """Entries from K^1(x, x), …, K^L(x, x) and those of x', and ⟨x, x'⟩/d."""

    def __call__(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"] | None = None) -> Float[Tensor, "n m"]:
        """The kernel of every row of ``x1`` with every row of ``x2``, by default ``x1``; differentiable.

        Raises:
            ValueError: For inputs that are not finite matrices of one dtype and width.
        """
        check_inputs(type(self).__name__, x1, x2)
        if torch.is_grad_enabled() and (x1.requires_grad or (x2 is not None and x2.requires_grad)):
            return self._differentiable(x1, x1 if x2 is None else x2)
        if x2 is None or x2 is x1:
            return self._symmetric(x1)
        out = x1 @ x2.T
        self._fill(out, self._variances(x1), self._variances(x2), x1.shape[1])
        return out

    def diagonal(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """k(x, x) of each row, in O(n d); differentiable.

        Raises:
            ValueError: As in a call.
        """
        check_inputs(type(self).__name__, x, None)
        var = self._variances(x)
        return self.entries(var, mean_square(x), var)

    def layer(
        self, var_u: Float[Tensor, "*#pairs"], moment: Float[Tensor, "*#pairs"], var_v: Float[Tensor, "*#pairs"]
    ) -> Float[Tensor, "*#pairs"]:
        """K^l = σ_w²·``moment`` + σ_b² beside its variances, so that parallel pairs are exactly parallel."""
        return snap_parallel(var_u, self.affine(moment), var_v)

    def affine(self, moment: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
        """σ_w²·``moment`` + σ_b²."""
        return self.sigma_w**2 * moment + self.sigma_b**2

    def _variances(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "layers n"]:
        """K^1(x, x), …, K^L(x, x)."""
        var = [self.affine(mean_square(x))]
        for _ in range(self.depth - 1):
            var.append(self.affine(self.φ.dual(var[-1], var[-1], var[-1])))
        return torch.stack(var)

    def _differentiable(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """By blocks of rows, of which autograd stores the inputs only."""
        blocks = list(row_blocks(len(x1), len(x2), entries=CHECKPOINT_ENTRIES))
        if len(blocks) == 1:
            return self._rows(x1, x2)
        parts = [checkpoint(self._rows, x1[rows], x2, use_reentrant=False, preserve_rng_state=False) for rows in blocks]
        return torch.cat(parts)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _rows(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        var_u, var_v = self._variances(x1), self._variances(x2)
        return self.entries(var_u[..., None], x1 @ x2.T / x1.shape[1], var_v[:, None])

    def _symmetric(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
        """The lower triangle by blocks of rows, and its mirror image."""
        out = x.new_empty(len(x), len(x))
        var = self._variances(x)
        for rows in row_blocks(len(x), len(x), entries=SYMMETRIC_ROWS * len(x)):
            left = slice(0, rows.stop)
            torch.mm(x[rows], x[left].T, out=out[rows, left])
            self._fill(out[rows, left], var[:, rows], var[:, left], x.shape[1])
            out[: rows.start, rows] = out[rows, : rows.start].T
            square = out[rows, rows]
            square.copy_(square.tril() + square.tril(-1).T)
        return out

    def _fill(
        self,
        gram: Float[Tensor, "n m"],
        var_u: Float[Tensor, "layers n"],
        var_v: Float[Tensor, "layers m"],
        d: int,
    ) -> None:
        """Replace inner products by entries of the kernel, tile by tile."""
        for rows, columns in tiles(len(gram), gram.shape[1], gram.device):
            cov = gram[rows, columns] / d
            gram[rows, columns] = self.entries(var_u[:, rows, None], cov, var_v[:, None, columns])
