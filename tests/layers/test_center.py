"""`Center`: the mean over the batch and positions, its running average, and what it is of finitely many channels."""

import pytest
import torch

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi.features import whitened_gaussian
from mupi.layers import Center


def center(rank=3):
    return Center(rank, dtype=torch.float64)


def test_in_training_the_mean_over_all_but_the_last_axis_vanishes():
    g = randn(4, 5, 6, 3) + 2
    assert_close(center()(g).mean((0, 1, 2)), torch.zeros(3, dtype=torch.float64), scale=1.0)
    assert_close(center()(g), g - g.mean((0, 1, 2)))


def test_after_one_batch_evaluation_subtracts_its_mean():
    layer, g, other = center(), randn(4, 5, 3), randn(2, 5, 3, seed=1)
    layer(g)
    assert_close(layer.eval()(other), other - g.mean((0, 1)))


def test_the_running_mean_weighs_the_first_ten_batches_alike_and_then_forgets():
    layer, batches = center(), [randn(4, 3, seed=i) for i in range(12)]
    for g in batches[:10]:
        layer(g)
    mean = torch.stack(batches[:10]).mean((0, 1))
    assert_close(layer.mean, mean)
    for g in batches[10:]:
        layer(g)
        mean = 0.9 * mean + 0.1 * g.mean(0)
    assert_close(layer.mean, mean)


def test_evaluation_changes_nothing():
    layer = center()
    layer(randn(4, 3))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.eval()(randn(4, 3, seed=1))
    for name, value in layer.state_dict().items():
        assert_equal(value, before[name])


def test_at_every_width_it_subtracts_each_channels_mean():
    omega, g = whitened_gaussian(20, 3, seeded(0)), randn(4, 5, 3)
    h = g @ omega.T
    assert_close(center()(g) @ omega.T, h - h.mean((0, 1)), scale=1.0)


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("shape", [(0, 3), (0, 5, 3), (4, 0, 3)])
def test_an_empty_batch_leaves_the_running_mean_as_it_is(shape, first):
    layer, g = center(), randn(4, 3)
    if not first:
        layer(g)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    assert layer(torch.empty(shape, dtype=torch.float64)).shape == shape
    for name, value in layer.state_dict().items():
        assert_equal(value, before[name])
    assert_close(layer(g), g - g.mean(0))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_batch_with_a_nan_spoils_its_own_output_only(bad, first):
    layer, twin, g = center(), center(), randn(4, 3)
    spoilt = g.clone()
    spoilt[1, 2] = bad
    if not first:
        layer(g), twin(g)
    assert not torch.isfinite(layer(spoilt)).all()
    layer(g + 1), twin(g + 1)
    assert_equal(layer.eval()(g), twin.eval()(g))
