"""Symmetric tensor powers: features S_k with ⟨S_k(x), S_k(y)⟩ = ⟨x, y⟩^k, one for each monomial of degree k.

The feature of a monomial Π_i x_i^{n_i} is √(k!/Π n_i!) Π_i x_i^{n_i}. There are C(p+k−1, k) of them. A `layout` says
in which order they come: row f holds the indices of the k factors of monomial f, smallest first.
"""

from functools import cache
from itertools import combinations_with_replacement, permutations
from math import comb, factorial, sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mupi.activations.hermite_polynomials import hermite_polynomials


def power_size(size: int, degree: int) -> int:
    """How many monomials of a degree there are in ``size`` variables."""
    return comb(size + degree - 1, degree)


@cache
def layout(size: int, degree: int) -> Int[Tensor, "features degree"]:
    """The order of the features of `symmetric_power`.

    Degree 2 goes by the distance d of the two indices: all x_i², then all x_i x_{i+1}, … (indices modulo ``size``),
    which one multiplication with a sliding window computes. Other degrees are in lexicographic order.
    """
    if degree == 2:
        i = torch.arange(size).repeat(size // 2 + 1)
        distance = torch.arange(size // 2 + 1).repeat_interleave(size)
        i, distance = i[: power_size(size, 2)], distance[: power_size(size, 2)]
        return torch.stack([i, (i + distance) % size], 1).sort(1).values
    rows = list(combinations_with_replacement(range(size), degree))
    return torch.tensor(rows, dtype=torch.long).reshape(len(rows), degree)


@cache
def monomial_weights(size: int, degree: int) -> Float[Tensor, " features"]:
    """√(k!/Π n_i!) for each feature, in float64."""
    index = layout(size, degree)
    weights = torch.full((len(index),), float(factorial(degree)), dtype=torch.float64)
    run = torch.ones(len(index), dtype=torch.long)  # n_i! as the product of the lengths of the run so far
    for j in range(1, degree):
        run = torch.where(index[:, j] == index[:, j - 1], run + 1, 1)
        weights /= run
    return weights.sqrt()


def _monomial_weights_like(x: Float[Tensor, "n p"], degree: int) -> Float[Tensor, " features"]:
    """`monomial_weights` on the device of x."""
    if x.is_cuda and not torch.compiler.is_compiling():  # a CUDA graph may not copy from the host
        return _monomial_weights_on(x.shape[1], degree, x.dtype, x.device)
    return monomial_weights(x.shape[1], degree).to(x)


@cache
def _monomial_weights_on(size: int, degree: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return monomial_weights(size, degree).to(device, dtype)


def symmetric_power(x: Float[Tensor, "n p"], degree: int, scale: Float[Tensor, "n 1"]) -> list[Float[Tensor, "n _"]]:
    """``scale``·S_k(x) for k = ``degree``, as pieces to concatenate."""
    if degree == 0:
        return [scale]
    if degree == 1:
        return [scale * x]
    if degree == 2:
        return _pairs(x, scale)
    return [scale * _monomials(x, degree) * _monomial_weights_like(x, degree)]


def _pairs(x: Tensor, scale: Tensor) -> list[Tensor]:
    size = x.shape[1]
    far = (size - 1) // 2  # up to this distance each pair (i, i + d mod size) comes once
    scaled = scale * x
    pieces = [scaled * x]
    scaled = sqrt(2) * scaled
    if far:
        windows = torch.cat([x[:, 1:], x[:, :far]], 1).unfold(1, size, 1)  # windows[:, d − 1, i] = x_{i + d}
        pieces.append((scaled[:, None] * windows).flatten(1))
    if size % 2 == 0:
        pieces.append(scaled[:, : size // 2] * x[:, size // 2 :])
    return pieces


def _monomials(x: Tensor, degree: int) -> Tensor:
    """All monomials in lexicographic order: x_i times those of one degree less without the variables before i."""
    if degree == 1:
        return x
    less, size = _monomials(x, degree - 1), x.shape[1]
    return torch.cat([x[:, i : i + 1] * less[:, -power_size(size - i, degree - 1) :] for i in range(size)], 1)


def hermite_tensor(z: Float[Tensor, "n p"], degree: int) -> Float[Tensor, "n features"]:
    """Π_i h_{n_i}(z_i) for each monomial: the features H_k with ⟨S_k(u), H_k(z)⟩ = h_k(⟨u, z⟩) for unit vectors u.

    They are orthonormal for z ~ N(0, I).
    """
    size = z.shape[1]
    index = layout(size, degree)
    h = torch.stack(hermite_polynomials(degree, z), -1)  # (n, p, k+1)
    product = z.new_ones(len(z), len(index))
    for i in range(size) if degree else ():
        count = (index == i).sum(1)
        rows = count.nonzero().squeeze(1)
        product[:, rows] *= h[:, i, count[rows]]
    return product


def rotate(
    c: Float[Tensor, "rank_out features"], degree: int, rotation: Float[Tensor, "new old"]
) -> Float[Tensor, "rank_out new_features"]:
    """Coefficients c' with ⟨c', S_k(y)⟩ = ⟨c, S_k(Rᵀ y)⟩ for R = ``rotation``: each tensor index goes through R."""
    new, old = rotation.shape
    position, weight = _positions(old, degree), monomial_weights(old, degree).to(c)
    index, new_weight = layout(new, degree), monomial_weights(new, degree).to(c)
    rows = max(1, 2**24 // max(new, old) ** degree)
    parts = []
    for part in c.split(rows):
        full = (part / weight)[:, position]
        for axis in range(1, degree + 1):
            full = (full.movedim(axis, -1) @ rotation.T).movedim(-1, axis)
        parts.append(full[(slice(None), *index.unbind(1))] * new_weight)
    return torch.cat(parts)


@cache
def _positions(size: int, degree: int) -> Int[Tensor, "*powers"]:
    """The feature of each index tuple, as a tensor of shape (size,)*degree."""
    index = layout(size, degree)
    position = torch.empty((size,) * degree, dtype=torch.long)
    for order in permutations(range(degree)):
        position[tuple(index[:, j] for j in order)] = torch.arange(len(index))
    return position
