"""For a polynomial activation of degree K, constant memory is exact: `Hermite(K)` is `Atoms`, step by step."""

import pytest
import torch

import mupi
from assertions import assert_close
from cases import randn, seeded
from mupi import Atoms, Hermite, PiMLP, Polynomial

COEFFICIENTS = {1: (0.3, 1.0), 2: (0.2, 1.0, 0.3), 3: (0.1, 0.8, -0.3, 0.2)}


@pytest.mark.parametrize(("depth", "jointly"), [(1, True), (3, False), (2, True)])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_twenty_steps_of_hermite_are_those_of_the_atoms(degree, depth, jointly):
    nets = [
        PiMLP(5, 3, 4, depth, features=features, activation=Polynomial(COEFFICIENTS[degree]), readout_std=0.25,
              generator=seeded(), dtype=torch.float64)
        for features in (Atoms(), Hermite(degree))
    ]  # fmt: skip
    clip = 0.2
    optimizers = [
        mupi.SGD(
            net.parameter_groups(lr=0.1, first=0.5, last=2.0, bias=0.5, weight_decay=0.05),
            clip=clip,
            clip_jointly=jointly,
            momentum=0.6,
        )
        for net in nets
    ]
    held, losses = randn(10, 5, seed=99), []
    start = nets[0](held).detach()
    clipped = 0
    for step in range(20):
        x, y = randn(6, 5, seed=step), randn(6, 3, seed=100 + step)
        for net, optimizer in zip(nets, optimizers, strict=True):
            loss = ((net(x) - y) ** 2).sum(1).mean()
            loss.backward()
            losses.append(float(loss.detach()))
            clipped += bool(mupi.optim.joint_norm(p for p in net.parameters() if p.grad is not None) > clip)
            optimizer.step()
    assert clipped == 40, "every step is clipped"
    assert losses[::2] == pytest.approx(losses[1::2], rel=1e-10)
    after = nets[0](held)
    assert (after - start).norm() > 0.1 * start.norm(), "the function has moved"
    assert_close(nets[1](held), after, rtol=1e-10)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_gradient_norm_is_the_frobenius_norm_of_the_equivalent_matrix(degree):
    φ = Polynomial(COEFFICIENTS[degree])
    nets = [
        PiMLP(5, 3, 4, 2, features=f, activation=φ, readout_std=0.25, generator=seeded(), dtype=torch.float64)
        for f in (Atoms(), Hermite(degree))
    ]
    for net in nets:
        net(randn(6, 5)).square().sum().backward()
    for exact, matrix in zip(nets[0].layers, nets[1].layers, strict=True):
        norm = mupi.optim.gradient_norm(exact.weight.atoms)
        assert_close(norm, matrix.weight.weight.grad.norm(), rtol=1e-11)


def test_a_linear_network_is_one_of_width_rank():
    # φ = id: κ(b, g) = b·g, and each weight matrix is Σ c a bᵀ.
    net = PiMLP(5, 3, 4, 2, features=Atoms(), activation=mupi.Identity(), readout_std=0.25, bias_scale=0.0,
                generator=seeded(), dtype=torch.float64)  # fmt: skip
    optimizer = mupi.SGD(net.parameter_groups(lr=0.1))
    for step in range(3):
        net(randn(6, 5, seed=step)).square().mean().backward()
        optimizer.step()
    matrix = net.input.weight.detach()
    for layer in net.layers:
        atoms = layer.weight.expansion()
        matrix = layer.scale * matrix @ atoms.b.T @ (atoms.c[:, None] * atoms.a)
    x = randn(7, 5)
    assert_close(net(x), x @ matrix)
