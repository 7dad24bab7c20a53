"""The error report of one layer, against the definition computed densely."""

import math

import pytest
import torch

from cases import randn, seeded
from mupi import Atoms, Expansion, Hermite, PiLinear, RandomFeatures, ReLU
from mupi.layers import layer_error, relative_error
from oracles import exact_layer


def weight_of(features, m=9):
    initial = Expansion(randn(m), randn(m, 3, seed=1), randn(m, 5, seed=2))
    return PiLinear(
        5, 3, features=features, activation=ReLU(), initial=initial, dtype=torch.float64, generator=seeded()
    ).weight, initial


@pytest.mark.parametrize("features", [Hermite(1), Hermite(2), Hermite(2, subspace=2)], ids=str)
def test_errors_are_relative_l2_distances_from_the_exact_layer(features):
    weight, initial = weight_of(features)
    g, delta = randn(6, 5, seed=3), randn(6, 3, seed=4)
    inputs = g.clone().requires_grad_()
    exact = exact_layer.dense_layer(ReLU(), initial.c, initial.a, initial.b, inputs)
    (exact_gradient,) = torch.autograd.grad(exact, inputs, delta)
    near = weight.eval()(inputs)
    (near_gradient,) = torch.autograd.grad(near, inputs, delta)
    report = layer_error("name", weight, g, delta)
    assert (report.layer, report.atoms) == ("name", 9)
    assert report.output == pytest.approx(float((near - exact).detach().norm() / exact.detach().norm()))
    assert report.gradient == pytest.approx(float((near_gradient - exact_gradient).norm() / exact_gradient.norm()))
    assert report.output > 1e-3


def test_the_error_does_not_depend_on_the_scale_of_the_atoms():
    weight, initial = weight_of(Hermite(2))
    scaled = PiLinear(
        5, 3, features=Hermite(2), activation=ReLU(), dtype=torch.float64, generator=seeded(),
        initial=Expansion(100 * initial.c, initial.a, initial.b),
    ).weight  # fmt: skip
    g = randn(6, 5, seed=3)
    assert layer_error("", scaled, g).output == pytest.approx(layer_error("", weight, g).output)


@pytest.mark.parametrize("features", [Atoms(), RandomFeatures(12)], ids=str)
def test_exact_features_have_no_error(features):
    report = layer_error("", weight_of(features)[0], randn(6, 5, seed=3))
    assert max(report.output, report.gradient) < 1e-13


def test_relative_error_of_zeros_is_zero_and_never_nan():
    zero, one = torch.zeros(3), torch.ones(3)
    assert relative_error(zero, zero) == 0
    assert relative_error(one, zero) == pytest.approx(math.sqrt(3))
    assert relative_error(1.1 * one, one) == pytest.approx(0.1)


def test_measuring_leaves_no_gradients():
    weight, _ = weight_of(Hermite(2))
    g = randn(6, 5, seed=3).requires_grad_()
    layer_error("", weight, g)
    assert weight.weight.grad is None and g.grad is None
