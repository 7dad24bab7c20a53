"""The finite perceptron in any abc-parametrization."""

from fractions import Fraction

import pytest
import torch
from torch.nn.functional import cross_entropy

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi.activations import Identity, ReLU, Tanh
from mupi.kernels import NNGP, NTK
from mupi.nets import MLP
from mupi.optim import SGD
from mupi.parametrization import Parametrization

F64 = torch.float64


def train(net: MLP, steps: int = 5, **factors: float) -> torch.Tensor:
    """f on other inputs after a few steps with everything that an optimiser does."""
    optimizer = SGD(net.parameter_groups(0.3, **factors), momentum=0.5)
    y = torch.arange(12) % 3
    for _ in range(steps):
        cross_entropy(net(randn(12, 8)), y).backward()
        optimizer.step()
    return net(randn(5, 8, seed=1)).detach()


@pytest.mark.parametrize("theta", [Fraction(1, 2), Fraction(-3, 4)])
def test_shifted_exponents_are_the_same_network_throughout_training(theta: Fraction):
    """The symmetry (a+θ, b−θ, c−2θ), with biases, multipliers, momentum and weight decay."""
    p = Parametrization.standard(3, c=1)
    factors = dict(first=0.5, last=3.0, bias=0.7, weight_decay=0.05)

    def result(q: Parametrization) -> torch.Tensor:
        net = MLP(8, 3, 24, 3, parametrization=q, bias_scale=0.5, sigma_b=1.0, generator=seeded(), dtype=F64)
        return train(net, **factors)

    assert_close(result(p.shift(theta)), result(p), rtol=1e-11)


def test_mean_field_and_mup_are_the_same_network_of_one_hidden_layer():
    nets = [
        MLP(8, 3, 24, 1, parametrization=p, activation=Tanh(), generator=seeded(), dtype=F64)
        for p in (Parametrization.mean_field(), Parametrization.mup(1))
    ]
    assert_close(train(nets[0]), train(nets[1]), rtol=1e-11)


@pytest.mark.parametrize("p", [Parametrization.standard(2), Parametrization.ntk(2), Parametrization.mup(2)])
def test_hidden_layers_start_of_order_one_and_f_as_predicted(p: Parametrization):
    """|h^l|² → 1 for φ(x) = √2 ReLU, and |f|·n^{−e} → 1 with e the predicted exponent."""
    n = 1024
    net = MLP(8, 2000, n, 2, parametrization=p, sigma_w=2**0.5, generator=seeded(), dtype=F64)
    x = randn(1, 8)
    x = x * (8**0.5 / x.norm()) / 2**0.5
    with torch.no_grad():
        sizes = [float(h.square().mean()) for h in (*net.hidden(x), net(x))]
    wanted = [1.0, 1.0, n ** (2 * float(p.scalings().output_init))]
    for got, want in zip(sizes, wanted, strict=True):
        assert abs(got / want - 1) < 0.2


def test_the_definition_by_hand():
    """h = α(n^{−a} w x + α_b n^{−a_β} β), exponents of μP with c = 0."""
    scales = dict(input_scale=2.0, hidden_scale=1.5, output_scale=0.25, bias_scale=4.0, sigma_b=1.0)
    net = MLP(8, 3, 16, 2, activation=ReLU(), generator=seeded(), dtype=F64, **scales)
    first, hidden, last = net.layers
    x = randn(5, 8)
    h1 = 2.0 * (16**0.5 * x @ first.weight.T + 4.0 * 16**0.5 * first.bias)
    h2 = 1.5 * (h1.relu() @ hidden.weight.T + 4.0 * 16**0.5 * hidden.bias)
    f = 0.25 * (16**-0.5 * h2.relu() @ last.weight.T + 4.0 * last.bias)
    assert_close(net.hidden(x)[0], h1)
    assert_close(net.hidden(x)[1], h2)
    assert_close(net(x), f)
    assert_close(net.feature_kernel(x, x[:2]), h2.relu() @ h2.relu()[:2].T / 16)


def test_the_ntk_parametrization_has_the_kernels_of_the_library_as_its_limit():
    """The recipe in the class's docstring: neural tangents with σ_w, σ_b, on x/√d."""
    σ_w, σ_b, d, n = 1.3, 0.4, 6, 4096
    p = Parametrization.ntk(1)
    scales = dict(input_scale=σ_w, hidden_scale=σ_w, output_scale=σ_w, bias_scale=σ_b / σ_w)
    x1, x2 = randn(1, d), randn(1, d, seed=1)
    net = MLP(d, 1, n, 1, parametrization=p, input_std=1.0, sigma_b=1.0, generator=seeded(3), dtype=F64, **scales)

    def gradient(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(net(x / d**0.5).sum(), list(net.parameters()))])

    empirical = gradient(x1) @ gradient(x2)
    features = σ_w**2 * net.feature_kernel(x1 / d**0.5, x2 / d**0.5) + σ_b**2
    assert_close(empirical, NTK(1, ReLU(), σ_w, σ_b)(x1, x2).squeeze(), rtol=6 / n**0.5)
    assert_close(features, NNGP(1, ReLU(), σ_w, σ_b)(x1, x2), rtol=6 / n**0.5)


