"""Rates for the optimizer that is used, and no other."""

import pytest
import torch
from torch import nn

import mupi
from mupi.mup import AdamLike, MuonLike
from mupi.nets import MLP
from mupi.training import Trainer


def test_a_perceptron_gets_the_rates_of_its_optimizers_family():
    net = MLP(8, 3, width=64, depth=3)
    for optimizer in (torch.optim.Adam, AdamLike(), torch.optim.RMSprop):
        asked = mupi.parameter_groups(net, 0.1, optimizer=optimizer)
        known = mupi.parameter_groups(net, 0.1, rates=net.parametrization.adam_rates)
        assert [g["lr"] for g in asked] == [g["lr"] for g in known]
        assert {g["family"] for g in asked} == {"AdamLike"}
    sgd, default = mupi.parameter_groups(net, 0.1, optimizer=mupi.SGD), mupi.parameter_groups(net, 0.1)
    assert [g["lr"] for g in sgd] == [g["lr"] for g in default]
    assert not any("family" in g for g in default)


def test_adams_steps_move_layers_alike_at_every_width_by_its_own_rates_only():
    moved = {"right": [], "wrong": []}
    for width in (64, 1024):
        for kind, options in (("right", {"optimizer": torch.optim.Adam}), ("wrong", {})):
            torch.manual_seed(0)
            net, x = MLP(8, 3, width=width, depth=3), torch.randn(8, 8)
            optimizer = torch.optim.Adam(mupi.parameter_groups(net, 0.5, **options), eps=1e-14)
            before = net.hidden(x)[-1].detach()
            for _ in range(2):
                optimizer.zero_grad()
                (net(x) - 1).square().mean().backward()
                optimizer.step()
            moved[kind].append(float((net.hidden(x)[-1].detach() - before).square().mean().sqrt()))
    assert 0.6 < moved["right"][1] / moved["right"][0] < 1.6
    assert moved["wrong"][1] / moved["wrong"][0] > 8


def pi(features):
    return mupi.PiMLP(8, 3, rank=8, depth=2, features=features)


def test_pi_networks_have_no_width_for_adam_but_of_random_features():
    groups = mupi.parameter_groups(pi(mupi.Hermite(2)), 0.1, optimizer=torch.optim.AdamW)
    assert {g["lr"] for g in groups} == {0.1}
    with pytest.raises(ValueError, match="SGD for random features"):
        mupi.parameter_groups(pi(mupi.RandomFeatures(32)), 0.1, optimizer=torch.optim.AdamW)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: mupi.parameter_groups(net, 0.1, optimizer=torch.optim.Adadelta), "Adadelta"),
        (lambda net: mupi.parameter_groups(net, 0.1, optimizer=MuonLike()), "SGD, or Adam and its kin"),
        (
            lambda net: mupi.parameter_groups(
                net, 0.1, optimizer=torch.optim.Adam, rates=net.parametrization.adam_rates
            ),
            r"rates=...\)` must be None",
        ),
        (lambda net: mupi.parameter_groups(net, 0.1, weight_decay=0.1, optimizer=torch.optim.Adam), "weight_decay"),
        (lambda net: mupi.parameter_groups(nn.Linear(2, 2), 0.1), "mupi.parametrize"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(MLP(8, 3, width=16, depth=2))


def test_groups_of_another_family_are_refused_where_they_are_seen():
    net = MLP(8, 3, width=16, depth=2)
    for_adam = mupi.parameter_groups(net, 0.1, optimizer=torch.optim.Adam)
    with pytest.raises(ValueError, match=r"`SGD\(params\)` must be of groups whose rates are for SGD"):
        mupi.SGD(for_adam)
    with pytest.raises(ValueError, match=r"`Trainer\(optimizer=...\)` must be of groups whose rates are for SGDLike"):
        Trainer(net, torch.optim.SGD(for_adam))
    Trainer(net, torch.optim.Adam(for_adam))
    Trainer(net, torch.optim.Adam(mupi.parameter_groups(net, 0.1)))  # which say nothing
