"""Where the input vectors of words start: what alone tells a finite width from the limit.

SGD from N_0 = 0 depends on U_0 only through the scalar products of its rows (see `mupi.recipes.word2vec.cbow`). In
the μ-limit these are 1 for a word with itself and 0 for two different words; the starts here have them exactly, or on
average.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from mupi.checks import fail, positive_int


class Start(ABC):
    """How U_0 is made."""

    @abstractmethod
    def columns(self, vocabulary: int) -> int:
        """How many numbers a word needs."""

    @abstractmethod
    def gram_error(self, share: Float64[Tensor, " V"]) -> float:
        """√(Σ_ij p_i p_j E(⟨u_i, u_j⟩ − 1_{i=j})²) / √(Σ_i p_i²): the error against the limit, met in training.

        Args:
            share: p, how often each word is met.
        """


@dataclass(frozen=True)
class UnitVectors(Start):
    """U_0 = I: the μ-limit."""

    def columns(self, vocabulary: int) -> int:
        """V."""
        return vocabulary

    def gram_error(self, share: Float64[Tensor, " V"]) -> float:
        """0."""
        return 0.0


class DenseStart(Start):
    """All entries of U_0 are numbers.

    Args:
        width: The width n.
    """

    width: int

    def columns(self, vocabulary: int) -> int:
        """N."""
        return self.width

    @abstractmethod
    def draw(self, vocabulary: int, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "V n"]:
        """U_0."""


@dataclass(frozen=True)
class Gaussian(DenseStart):
    """Width n in μP: entries N(0, 1/n), scalar products 1 or 0 on average and up to O(n^−½).

    With this scale the network's output ⟨N, Ux⟩ and the learning rates need no factor of n (papers: the entries of
    √n U and √n N are of order one, and the readout is divided by n).

    Args:
        width: The width n.
    """

    width: int
    """n."""

    def __post_init__(self):
        positive_int("Gaussian(width=...)", self.width)

    def draw(self, vocabulary: int, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "V n"]:
        """U_0."""
        return torch.randn(vocabulary, self.width, generator=generator, dtype=dtype) * self.width**-0.5

    def gram_error(self, share: Float64[Tensor, " V"]) -> float:
        """√(((Σ p_i)² + Σ p_i²)/n) / √(Σ p_i²)."""
        return float(((share.sum() ** 2 + share.square().sum()) / self.width).sqrt() / share.norm())


@dataclass(frozen=True)
class Orthonormal(DenseStart):
    """n random orthogonal columns of norm √(V/n): the limit in n coordinates a word, if V do not fit into memory.

    Scalar products are 1 or 0 on average, as for `Gaussian`, and all together as near to that as any n coordinates
    allow: of all U with Σ_i |u_i|² = V these have the least ‖UUᵀ − I‖² = V(V/n − 1), since the eigenvalues of UUᵀ, at
    most n that are not zero, sum to V, and squares sum to the least when they are equal. Gaussian vectors have
    V(V + 1)/n on average: the error is smaller by √(1 − n/V), and zero at n = V.

    Args:
        width: The width n ≤ V.
    """

    width: int
    """n, numbers a word."""

    def __post_init__(self):
        positive_int("Orthonormal(width=...)", self.width)

    def draw(self, vocabulary: int, generator: torch.Generator, dtype: torch.dtype) -> Float[Tensor, "V n"]:
        """U_0.

        Raises:
            ValueError: If n > V.
        """
        self._check(vocabulary)
        columns = torch.linalg.qr(torch.randn(vocabulary, self.width, generator=generator, dtype=dtype)).Q
        return columns.mul_((vocabulary / self.width) ** 0.5)

    def gram_error(self, share: Float64[Tensor, " V"]) -> float:
        """From E⟨u_i, u_j⟩² = (V/n − 1)·V/((V − 1)(V + 2)) for i ≠ j, and twice (V − 1)/V times that on the diagonal.

        Raises:
            ValueError: If n > V.
        """
        self._check(len(share))
        v = len(share)
        # The diagonal of a uniform projection of rank n has the distribution Beta(n/2, (V − n)/2).
        off = (v / self.width - 1) * v / ((v - 1) * (v + 2))
        diagonal = 2 * (v / self.width - 1) / (v + 2)
        squares = share.square().sum()
        return float(((off * (share.sum() ** 2 - squares) + diagonal * squares) / squares).sqrt())

    def _check(self, vocabulary: int) -> None:
        if self.width > vocabulary:
            fail("Orthonormal(width=...)", f"at most the number of words, {vocabulary}", self.width)
