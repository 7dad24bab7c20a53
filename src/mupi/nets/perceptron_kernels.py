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
from mupi.activations.determinant import differentiated
from mupi.arrays import takes_numpy
from mupi.checks import is_eager, positive_int
from mupi.kernels.bounds import bound_root, check_diagonal, check_entries, check_variances
from mupi.kernels.inner_products import check_inputs, check_sigma, mean_square, shrunk, snap_parallel
from mupi.kernels.resolution import check_only_equal, is_coarse, moved_apart, unresolved
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
    backward pass. Angles below 4√eps count as 0. Derivatives of any order exist, by autograd and `torch.func`; those
    that diverge for a kinked φ at parallel inputs count as their mean over directions. Where a variance is so large
    that its rounding would show, all is computed in float64; for rectifiers and polynomials it never does.

    Args:
        depth: Number L ≥ 1 of hidden layers.
        activation: φ, an `Activation` or any callable.
        sigma_w: σ_w; for ReLU √2 keeps variances the same in all layers, and any value only rescales the kernel.
        sigma_b: σ_b of the biases.

    Raises:
        ValueError: For a depth that is not a positive integer, or a σ that is negative or has no finite square.
    """

    depth: int
    activation: Activation | Callable[[Tensor], Tensor]
    sigma_w: float = sqrt(2)
    sigma_b: float = 0.0

    def __post_init__(self):
        name = type(self).__name__
        positive_int(f"{name}(depth=...)", self.depth)
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
        var_u: Float[Tensor, "layers *#pairs"],
        cov: Float[Tensor, "*#pairs"],
        var_v: Float[Tensor, "layers *#pairs"],
    ) -> Float[Tensor, "*#pairs"]:
        """Entries from K^1(x, x), …, K^L(x, x) and those of x', and ⟨x, x'⟩/d."""

    def __call__(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"] | None = None) -> Float[Tensor, "n m"]:
        """The kernel of every row of ``x1`` with every row of ``x2``, by default ``x1``; differentiable.

        Raises:
            ValueError: For inputs that are not finite matrices of one dtype and width, or so large or small that the
                kernel is not finite or breaks 0 ≤ k(x, x), |k(x, x')| ≤ √(k(x, x) k(x', x')), or that not even
                float64 tells their angles where the kernel depends on them.
        """
        check_inputs(type(self).__name__, x1, x2)
        if differentiated(x1, x1 if x2 is None else x2):
            return self._differentiable(x1, x1 if x2 is None else x2)
        rows_1, rows_2 = self._both_rows(x1, x1 if x2 is None else x2)
        out = x1.new_empty(len(rows_1.x), len(rows_2.x))
        if rows_1 is rows_2:
            self._symmetric(out, rows_1)
        elif rows_1.x.dtype == out.dtype:
            self._fill(torch.mm(rows_1.x, rows_2.x.T, out=out), rows_1, rows_2)
        else:
            for i in row_blocks(*out.shape):
                out[i] = self._fill(rows_1.x[i] @ rows_2.x.T, rows_1[i], rows_2)
        return out

    def diagonal(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """k(x, x) of each row, in O(n d); differentiable.

        Raises:
            ValueError: As in a call.
        """
        name = type(self).__name__
        check_inputs(name, x, None)
        return self._rows(f"{name}(x)", x).diagonal.to(x.dtype)

    def layer(
        self, var_u: Float[Tensor, "*#pairs"], moment: Float[Tensor, "*#pairs"], var_v: Float[Tensor, "*#pairs"]
    ) -> Float[Tensor, "*#pairs"]:
        """K^l = σ_w²·``moment`` + σ_b² beside its variances, so that parallel pairs are exactly parallel."""
        return snap_parallel(var_u, self.affine(moment), var_v)

    def affine(self, moment: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
        """σ_w²·``moment`` + σ_b²."""
        return self.sigma_w**2 * moment + self.sigma_b**2

    def _rows(self, argument: str, x: Float[Tensor, "n d"]) -> "Rows":
        """What a call needs of every row; checked, but under a transform of `torch.func`. In float64 where it must."""
        given, (x, scale) = x, shrunk(x)
        moment = mean_square(x) / scale**2
        var = [self.affine(moment)]
        for _ in range(self.depth - 1):
            var.append(self.affine(self.φ.dual(var[-1], var[-1], var[-1])))
        if x.dtype != torch.float64 and is_coarse(self.φ, var):
            rows = self._rows(argument, given.double())
            if is_eager(x):
                check_diagonal(argument, rows.diagonal.to(x.dtype))
            return rows
        variances = torch.stack(var)
        rows = Rows(x, scale, variances, self.entries(variances, moment, variances))
        if is_eager(x):
            check_variances(argument, x, moment, var, self.sigma_b)
            check_diagonal(argument, rows.diagonal)
        return rows

    def _both_rows(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> tuple["Rows", "Rows"]:
        """Those of two sets of inputs, once if they are one, in one dtype."""
        name = type(self).__name__
        rows_1 = self._rows(f"{name}(x1)", x1)
        if x1 is x2:
            return rows_1, rows_1
        rows_2 = self._rows(f"{name}(x2)", x2)
        if rows_1.x.dtype == rows_2.x.dtype:
            return rows_1, rows_2
        return self._rows(f"{name}(x1)", x1.double()), self._rows(f"{name}(x2)", x2.double())

    def _differentiable(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """By blocks of rows, of which autograd stores the inputs only; at once where `torch.func` allows no such."""
        if not (is_eager(x1) and is_eager(x2)):
            return self._block(x1, x2)
        blocks = list(row_blocks(len(x1), len(x2), entries=CHECKPOINT_ENTRIES))
        if len(blocks) == 1:
            return self._block(x1, x2)
        parts = [checkpoint(self._block, x1[i], x2, use_reentrant=False, preserve_rng_state=False) for i in blocks]
        return torch.cat(parts)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _block(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        rows_1, rows_2 = self._both_rows(x1, x2)
        cov = rows_1.x @ rows_2.x.T / rows_1.divisor(rows_2)
        out = self.entries(rows_1.variances[..., None], cov, rows_2.variances[:, None])
        if is_eager(out):
            check_entries(self._pairs, out, bound_root(rows_1.diagonal), bound_root(rows_2.diagonal))
            if is_coarse(self.φ, (rows_1.variances, rows_2.variances)):
                self._check_resolved(out, cov, rows_1, rows_2)
        return out.to(x1.dtype)

    def _symmetric(self, out: Float[Tensor, "n n"], rows: "Rows") -> None:
        """The lower triangle by blocks of rows, and its mirror image."""
        x = rows.x
        for i in row_blocks(len(x), len(x), entries=SYMMETRIC_ROWS * len(x)):
            left = slice(0, i.stop)
            if x.dtype == out.dtype:
                self._fill(torch.mm(x[i], x[left].T, out=out[i, left]), rows[i], rows[left])
            else:
                out[i, left] = self._fill(x[i] @ x[left].T, rows[i], rows[left])
            out[: i.start, i] = out[i, : i.start].T
            square = out[i, i]
            square.copy_(square.tril() + square.tril(-1).T)

    def _fill(self, gram: Float[Tensor, "n m"], rows_1: "Rows", rows_2: "Rows") -> Float[Tensor, "n m"]:
        """Replace inner products by entries of the kernel, tile by tile, each checked while it is in the cache."""
        divisor = rows_1.divisor(rows_2)
        root_1, root_2 = bound_root(rows_1.diagonal), bound_root(rows_2.diagonal)
        coarse = is_coarse(self.φ, (rows_1.variances, rows_2.variances))
        for rows, columns in tiles(len(gram), gram.shape[1], gram.device):
            cov = gram[rows, columns] / divisor
            tile = self.entries(rows_1.variances[:, rows, None], cov, rows_2.variances[:, None, columns])
            check_entries(self._pairs, tile, root_1[rows], root_2[columns])
            if coarse:
                self._check_resolved(tile, cov, rows_1[rows], rows_2[columns])
            gram[rows, columns] = tile
        return gram

    def _check_resolved(
        self, entries: Float[Tensor, "n m"], cov: Float[Tensor, "n m"], rows_1: "Rows", rows_2: "Rows"
    ) -> None:
        """Raise ``ValueError`` where rounding of inner products decides."""
        with torch.no_grad():
            var_u, var_v = rows_1.variances[..., None], rows_2.variances[:, None]
            moved = self.entries(var_u, moved_apart(var_u[0], cov, var_v[0], self.sigma_w), var_v)
            at = unresolved(entries, moved, rows_1.diagonal, rows_2.diagonal)
            check_only_equal(self._pairs, at, rows_1.x, rows_2.x, self.sigma_b)

    @property
    def _pairs(self) -> str:
        """Pairs of inputs, as messages call them."""
        return f"{type(self).__name__}(x1, x2)"


@dataclass(frozen=True)
class Rows:
    """Inputs times ``scale``, and without it K^1(x, x), …, K^L(x, x) and k(x, x) of each."""

    x: Float[Tensor, "n d"]
    scale: float
    variances: Float[Tensor, "layers n"]
    diagonal: Float[Tensor, " n"]

    def __getitem__(self, i: slice) -> "Rows":
        """Some of them."""
        return Rows(self.x[i], self.scale, self.variances[:, i], self.diagonal[i])

    def divisor(self, other: "Rows") -> float:
        """What makes mean products over d of inner products."""
        return self.x.shape[1] * self.scale * other.scale
