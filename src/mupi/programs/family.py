"""The limit of an iid Gaussian matrix: an operator of growing rank on random variables."""

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.programs.deferred import Deferred, applied, times_entries

Block = Any
"""k vectors: a tensor (n, k), or k symbolic random variables; with +, and @ a (k, m) tensor."""


@runtime_checkable
class RandomVariables(Protocol):
    """Random variables with the inner product ⟨x, y⟩ = E xy."""

    tolerance: float

    def inner(self, x: Block, y: Block) -> Float[Tensor, "k m"]:
        """E x_i y_j."""
        ...

    def fresh(self, columns: int, against: list[Block]) -> Block:
        """New independent N(0, 1), whose samples are uncorrelated with all before and with the given blocks."""
        ...


@dataclass
class Side:
    """Directions in which a matrix has been looked at, and the new randomness that was seen there.

    Attributes:
        basis: Orthonormal blocks.
        images: For each vector of the basis an independent N(0, 1).
        missed: Of the last vectors, in units of their norms, the mean square of what the basis does not have.
    """

    basis: list[Block] = field(default_factory=list)
    images: list[Block] = field(default_factory=list)
    missed: float = 0.0

    @property
    def rank(self) -> int:
        """How many directions."""
        return sum(block.shape[1] for block in self.basis)


class Family:
    """W with iid N(0, σ²/n) entries as n → ∞: the Master Theorem of Tensor Programs, in an orthonormal basis.

    The theorem says Z^{Wx} = Ẑ^{Wx} + Ż^{Wx}, with Ẑ Gaussian of covariance E Ẑ^{Wx} Ẑ^{Wx'} = σ² E Z^x Z^{x'}, and
    Ż^{Wx} = σ² Σ_i Z^{y_i} E[∂Z^x/∂Ẑ^{Wᵀy_i}] over the earlier products Wᵀy_i. Let q_j be an orthonormal basis of
    the Z^x so far, p_i of the Z^y, and σ g_j, σ h_i the independent Ẑ of W q_j and Wᵀp_i. Then
    Ẑ^{Wx} = σ Σ_j g_j ⟨q_j, x⟩, and since σ E[∂Z^x/∂(σ h_i)] = ⟨h_i, x⟩ by Stein's lemma, Ż^{Wx} = σ Σ_i p_i ⟨h_i, x⟩.
    So W acts as

        W = σ (G Qᵀ + P Hᵀ),

    and Wᵀ as its transpose. A direction q that is new adds a column to Q, and to G a fresh Gaussian: the sequential
    Cholesky factor of the family's covariance, by orthogonalisation. Where x is in the span of Q, up to the space's
    relative tolerance, nothing is added: nearly equal vectors need neither care nor memory.

    Of a matrix with ρn rows and n columns, entries N(0, σ²/n), a unit vector p of ρn coordinates has Wᵀp = σ√ρ h, and
    averages are over as many coordinates as there are:

        W = σ (G Qᵀ + P Hᵀ/√ρ),   Wᵀ = σ (ρ Q Gᵀ + √ρ H Pᵀ).

    Args:
        space: The random variables.
        sigma: σ of the matrix: entries are N(0, σ²/n).
        ratio: ρ, rows over columns.
    """

    def __init__(self, space: RandomVariables, sigma: float, ratio: float = 1.0):
        self.space, self.sigma, self.ratio = space, sigma, ratio
        self.right, self.left = Side(), Side()

    def sides(self, transposed: bool) -> tuple[Side, Side]:
        """The side of the vectors that W (or Wᵀ) is applied to, and the other."""
        return (self.left, self.right) if transposed else (self.right, self.left)

    def coordinates(self, x: Block, transposed: bool) -> Float[Tensor, "rank k"]:
        """Qᵀx (or Pᵀx), the basis first extended so that its span holds x."""
        side, other = self.sides(transposed)
        known = self.project(side.basis, x)
        rest = combine(side.basis, -known, x)
        # In units in which every column has norm 1, so that small vectors count as much as large ones.
        size = self.space.inner(x, x).diagonal()
        unit = torch.where(size > 0, size, 1).rsqrt()
        gram = unit[:, None] * self.space.inner(rest, rest) * unit
        values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
        kept = values > self.space.tolerance**2
        side.missed = float(values[~kept].clamp_min(0).sum()) / len(values)
        if not kept.any():
            return known
        new = rest @ (unit[:, None] * vectors[:, kept] * values[kept].rsqrt())
        # Again: what remained of small vectors is neither quite orthogonal to the basis nor quite orthonormal.
        new = combine(side.basis, -self.project(side.basis, new), new)
        new = new @ torch.linalg.inv(torch.linalg.cholesky(self.space.inner(new, new))).T
        side.images.append(self.space.fresh(new.shape[1], other.basis))
        side.basis.append(new)
        return torch.cat([known, self.space.inner(new, x)])

    def project(self, blocks: list[Block], x: Block) -> Float[Tensor, "rank k"]:
        """E b_j x_i over all columns b of blocks."""
        products = [self.space.inner(block, x) for block in blocks]
        return torch.cat(products) if products else self.space.inner(x, x)[:0]


