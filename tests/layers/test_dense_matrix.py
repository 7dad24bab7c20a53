"""`DenseMatrix`: an ordinary matrix between the data and the first junction."""

import pytest
import torch

from assertions import assert_close
from cases import randn, seeded
from mupi import DenseMatrix


def test_it_is_its_formula():
    layer = DenseMatrix(4, 3, scale=2.0, bias_scale=0.5, generator=seeded(), dtype=torch.float64)
    with torch.no_grad():
        layer.bias.copy_(torch.arange(3.0))
    x = randn(5, 4)
    assert_close(layer(x), 2 * (x @ layer.weight + 0.5 * torch.arange(3.0, dtype=torch.float64)))


@pytest.mark.parametrize("d_in", [1, 7, 300])
def test_columns_have_norm_1(d_in):
    weight = DenseMatrix(d_in, 5, generator=seeded(), dtype=torch.float64).weight
    assert_close(weight.norm(dim=0), torch.ones(5, dtype=torch.float64))


def test_directions_of_columns_are_uniform():
    weight = DenseMatrix(3, 20_000, generator=seeded(), dtype=torch.float64).weight
    assert_close(weight @ weight.T / 20_000, torch.eye(3).double() / 3, rtol=0.03)
    assert weight.mean(1).norm() < 0.02


def test_a_bias_scale_of_0_leaves_the_bias_out():
    assert DenseMatrix(4, 3, bias_scale=0.0).bias is None


@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 3, 4), (0, 4), (2, 0, 4)])
def test_leading_axes_are_kept(shape):
    assert DenseMatrix(4, 3, generator=seeded())(torch.zeros(shape)).shape == (*shape[:-1], 3)
