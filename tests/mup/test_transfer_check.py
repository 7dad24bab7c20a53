"""`transfer_check` of models in μP, and of ones with a fault planted: it is to tell them apart."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import mupi
from mupi.mup import TransferVerdict

G = torch.Generator().manual_seed(0)
X = torch.randn(2048, 8, generator=G)
Y = (X[:, :1] * X[:, 1:2]).tanh() + torch.tanh(2 * X[:, 2:3]) + 0.3 * torch.randn(2048, 1, generator=G)


def perceptron(width):
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))


def test_it_trains_what_parametrize_gives(tmp_path):
    rates = (0.01, 0.02, 0.04)
    found = mupi.transfer_check(
        perceptron, [8, 16], X[:64], Y[:64], rates=rates, loss=nn.functional.mse_loss, base_width=8, steps=4,
        batch_size=16, seeds=1, weight_decay=0.1, directory=tmp_path,
    )  # fmt: skip
    torch.manual_seed(0)
    p = mupi.parametrize(perceptron, width=16, base_width=8, example=X[:1])
    optimizer = p.optimizer(torch.optim.AdamW, lr=0.02, weight_decay=0.1)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0)).split(16)
    for batch in order:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(p.model(X[batch]), Y[batch])
        loss.backward()
        optimizer.step()
    assert found.losses[1, 1, 0] == pytest.approx(float(loss.detach()), rel=1e-5)
    standard = mupi.transfer_check(
        perceptron, [8, 16], X[:64], Y[:64], rates=rates, loss=nn.functional.mse_loss, steps=4, batch_size=16, seeds=1,
        weight_decay=0.1, parametrized=False,
    )  # fmt: skip
    assert np.allclose(found.losses[0], standard.losses[0], rtol=1e-5)
    assert not np.allclose(found.losses[1], standard.losses[1], rtol=1e-3)


def test_it_draws_a_curve_for_each_width_and_marks_the_best_rate():
    octaves = np.arange(-8.0, 0)
    losses = np.exp(0.1 * (octaves - np.array([[-4.0], [-3.0]])) ** 2)[..., None].repeat(2, 2)
    losses[1, -1] = np.inf
    found = mupi.mup.RateSweep((32, 256), tuple(2**octaves), losses)
    assert found.verdict is TransferVerdict.FAILS
    (axes,) = found.plot("a title").axes
    assert axes.get_title() == "a title"
    curves = [line for line in axes.get_lines() if line.get_label() in ("32", "256")]
    assert [len(line.get_xdata()) for line in curves] == [8, 7]
    stars = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "*"]
    assert np.log2(stars) == pytest.approx([-4, -3], abs=0.02)
    assert math.isfinite(axes.get_ylim()[1])