def test_parameter_groups_follow_the_convention_of_the_pi_net():
    p = Parametrization.standard(3, c=1)
    net = MLP(8, 3, 16, 3, parametrization=p, bias_scale=1.0, generator=seeded())
    groups = net.parameter_groups(lr=2.0, first=0.5, last=4.0, bias=0.25, weight_decay=0.1)
    assert [g["name"] for g in groups] == ["first", "hidden", "last", "bias"]
    assert [g["lr"] for g in groups] == [2.0 / 16 * f for f in (0.5, 1.0, 4.0, 0.25)]
    assert [len(g["params"]) for g in groups] == [1, 2, 1, 4]
    for group in groups:
        assert group["lr"] * group["weight_decay"] == pytest.approx(0.2)
    frozen = net.parameter_groups(lr=2.0, first=0.0, weight_decay=0.1)
    assert (frozen[0]["lr"], frozen[0]["weight_decay"]) == (0.0, 0.0)


def test_adams_rates_are_those_of_tensor_programs_v():
    """Times the multiplier n^{−a}, the step of a weight of W: Θ(1) at the input, 1/n elsewhere; biases Θ(1)."""
    net = MLP(8, 3, 64, 3, bias_scale=1.0, generator=seeded())
    groups = net.parameter_groups(1.0, rates=net.parametrization.adam_rates)
    rates = {(g["name"], id(p)): g["lr"] for g in groups for p in g["params"]}
    for layer, wanted in zip(net.layers, (1.0, 1 / 64, 1 / 64, 1 / 64), strict=True):
        (rate,) = (lr for (_, key), lr in rates.items() if key == id(layer.weight))
        assert rate * layer.weight_multiplier == pytest.approx(wanted)
        (rate,) = (lr for (_, key), lr in rates.items() if key == id(layer.bias))
        assert rate * layer.bias_multiplier == pytest.approx(1.0)


def test_gradients_of_mup_have_norms_of_order_one_so_a_clipping_norm_is_independent_of_width():
    norms = []
    for n in (64, 1024):
        net = MLP(8, 3, n, 3, bias_scale=1.0, readout_std=3.0, generator=seeded(), dtype=F64)
        cross_entropy(net(randn(32, 8)), torch.arange(32) % 3).backward()
        norms.append(torch.stack([p.grad.norm() for p in net.parameters()]))
    ratio = norms[1] / norms[0]
    assert ratio.min() > 1 / 2 and ratio.max() < 2


def test_every_dtype_starts_the_same_and_the_global_generator_is_not_touched():
    state = torch.get_rng_state()
    double, single = (MLP(8, 3, 16, generator=seeded(), dtype=dtype) for dtype in (F64, torch.float32))
    assert_equal(torch.get_rng_state(), state)
    for p, q in zip(double.parameters(), single.parameters(), strict=True):
        assert_equal(p.float(), q)


def test_a_state_dict_carries_the_multipliers():
    net = MLP(8, 3, 16, parametrization=Parametrization.ntk(2), generator=seeded())
    twin = MLP(8, 3, 16, parametrization=Parametrization.ntk(2), generator=seeded(1))
    twin.load_state_dict(net.state_dict())
    assert_equal(twin(randn(2, 8).float()), net(randn(2, 8).float()))
    with pytest.raises(ValueError, match="make the net with the parametrization, width and scales that were saved"):
        MLP(8, 3, 16, generator=seeded()).load_state_dict(net.state_dict())


def test_a_readout_that_starts_at_zero():
    net = MLP(8, 3, 16, activation=Identity(), readout_std=0.0, generator=seeded())
    assert not net(randn(2, 8).float()).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(width=0), r"`MLP\(width=...\)` must be an integer ≥ 1; got 0"),
        (dict(sigma_w=-1.0), r"`MLP\(sigma_w=...\)` must be a finite number ≥ 0"),
        (dict(bias_scale=float("nan")), r"`MLP\(bias_scale=...\)`"),
        (dict(parametrization=Parametrization.mup(3)), "of depth 2; got depth 3"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MLP(**(dict(d_in=8, d_out=3, width=16, depth=2) | arguments))


def test_wrong_inputs_are_refused():
    net = MLP(8, 3, 16)
    with pytest.raises(ValueError, match=r"`x` must be of shape \(..., 8\)"):
        net(torch.zeros(2, 7))
    with pytest.raises(ValueError, match="`x` must be finite"):
        net(torch.full((2, 8), float("nan")))
    with pytest.raises(ValueError, match=r"`parameter_groups\(lr=...\)`"):
        net.parameter_groups(lr=-1.0)
