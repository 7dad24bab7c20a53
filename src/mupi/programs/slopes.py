"""Derivatives of functions of one number."""

from collections.abc import Callable

import torch
from torch import Tensor

from mupi.activations import Polynomial


def slope(φ: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """φ', by autograd; of a polynomial, the polynomial."""
    if isinstance(φ, Polynomial):
        return φ.derivative()

    def φ_prime(h: Tensor) -> Tensor:
        return torch.func.grad(lambda x: φ(x).sum())(h)

    return φ_prime
