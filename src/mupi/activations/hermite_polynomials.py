"""Normalised Hermite polynomials h_k = He_k/√k!, orthonormal under the standard Gaussian."""

from functools import cache
from math import sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def hermite_polynomials(degree: int, z: Float[Tensor, "*n"]) -> list[Float[Tensor, "*n"]]:
    """h_0(z), …, h_K(z) for K = ``degree``, by √(k+1) h_{k+1} = z h_k − √k h_{k−1}."""
    h = [torch.ones_like(z), z]
    for k in range(1, degree):
        h.append((z * h[k] - sqrt(k) * h[k - 1]) / sqrt(k + 1))
    return h[: degree + 1]


@cache
def gauss_hermite(nodes: int) -> tuple[Float[Tensor, " nodes"], Float[Tensor, " nodes"]]:
    """Nodes and weights in float64 with Σ_i w_i f(x_i) = E f(z), z ~ N(0, 1), for polynomials f of degree < 2·nodes."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    return torch.from_numpy(x), torch.from_numpy(w / w.sum())
