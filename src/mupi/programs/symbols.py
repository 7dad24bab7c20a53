"""Random variables as polynomials in Gaussians and in functions of them, with their arithmetic."""

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

Monomial = tuple[int, ...]
"""Factors in order: i ≥ 0 is the i-th standard Gaussian, i < 0 the function number −1 − i."""

Polynomial = dict[Monomial, float]
"""Coefficients by monomial."""

CONSTANT: Monomial = ()


class Symbols:
    """A block of random variables, each a polynomial in independent Gaussians and functions of such polynomials.

    Args:
        columns: One polynomial a column.
    """

    def __init__(self, columns: list[Polynomial]):
        self.columns = columns

    @property
    def shape(self) -> tuple[None, int]:
        """As of an (n, k) tensor."""
        return None, len(self.columns)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """Zeros, as `mupi.Polynomial` starts; every other function is not a polynomial."""
        if func is torch.zeros_like:
            return args[0] * 0.0
        return NotImplemented

    def __add__(self, other: Any) -> "Symbols":
        return self._pairwise(other, add)

    __radd__ = __add__

    def __mul__(self, other: Any) -> "Symbols":
        return self._pairwise(other, multiply)

    __rmul__ = __mul__

    def __neg__(self) -> "Symbols":
        return self * -1.0

    def __sub__(self, other: Any) -> "Symbols":
        return self + other * -1.0

    def __rsub__(self, other: Any) -> "Symbols":
        return other + self * -1.0

    def __truediv__(self, number: float | Tensor) -> "Symbols":
        return NotImplemented if isinstance(number, Symbols) else self * (1 / number)

    def __pow__(self, power: int) -> "Symbols":
        if not isinstance(power, int) or power < 0:
            return NotImplemented
        result = self * 0.0 + 1.0
        for _ in range(power):
            result = result * self
        return result

    def __matmul__(self, coefficients: Tensor) -> "Symbols":
        result = []
        for weights in coefficients.T.tolist():
            total: Polynomial = {}
            for weight, column in zip(weights, self.columns, strict=True):
                if weight == 0:
                    continue
                total = add(total, {m: weight * c for m, c in column.items()})
            result.append(total)
        return Symbols(result)

    def _pairwise(self, other: Any, f: Callable[[Polynomial, Polynomial], Polynomial]) -> "Symbols":
        """Column by column; one column, or numbers in place of columns, stand for all."""
        if isinstance(other, Symbols):
            others = other.columns
        else:
            numbers = torch.as_tensor(other, dtype=torch.float64)
            if numbers.ndim == 2 and len(numbers) != 1:
                raise ValueError(f"numbers of shape {tuple(numbers.shape)} do not fit coordinates")
            others = [{CONSTANT: value} for value in numbers.reshape(-1).tolist()]
        k = max(len(self.columns), len(others))
        mine, others = (c * k if len(c) == 1 else c for c in (self.columns, others))
        return Symbols([f(a, b) for a, b in zip(mine, others, strict=True)])


def add(a: Polynomial, b: Polynomial) -> Polynomial:
    """a + b."""
    total = dict(a)
    for monomial, coefficient in b.items():
        total[monomial] = total.get(monomial, 0.0) + coefficient
    return {m: c for m, c in total.items() if c != 0}


def multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    """a b, multiplied out."""
    total: Polynomial = {}
    for (m, c), (n, d) in product(a.items(), b.items()):
        monomial = tuple(sorted(m + n))
        total[monomial] = total.get(monomial, 0.0) + c * d
    return {m: c for m, c in total.items() if c != 0}
