"""Symmetric tensor powers: the identities that make a truncated kernel a finite feature map."""

import itertools
import math

import pytest
import torch

from assertions import assert_close
from cases import randn
from mupi.activations.hermite_polynomials import gauss_hermite, hermite_polynomials
from mupi.features.symmetric import hermite_tensor, layout, monomial_weights, power_size, rotate, symmetric_power

SIZES = [
    (1, 0),
    (3, 0),
    (4, 1),
    (1, 2),
    (2, 2),
    (3, 2),
    (4, 2),
    (7, 2),
    (8, 2),
    (1, 3),
    (4, 3),
    (5, 3),
    (3, 4),
    (3, 5),
    (2, 8),
]


def power(x, degree):
    """S_k(x), in one piece."""
    return torch.cat(symmetric_power(x, degree, torch.ones(len(x), 1, dtype=x.dtype)), 1)


@pytest.mark.parametrize(("size", "degree"), SIZES)
def test_the_inner_product_of_powers_is_the_power_of_the_inner_product(size, degree):
    x, y = randn(4, size), randn(5, size, seed=1)
    assert_close(power(x, degree) @ power(y, degree).T, (x @ y.T) ** degree, rtol=1e-12)


@pytest.mark.parametrize(("size", "degree"), SIZES)
def test_features_are_the_weighted_monomials_of_the_layout(size, degree):
    x = randn(3, size)
    index = layout(size, degree)
    assert index.shape == (power_size(size, degree), degree)
    assert len({tuple(row) for row in index.tolist()}) == len(index), "each monomial comes once"
    assert all(list(row) == sorted(row) for row in index.tolist())
    monomials = torch.stack([x[:, row].prod(1) for row in index], 1) if degree else torch.ones(3, 1).double()
    assert_close(power(x, degree), monomials * monomial_weights(size, degree))


@pytest.mark.parametrize(("size", "degree"), [(4, 2), (3, 3), (2, 5)])
def test_weights_count_the_orders_of_a_monomial(size, degree):
    orders = {tuple(row): 0 for row in layout(size, degree).tolist()}
    for row in itertools.product(range(size), repeat=degree):
        orders[tuple(sorted(row))] += 1
    assert_close(monomial_weights(size, degree) ** 2, torch.tensor(list(orders.values()), dtype=torch.float64))


@pytest.mark.parametrize("size", [1, 5, 200])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_there_are_as_many_features_as_monomials(size, degree):
    assert power_size(size, degree) == math.comb(size + degree - 1, degree)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_scale_multiplies_each_row(degree):
    x, scale = randn(4, 3), randn(4, 1, seed=1)
    assert_close(torch.cat(symmetric_power(x, degree, scale), 1), scale * power(x, degree))


@pytest.mark.parametrize(("size", "degree"), [(3, 2), (4, 2), (3, 3)])
def test_powers_are_differentiable_twice(size, degree):
    x, scale = randn(2, size).requires_grad_(), randn(2, 1, seed=1).requires_grad_()

    def f(x, scale):
        return torch.cat(symmetric_power(x, degree, scale), 1)

    assert torch.autograd.gradcheck(f, (x, scale))
    assert torch.autograd.gradgradcheck(f, (x, scale))


@pytest.mark.parametrize(("size", "degree"), [(3, 0), (3, 1), (3, 2), (3, 3), (2, 5)])
def test_hermite_tensors_are_orthonormal(size, degree):
    x, weight = gauss_hermite(degree + 1)
    grid = torch.cartesian_prod(*[x] * size).reshape(-1, size)
    weights = torch.cartesian_prod(*[weight] * size).reshape(-1, size).prod(1)
    for other in range(degree + 1):
        gram = (hermite_tensor(grid, degree) * weights[:, None]).T @ hermite_tensor(grid, other)
        expected = torch.eye(power_size(size, degree)) if other == degree else torch.zeros(gram.shape)
        assert_close(gram, expected.double(), rtol=1e-11, scale=1.0)


@pytest.mark.parametrize(("size", "degree"), [(1, 3), (4, 0), (4, 1), (4, 2), (5, 3), (3, 5)])
def test_a_hermite_tensor_contracts_with_a_power_of_a_unit_vector_to_a_hermite_polynomial(size, degree):
    # The addition theorem ⟨S_k(u), H_k(z)⟩ = h_k(⟨u, z⟩) for |u| = 1.
    u, z = torch.nn.functional.normalize(randn(4, size)), 2 * randn(6, size, seed=1)
    expected = hermite_polynomials(degree, u @ z.T)[degree]
    assert_close(power(u, degree) @ hermite_tensor(z, degree).T, expected, rtol=1e-12)


@pytest.mark.parametrize(("old", "new", "degree"), [(4, 4, 2), (4, 3, 2), (3, 5, 2), (4, 4, 3), (3, 2, 4), (3, 3, 1)])
def test_rotate_carries_coefficients_over(old, new, degree):
    # ⟨c', S_k(y)⟩ = ⟨c, S_k(Rᵀ y)⟩, for any matrix R.
    c, rotation, y = randn(3, power_size(old, degree)), randn(new, old, seed=1), randn(5, new, seed=2)
    rotated = rotate(c, degree, rotation)
    assert rotated.shape == (3, power_size(new, degree))
    assert_close(power(y, degree) @ rotated.T, power(y @ rotation, degree) @ c.T, rtol=1e-12)


@pytest.mark.parametrize("degree", [2, 3])
def test_rotating_there_and_back_changes_nothing(degree):
    basis = torch.linalg.qr(randn(4, 4)).Q
    c = randn(3, power_size(4, degree))
    assert_close(rotate(rotate(c, degree, basis), degree, basis.T), c)


def test_rotate_does_not_show_its_parts():
    # Rows are rotated a few at a time where the full tensors are large: 2^24/256³ is one row.
    rotation = torch.linalg.qr(randn(40, 40)).Q[:, :40]
    c = randn(300, power_size(40, 3), dtype=torch.float32)
    rotated = rotate(c, 3, rotation.float())
    assert_close(rotated[-2:], rotate(c[-2:], 3, rotation.float()))


def test_features_keep_the_dtype():
    x = randn(2, 4, dtype=torch.float32)
    assert power(x, 3).dtype == power(x, 2).dtype == hermite_tensor(x, 3).dtype == torch.float32