def combine(blocks: list[Block], coefficients: Float[Tensor, "rank k"], start: Block) -> Block:
    """start + Σ_j b_j c_j over all columns b of blocks."""
    row = 0
    for block in blocks:
        start = start + block @ coefficients[row : row + block.shape[1]]
        row += block.shape[1]
    return start


@dataclass
class LimitMatrix:
    """scale·W + P M Qᵀ: a Gaussian matrix, scaled and changed by outer products of vectors that it has met.

    Attributes:
        family: W with its bases Q and P.
        scale: The number before W.
        update: M, of the ranks that the bases had when it was made.
        transposed: Whether this is the transpose.
        entries: Q, of which Q/n is added: numbers for samples of a row's neuron and of a column's; None for
            none.
    """

    family: Family
    scale: Float[Tensor, ""]
    update: Float[Tensor, "p q"]
    transposed: bool = False
    entries: Float[Tensor, "n copies"] | Deferred | None = None

    def __matmul__(self, x: Block) -> Block:
        """Z^{Wx} = Ẑ + Ż, and the update."""
        (side, other), σ, ρ = self.family.sides(self.transposed), self.scale * self.family.sigma, self.family.ratio
        new, met = (ρ**0.5, ρ) if self.transposed else (1.0, ρ**-0.5)
        c = self.family.coordinates(x, self.transposed)
        dot = σ * met * self.family.project(other.images, x)
        update = ρ * self.update.T if self.transposed else self.update
        dot[: len(update)] += update @ c[: update.shape[1]]
        made = combine(side.images, σ * new * c, combine(other.basis, dot, x * 0))
        if self.entries is None:
            return made
        assert isinstance(self.entries, Tensor)
        return made + (ρ if self.transposed else 1.0) * times_entries(self.entries, x, self.transposed)

    @property
    def T(self) -> "LimitMatrix":
        """The transpose."""
        return replace(self, transposed=not self.transposed)

    def __mul__(self, number: Tensor | float) -> "LimitMatrix":
        """A multiple."""
        entries = None if self.entries is None else self.entries * number
        return LimitMatrix(self.family, self.scale * number, self.update * number, self.transposed, entries)

    def __add__(self, other: "LimitMatrix") -> "LimitMatrix":
        """The sum with another that came from the same W."""
        entries = self.entries if other.entries is None else other.entries
        if self.entries is not None and other.entries is not None:
            entries = _plus(self.entries, other.entries)
        update = _padded_sum(self.update, other.update)
        return LimitMatrix(self.family, self.scale + other.scale, update, entries=entries)

    def plus_outer(self, d: Block, x: Block) -> "LimitMatrix":
        """The sum with d xᵀ/n, n the coordinates of x."""
        q, p = self.family.coordinates(x, False), self.family.coordinates(d, True)
        return replace(self, update=_padded_sum(self.update, p @ q.T))

    def plus_entries(self, q: Float[Tensor, "n copies"] | Deferred, number: float) -> "LimitMatrix":
        """The sum with number·q/n."""
        return replace(self, entries=q * number if self.entries is None else _plus(self.entries, q, number))


def _plus(a: Tensor | Deferred, b: Tensor | Deferred, number: float = 1.0) -> Tensor | Deferred:
    """a + number·b."""
    return applied(_multiple_added, a, b, number)


def _multiple_added(a: Tensor, b: Tensor, number: float) -> Tensor:
    return torch.add(a, b, alpha=number)


def _padded_sum(a: Float[Tensor, "p q"], b: Float[Tensor, "r s"]) -> Float[Tensor, "t u"]:
    """The sum of two matrices, the entries beyond one's size being 0."""
    total = a.new_zeros(max(a.shape[0], b.shape[0]), max(a.shape[1], b.shape[1]))
    total[: a.shape[0], : a.shape[1]] += a
    total[: b.shape[0], : b.shape[1]] += b
    return total
