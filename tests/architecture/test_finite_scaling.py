"""Residual networks and transformers train at every width as the theory of perceptrons says of their roles."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import mupi
from cases import randn, seeded
from mupi.architecture.zoo import gpt, resnet
from mupi.parametrization import Roles, adam_rates

NETS = {"resnet": resnet((2, 6, 6), 3, blocks=(1, 1)), "gpt": gpt(7, 5, depth=1, heads=2, gated=True)}
FIRST = ("input", "tokens", "positions")
PASSIVE = ("blocks.0.query", "blocks.0.key")
"""Attention is uniform at the start with 1/d, so these have smaller gradients than other hidden weights."""


def check(name, roles, rate, widths, seeds, optimizer=torch.optim.SGD, rates=None):
    """The measured exponents, by quantity and layer."""
    net = NETS[name]
    tokens = net.input.integers
    x = torch.randint(7, (8, 5), generator=seeded()) if tokens else randn(8, 2, 6, 6, dtype=torch.float32)
    y = torch.arange(40 if tokens else 8) % 3
    result = mupi.coordinate_check(
        lambda n: net.finite(n, parametrization=roles, sigma_w=1.4), widths, x, y,
        loss=lambda f, y: cross_entropy(f.flatten(0, -2), y), steps=2, seeds=seeds,
        make_optimizer=lambda m: optimizer(m.parameter_groups(rate, rates=rates)),
    )  # fmt: skip
    return {(law.quantity, law.part): law.slope for law in result.laws if law.part not in PASSIVE}


def assert_predicted(measured, roles, tolerance):
    """|h| keeps its size, f starts as n^{1/2 − a − b}; layers move by n^{−r}, those that see data by their own r."""
    p = roles.parametrization
    for (quantity, part), slope in measured.items():
        start = float(p.scalings().output_init) if part in ("out", "f") else 0.0
        change = float(p.scalings().output_change) if part in ("out", "f") else -float(p.r)
        change = -float(p.layer_r[0]) if part in FIRST else change
        predicted = start if quantity in ("|h|", "|f|") else change
        assert slope == pytest.approx(predicted, abs=tolerance), (quantity, part)


CASES = [
    (Roles.mup(), 0.1),
    (Roles.ntk(), 0.3),
    (Roles.standard(c=1), 0.3),
]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("roles", "rate"), CASES[:1], ids=["mup"])
def test_coordinates_move_with_the_exponents_of_their_role(name, roles, rate):
    assert_predicted(check(name, roles, rate, [32, 64, 128, 256], seeds=2), roles, tolerance=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("roles", "rate"), CASES, ids=["mup", "ntk", "standard"])
def test_coordinates_move_with_the_exponents_of_their_role_at_large_width(name, roles, rate):
    assert_predicted(check(name, roles, rate, [64, 128, 256, 512], seeds=24), roles, tolerance=0.15)


@pytest.mark.parametrize("name", ["resnet", pytest.param("gpt", marks=pytest.mark.slow)])
def test_with_adams_rates_nothing_grows_and_no_change_vanishes(name):
    roles = Roles.mup()
    rates = roles.adam_rates
    assert rates == adam_rates(roles.parametrization)
    # ε far below all gradients.
    measured = check(name, roles, 0.02, [32, 64, 128, 256], 2, lambda g: torch.optim.Adam(g, eps=1e-12), rates)
    for (quantity, part), slope in measured.items():
        assert slope == pytest.approx(-0.5 if quantity in ("|h|", "|f|") and part in ("out", "f") else 0, abs=0.25)
