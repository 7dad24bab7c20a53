"""Moments of Gaussians: Wick's theorem."""

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor


def wick(forms: Sequence[Float[Tensor, " leaves"]]) -> float:
    """E Π_i ⟨f_i, z⟩ for z ~ N(0, I): the sum over pairings of products of ⟨f_i, f_j⟩ (Isserlis)."""
    if len(forms) % 2:
        return 0.0
    kinds: list[Tensor] = []
    counts: list[int] = []
    for form in forms:
        equal = [k for k, kind in enumerate(kinds) if torch.equal(kind, form)]
        if equal:
            counts[equal[0]] += 1
        else:
            kinds.append(form)
            counts.append(1)
    dots = [[float(a @ b) for b in kinds] for a in kinds]

    @cache
    def paired(counts: tuple[int, ...]) -> float:
        """The first that is left, with each of the others: as often as there are equal ones."""
        first = next((k for k, count in enumerate(counts) if count), None)
        if first is None:
            return 1.0
        rest = [count - (k == first) for k, count in enumerate(counts)]
        return sum(
            (
                count * dots[first][k] * paired(tuple(c - (j == k) for j, c in enumerate(rest)))
                for k, count in enumerate(rest)
                if count
            ),
            0.0,
        )

    return paired(tuple(counts))
