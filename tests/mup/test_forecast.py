"""`forecast` trains narrow networks in μP; what it says of wide ones and of the limit is held against them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import mupi
from mupi.mup import curves

G = torch.Generator().manual_seed(0)
X = torch.randn(64, 6, generator=G)
Y = (X[:, :1] * X[:, 1:2]).tanh() + torch.tanh(2 * X[:, 2:3])


def perceptron(width):
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))


KNOWN = dict(lr=0.05, loss=nn.functional.mse_loss, optimizer=torch.optim.SGD, steps=30, batch_size=64, points=6)


def test_the_band_holds_wide_runs_and_the_mean_is_nearer_than_the_narrow_ones():
    law = mupi.forecast(perceptron, [16, 32, 64], 512, X, Y, seeds=6, base_width=16, **KNOWN)
    wide = curves(perceptron, [512], X, Y, base_width=16, seeds=range(10, 14), **KNOWN)[0]
    assert np.mean([law.covers(run) for run in wide]) >= 0.75
    assert np.abs(law.mean - wide.mean(0)).mean() < np.abs(law.losses[0].mean(0) - wide.mean(0)).mean()
    assert (law.half_width < 0.2 * law.mean).all()


def mean_field(width):
    """`mupi.MLP` in μP, which `MuLimit` is the limit of."""
    return mupi.MLP(6, 1, width, 1, parametrization=mupi.Parametrization.mup(1), activation=mupi.Tanh())


@pytest.mark.slow
def test_at_infinite_width_it_is_the_mu_limit():
    x = X[:16].double()
    y = Y[:16].double()

    def squared(f, y):
        return (f - y).square().sum(1).mean()

    steps = 12
    limit = mupi.MuLimit(1, mupi.Tanh(), lr=0.2, samples=4096, replicates=4, generator=torch.Generator().manual_seed(0))
    limit.fit(x, y, steps=steps)
    law = mupi.forecast(
        lambda n: mean_field(n).double(), [64, 128, 256], math.inf, x, y, lr=0.2, loss=squared, steps=steps,
        batch_size=16, seeds=8, points=steps, make_optimizer=lambda net, rate: mupi.SGD(net.parameter_groups(rate)),
    )  # fmt: skip
    error = 3 * limit.loss_errors.numpy()
    gap = np.abs(law.mean - limit.losses.numpy())
    assert law.fits
    assert (gap <= law.half_width + error).mean() >= 0.9
    # The limit is told from the widest of the narrow networks, not only within a wide band.
    assert gap.mean() < 0.02 * float(limit.losses[0])


def test_a_diverging_run_is_refused_with_its_width():
    with pytest.raises(ValueError, match=r"`forecast\(lr=\.\.\.\)` must be small enough.*width 8 diverges"):
        mupi.forecast(perceptron, [8, 16, 32], 64, X, Y, seeds=2, **{**KNOWN, "lr": 1e6})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(widths=[8, 16]), r"`forecast\(widths=\.\.\.\)`.*three"),
        (dict(width=32), r"`forecast\(width=\.\.\.\)`.*above the widest"),
        (dict(seeds=1), r"`forecast\(seeds=\.\.\.\)`.*at least 2"),
        (dict(points=40), r"`forecast\(points=\.\.\.\)`.*30 steps"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, said):
    known = {**KNOWN, "widths": [8, 16, 32], "width": 64, "seeds": 2, **change}
    with pytest.raises(ValueError, match=said):
        mupi.forecast(perceptron, x=X, y=Y, **known)


def test_it_draws_narrow_curves_the_band_and_wide_runs():
    losses = np.exp(-np.linspace(0, 1, 5)) + np.array([3.0, 2, 1])[:, None, None] * np.ones((3, 2, 5)) / 10
    law = mupi.mup.WidthLaw((8, 16, 32), losses + 0.01 * np.array([-1, 1])[:, None], 64)
    (axes,) = law.plot(100, np.stack([law.mean, law.mean]), "a title").axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["8", "16", "32", "64, forecast", "64, trained"]
    assert axes.get_lines()[0].get_xdata().tolist() == [10, 30, 50, 70, 90]
