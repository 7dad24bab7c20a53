"""Targets (n,) beside outputs (n, 1) broadcast to all pairs: what is measured so would be of another loss."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import mupi
from kernels.conftest import unchecked
from mupi.losses import check_broadcast
from mupi.mup import check_scaling
from mupi.parametrization.coordinate_check import coordinate_check

__all__ = ["unchecked"]

g = torch.Generator().manual_seed(0)
X, Y = torch.randn(24, 3, generator=g), torch.randn(24, generator=g)


def net(width):
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))


def sgd(model, *_):
    return torch.optim.SGD(model.parameters(), lr=1e-2)


BROADCASTING = {
    "mse": functional.mse_loss,
    "l1": nn.L1Loss(),
    "by hand": lambda f, y: (f - y).square().mean(),
    "sum": lambda f, y: ((y - f) ** 2).sum(),
}
PAIRING = {
    "squeezed": lambda f, y: functional.mse_loss(f[:, 0], y),
    "reshaped": lambda f, y: functional.mse_loss(f, y.reshape(f.shape)),
    "of probabilities": lambda f, y: functional.binary_cross_entropy(f[:, 0].sigmoid(), (y > 0).float()),
    "without targets": lambda f, y: f.square().mean(),
}
CALLS = {
    "transfer_check": lambda y, loss: mupi.transfer_check(
        net, [4, 8], X, y, rates=[0.01, 0.02, 0.04], loss=loss, steps=2, seeds=1
    ),
    "forecast": lambda y, loss: mupi.forecast(
        net, [4, 8, 16], 32, X, y, lr=0.01, loss=loss, steps=2, seeds=2, points=2, optimizer=torch.optim.Adam
    ),
    "check": lambda y, loss: mupi.parametrize(net, 16, 8, X[:1]).check(X, y, lr=0.01, loss=loss, widths=(8, 16)),
    "check_scaling": lambda y, loss: check_scaling(net, X, y, make_optimizer=sgd, loss=loss, widths=(4, 8), seeds=1),
    "coordinate_check": lambda y, loss: coordinate_check(net, (4, 8), X, y, make_optimizer=sgd, loss=loss, seeds=1),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "loss", [pytest.param(name, marks=() if name == "by hand" else pytest.mark.slow) for name in BROADCASTING]
)
def test_a_loss_that_compares_each_output_with_all_targets_is_refused(call, loss):
    with pytest.raises(ValueError, match=r"loss.* must be one that pairs each output with its target; got"):
        CALLS[call](Y, BROADCASTING[loss])


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_loss_that_pairs_them_is_taken(call):
    CALLS[call](Y, PAIRING["squeezed"])


@pytest.mark.parametrize("loss", PAIRING)
def test_losses_that_pair_them_are_taken(loss):
    check_broadcast("loss", PAIRING[loss], net(4)(X), Y)


def test_a_loss_of_probabilities_is_tried_on_the_outputs_only():
    check_broadcast("loss", lambda f, y: functional.binary_cross_entropy(f[:, 0], y), net(4)(X).sigmoid(), Y.sigmoid())


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_as_many_labels_as_outputs_broadcast_too():
    outputs, labels = torch.randn(10, 10, generator=g), torch.arange(10) % 4
    check_broadcast("loss", functional.cross_entropy, outputs, labels)
    with pytest.raises(ValueError, match="pairs them with columns"):
        check_broadcast("loss", lambda f, y: (f - y).square().mean(), outputs, labels)


def test_a_loss_of_rows_and_columns_is_taken():
    """As of images and texts (CLIP), which belong to one another in both."""
    outputs, pairs = torch.randn(10, 10, generator=g), torch.arange(10)
    check_broadcast(
        "loss", lambda f, y: functional.cross_entropy(f, y) + functional.cross_entropy(f.T, y), outputs, pairs
    )


@pytest.mark.parametrize("outputs", [(24, 5), (24, 7, 5), (24, 5, 7)])
def test_labels_that_do_not_broadcast_are_not_tried(outputs):
    def never(*_):
        raise AssertionError

    labels = torch.zeros(24 if len(outputs) == 2 else (24, 7), dtype=torch.long)
    check_broadcast("loss", never, torch.randn(outputs), labels)


def test_the_state_of_torchs_generator_is_as_it_was():
    before = torch.random.get_rng_state()
    check_broadcast("loss", lambda f, y: functional.mse_loss(functional.dropout(f[:, 0]), y), net(4)(X).detach(), Y)
    torch.random.set_rng_state(before)
    state = torch.random.get_rng_state()
    outputs = torch.ones(24, 1)
    check_broadcast("loss", lambda f, y: functional.mse_loss(functional.dropout(f[:, 0]), y), outputs, Y)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    "call",
    [
        lambda made: mupi.transfer_check(net, [4, 8], X, Y, rates=[0.01, 0.02, 0.04], optimizer=made),
        lambda made: mupi.parametrize(net, 8, 4, X[:1]).optimizer(made, lr=0.1),
    ],
)
def test_an_optimizer_that_is_made_already_is_refused(call, unchecked):
    with pytest.raises(ValueError, match=r"must be a class of optimizers; got an instance of SGD; pass SGD itself"):
        call(sgd(net(4)))
