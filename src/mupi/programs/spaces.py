"""Where the lines of a program are evaluated: on real vectors of a width, or on samples of the limit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.programs.deferred import Deferred, Products
from mupi.programs.family import Block, Family, LimitMatrix

HEAVIEST = 0.3
"""The largest share of a second moment that one sample of many may have."""


@runtime_checkable
class Space(Protocol):
    """What the lines of a program need; a vector is a `Block`, a scalar a tensor."""

    def gaussian(self, factor: Float[Tensor, "k r"], mean: Float[Tensor, " k"]) -> Block:
        """k initial vectors, with coordinates iid copies of mean + factor z, z ~ N(0, I)."""
        ...

    def matrix(self, sigma: float, ratio: float) -> Any:
        """W with iid N(0, σ²/n) entries, n its columns and ratio·n its rows, for ``@``, ``.T``, ``*`` and `+`."""
        ...

    def add_outer(self, matrix: Any, d: Block, x: Block) -> Any:
        """W + d xᵀ/n."""
        ...

    def entries(self, d: Block, x: Block) -> Any:
        """d xᵀ, a number for each pair of coordinates."""
        ...

    def add_entries(self, matrix: Any, q: Any, number: float) -> Any:
        """W + number·q/n."""
        ...

    def apply(self, f: Callable, args: list) -> Block:
        """A coordinatewise function of vectors and scalars."""
        ...

    def inner(self, x: Block, y: Block) -> Float[Tensor, "k m"]:
        """xᵀy/n, or its limit E Z^x Z^y."""
        ...

    def moment(self, x: Block, y: Block) -> Float[Tensor, "k m"]:
        """The same for a line of the program, where it must be well determined."""
        ...

    def mean(self, x: Block) -> Float[Tensor, " k"]:
        """The averages of the coordinates, or their limits E Z^x."""
        ...


@dataclass
class _Tensors:
    """What width-n vectors and n samples have in common.

    Attributes:
        n: Width, or number of samples.
        generator: Draws matrices, vectors and samples; None for torch's own.
        dtype: Floating dtype.
    """

    n: int
    generator: torch.Generator | None
    dtype: torch.dtype

    def apply(self, f: Callable, args: list) -> Float[Tensor, "n k"]:
        """See `Space`."""
        return f(*args)

    def inner(self, x: Float[Tensor, "n k"], y: Float[Tensor, "n m"]) -> Float[Tensor, "k m"]:
        """See `Space`."""
        return x.T @ y / self.n

    def moment(self, x: Float[Tensor, "n k"], y: Float[Tensor, "n m"]) -> Float[Tensor, "k m"]:
        """See `Space`."""
        return self.inner(x, y)

    def mean(self, x: Float[Tensor, "n k"]) -> Float[Tensor, " k"]:
        """See `Space`."""
        return x.mean(0)

    def randn(self, columns: int, rows: int | None = None) -> Float[Tensor, "n k"]:
        """Standard normal draws."""
        return torch.randn(rows or self.n, columns, generator=self.generator, dtype=self.dtype)


class Width(_Tensors):
    """Real vectors and matrices of width n."""

    def gaussian(self, factor: Float[Tensor, "k r"], mean: Float[Tensor, " k"]) -> Float[Tensor, "n k"]:
        """See `Space`."""
        return self.randn(factor.shape[1]) @ factor.T.to(self.dtype) + mean.to(self.dtype)

    def matrix(self, sigma: float, ratio: float = 1.0) -> Float[Tensor, "n n"]:
        """See `Space`; vectors have one length here."""
        if ratio != 1:
            fail("run(width=...)", "of a program of square matrices", f"one with {ratio:g} times as many rows")
        return self.randn(self.n).mul_(sigma / self.n**0.5)

    def add_outer(self, matrix: Float[Tensor, "n n"], d: Float[Tensor, "n k"], x: Float[Tensor, "n k"]):
        """See `Space`."""
        return torch.addmm(matrix, d, x.T, alpha=1 / self.n)

    def entries(self, d: Float[Tensor, "n k"], x: Float[Tensor, "n k"]) -> Float[Tensor, "n n"]:
        """See `Space`."""
        return d @ x.T

    def add_entries(self, matrix: Float[Tensor, "n n"], q: Float[Tensor, "n n"], number: float):
        """See `Space`."""
        return torch.add(matrix, q, alpha=number / self.n)


@dataclass
class Samples(_Tensors):
    """n samples of all random variables at once.

    With nothing done about it, samples would be a network of width n (whose matrices are never written down:
    conditioned on what is known of it, the next product with a Gaussian matrix is what `Family` makes it). What is
    done: every new Gaussian has, over the samples, exactly mean 0 and variance 1 and no correlation with the Gaussians
    drawn before and with what it must be independent of. Linear programs then have no sampling error at all.

    Attributes:
        tolerance: Relative size below which a vector counts as a combination of earlier ones.
        copies: How many samples each sample's entries of matrices are made with, which stand for an independent copy of
            all: a divisor of n, whose groups are each other's copies; None for all n.
        initial: The initial vectors' Gaussians.
    """

    tolerance: float = 1e-6
    copies: int | None = None

    def __post_init__(self):
        self.initial: list[Tensor] = []
        self.families: list[Family] = []

    def gaussian(self, factor: Float[Tensor, "k r"], mean: Float[Tensor, " k"]) -> Float[Tensor, "n k"]:
        """See `Space`."""
        if factor.shape[1] == 0:
            return mean.to(self.dtype).expand(self.n, -1)
        self.initial.append(self.fresh(factor.shape[1], []))
        return self.initial[-1] @ factor.T.to(self.dtype) + mean.to(self.dtype)

    def moment(self, x: Float[Tensor, "n k"], y: Float[Tensor, "n m"]) -> Float[Tensor, "k m"]:
        """See `Space`; refused where a single sample makes up much of the second moment."""
        for v in (x, y)[: 1 if x is y else 2]:
            square = v.square().sum(0)
            share = float((v.abs().amax(0).square() / square.clamp_min(torch.finfo(v.dtype).tiny)).amax())
            if share > HEAVIEST and self.n >= 1000:
                got = f"one of {self.n} samples with {share:.0%} of the second moment"
                fail("mean(x, y)", "of vectors without heavy tails", got, "take more samples, or bound what grows")
        return self.inner(x, y)

    def matrix(self, sigma: float, ratio: float = 1.0) -> LimitMatrix:
        """See `Space`."""
        self.families.append(Family(self, sigma, ratio))
        one = torch.ones((), dtype=self.dtype)
        return LimitMatrix(self.families[-1], one, one.new_zeros(0, 0))

    def add_outer(self, matrix: LimitMatrix, d: Tensor, x: Tensor) -> LimitMatrix:
        """See `Space`."""
        return matrix.plus_outer(d, x)

    def entries(self, d: Float[Tensor, "n k"], x: Float[Tensor, "n k"]) -> Deferred:
        """See `Space`: each sample of d with each of x, which are of different layers and so independent."""
        return Products(d, x, self.copies)

    def add_entries(self, matrix: LimitMatrix, q: Float[Tensor, "n copies"] | Deferred, number: float) -> LimitMatrix:
        """See `Space`."""
        return matrix.plus_entries(q, number)

    @property
    def held(self) -> list[list[Tensor]]:
        """The lists of all directions that were met, and of what was seen there."""
        return [self.initial, *(x for f in self.families for s in (f.right, f.left) for x in (s.basis, s.images))]

    def fresh(self, columns: int, against: list[Tensor]) -> Float[Tensor, "n k"]:
        """New N(0, 1): orthonormal, of mean 0, orthogonal to given blocks and, to second order, to all drawn before."""
        drawn = [block for f in self.families for side in (f.right, f.left) for block in side.images]
        against = [*self.initial, *drawn, *against]
        known = 1 + columns + sum(block.shape[1] for block in against)
        if known >= self.n:
            fail(
                "limit(samples=...)",
                f"more than the {known} independent directions of the program so far",
                self.n,
                "take several times as many",
            )
        z = self.randn(columns)
        for _ in range(2):
            z = z - z.mean(0)
            for block in against:
                z = z - block @ (block.T @ z / self.n)
        return z @ torch.linalg.inv(torch.linalg.cholesky(z.T @ z / self.n)).T
