"""A user's own perceptron in a parametrization."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi.nets import MLP, parameter_groups, with_multipliers
from mupi.parametrization import Parametrization


def perceptron(width: int = 32, bias: bool = True) -> nn.Sequential:
    hidden = nn.Sequential(nn.Linear(width, width, bias=bias), nn.ReLU(), nn.Dropout(0.0))
    return nn.Sequential(
        nn.Flatten(), nn.Linear(8, width, bias=bias), nn.ReLU(), hidden, nn.Linear(width, 3, bias=bias)
    )


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    x, y = randn(16, 8), randn(16, 3, seed=1)
    for _ in range(steps):
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("make", [Parametrization.mup, Parametrization.ntk, Parametrization.standard])
def test_it_is_the_mlp_of_the_library(make: Callable[[int], Parametrization]):
    """Same draws, same function, same training."""
    p = make(2)
    mine = with_multipliers(perceptron().double(), p, sigma_w=1.4, sigma_b=0.3, readout_std=0.5, generator=seeded())
    scales = dict(bias_scale=1.0, sigma_w=1.4, sigma_b=0.3, readout_std=0.5)
    ours = MLP(8, 3, 32, 2, parametrization=p, generator=seeded(), dtype=torch.float64, **scales)
    factors = dict(lr=0.01, first=0.5, last=2.0, bias=0.1, weight_decay=0.1)
    train(mine, torch.optim.SGD(parameter_groups(mine, **factors)), 5)
    train(ours, torch.optim.SGD(ours.parameter_groups(**factors)), 5)
    assert_close(mine(randn(4, 8)), ours(randn(4, 8)))


def test_the_model_given_stays_as_it_is():
    model = perceptron()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with_multipliers(model)
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    assert type(model[1]) is nn.Linear


def test_training_goes_on_after_saving_and_loading(tmp_path):
    """Weights, multipliers and the learning rates of all groups."""

    def make(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = with_multipliers(perceptron().double(), generator=seeded(seed))
        groups = parameter_groups(net, 0.1, first=0.3, weight_decay=0.01)
        return net, torch.optim.SGD(groups, momentum=0.9)

    net, optimizer = make(seed=0)
    train(net, optimizer, 3)
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "saved.pt")
    train(net, optimizer, 3)

    again, its_optimizer = make(seed=1)
    saved = torch.load(tmp_path / "saved.pt", weights_only=True)
    again.load_state_dict(saved["net"])
    its_optimizer.load_state_dict(saved["optimizer"])
    assert [g["name"] for g in its_optimizer.param_groups] == ["first", "hidden", "last", "bias"]
    train(again, its_optimizer, 3)
    assert_equal(again(randn(4, 8)), net(randn(4, 8)))


def test_weights_saved_in_another_parametrization_are_refused():
    saved = with_multipliers(perceptron()).state_dict()
    with pytest.raises(ValueError, match="make the net with the parametrization, width and scales that were saved"):
        with_multipliers(perceptron(), Parametrization.ntk(2)).load_state_dict(saved)
    with pytest.raises(RuntimeError, match="_extra_state"):
        perceptron().load_state_dict(saved)


def test_hidden_widths_may_differ():
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 3))
    net = with_multipliers(model, Parametrization.standard(2, c=1))
    assert [layer.width for layer in (net[0], net[2], net[4])] == [64, 64, 16]
    assert [g["lr"] for g in parameter_groups(net, 1.0) if g["name"] == "last"] == [1 / 16]


class Odd(nn.Module):
    def __init__(self, **modules: nn.Module):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 8), nn.Linear(8, 2)), r"got `0` \(Conv2d\)"),
        (nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.BatchNorm1d(8)), nn.Linear(8, 2)), r"`1.0` \(BatchNorm1d\)"),
        (nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8, elementwise_affine=False), nn.Linear(8, 2)), "LayerNorm"),
        (nn.Sequential(nn.Linear(8, 8), nn.PReLU(), nn.Linear(8, 2)), "PReLU"),
        (nn.Sequential(nn.Linear(8, 2)), "at least two nn.Linear"),
        (Odd(readout=nn.Linear(8, 2), input=nn.Linear(4, 8)), "`input` with 4 inputs after 2 outputs"),
        (nn.Linear(8, 2), "at least two nn.Linear"),
    ],
)
def test_other_models_are_refused_by_the_name_of_the_module(model: nn.Module, message: str):
    with pytest.raises(ValueError, match=message):
        with_multipliers(model)


def test_a_layer_used_twice_is_refused():
    shared = nn.Linear(8, 8)
    with pytest.raises(ValueError, match="used once"):
        with_multipliers(nn.Sequential(nn.Linear(4, 8), shared, nn.ReLU(), shared, nn.Linear(8, 2)))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="of depth 2, the model's; got depth 3"):
        with_multipliers(perceptron(), Parametrization.mup(3))
    with pytest.raises(ValueError, match=r"`with_multipliers\(sigma_w=...\)` must be a finite number ≥ 0"):
        with_multipliers(perceptron(), sigma_w=-1.0)
    with pytest.raises(ValueError, match="a model that `with_multipliers` returned; got Sequential"):
        parameter_groups(perceptron(), 0.1)


class Functional(nn.Module):
    """Three layers, with what is between them in the forward pass."""

    def __init__(self, forward: Callable[[nn.Module, torch.Tensor], torch.Tensor]):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.run = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, x)


def test_activations_may_be_in_the_forward_pass_and_inputs_and_outputs_are_free():
    for run in (
        lambda net, x: net.third(net.second(net.first(x).relu()).tanh()),
        lambda net, x: net.third(net.second(net.first(x / x.norm(dim=1, keepdim=True)).sign()).tanh()).softmax(1),
    ):
        with_multipliers(Functional(run))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda net, x: net.third(x + net.second(net.first(x).relu())), "another way to `third` than through `second`"),
        (lambda net, x: net.third((h := net.first(x)) + net.second(h.relu())), "another way to `third`"),
        (lambda net, x: net.third(net.second(net.first(x).relu())) + x[:, :3], "another way around `third`"),
        (lambda net, x: net.third(net.second(net.first(x).softmax(1))), "coordinates of `first` mixed before `second`"),
        (lambda net, x: net.third(nn.functional.layer_norm(net.second(net.first(x)), (8,))), "coordinates of `second`"),
        (lambda net, x: net.third(net.second(net.second(net.first(x)))), "`second` used twice"),
        (lambda net, x: net.third(net.first(net.second(x))), "the order second, first, third"),
        (lambda net, x: net.third(net.first(x) @ net.second.weight.T), "the order first, third"),
        (
            lambda net, x: net.third(net.second(net.first(x[:, 0]))),
            r"`with_multipliers\(example=...\)` must be a batch",
        ),
    ],
)
def test_a_model_that_is_no_chain_is_refused_by_what_it_does(run, message: str):
    model = Functional(run)
    with pytest.raises(ValueError, match=message) as error:
        with_multipliers(model)
    assert "\n" not in str(error.value)
    assert model.training and not model.first._forward_hooks


def test_a_model_of_other_inputs_is_tried_on_an_example():
    model = Functional(lambda net, x: net.third(net.second(net.first(x.mean((2, 3))).relu())))
    with pytest.raises(ValueError, match="pass a batch of its inputs"):
        with_multipliers(model)
    with_multipliers(model, example=randn(4, 8, 2, 2, dtype=torch.float32))
