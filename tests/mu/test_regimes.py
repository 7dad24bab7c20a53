"""`MuLimit` in any stable parametrization: kernel descent in closed form, random starts, weights that stay."""

from typing import Any

import pytest
import torch
from torch import nn

import mupi
from assertions import assert_close, fitted_slope
from cases import randn, seeded
from mupi import KernelDynamics, MuLimit, Parametrization, Roles
from mupi.architecture import Add, Dense, Normalize, Table, Width, chain, describe, residual
from mupi.architecture.zoo import cnn, gpt, perceptron, vit

n, ERF = Width(), mupi.Erf()
NORM = Normalize(gain=True, shift=True)
HOW = {"lr": 0.1, "first": 0.7, "last": 1.5, "bias": 0.5}
STEPS = 3
X, Y = randn(3, 3), randn(3, 2, seed=1)
RESIDUAL = describe((3,), chain(Dense(n), residual(NORM, ERF, Dense(n)), NORM, ERF, Dense(2)))


def squares(f, y):
    return (f - y).square().flatten(1).sum(1).mean()


def cross_entropy(f, y):
    return nn.functional.cross_entropy(f.flatten(0, -2), y.flatten())


def small(arch, parametrization=None, **options) -> Any:
    parametrization = Roles.ntk() if parametrization is None else parametrization
    options = {"samples": 100, "replicates": 2, "generator": seeded(), **options}
    return MuLimit(arch, parametrization=parametrization, **options)


def trained(arch, width, seed, x, y, loss, p, centered=True, decay=0.0, **options):
    """Outputs of a finite network before each step of torch's SGD, and after the last."""
    # Of each width draws of its own, so that chance at one is not that at another.
    generator = seeded(seed + 1000 * width)
    net = arch.finite(width, parametrization=p, dtype=torch.float64, generator=generator, **options)
    optimizer = torch.optim.SGD(net.parameter_groups(**HOW, weight_decay=decay), momentum=0.5)
    start, outputs = net(x).detach() * centered, []
    for _ in range(STEPS):
        f = net(x) - start
        outputs.append(f.detach())
        optimizer.zero_grad()
        loss(f, y).backward()
        optimizer.step()
    return torch.stack([*outputs, net(x).detach() - start])


def gaps(arch, x, y, loss, p, widths, seeds, **options):
    """Root mean square distances to the limit, (widths, times)."""
    samples = options.pop("samples", 100)
    decay = options.get("decay", 0.0)
    own = {name: value for name, value in options.items() if name != "decay"}
    limit = small(arch, p, loss=loss, momentum=0.5, samples=samples, weight_decay=decay, **HOW, **own).fit(x, y, STEPS)
    exact = torch.cat([limit.outputs, limit.predict(x)[None]])
    found = []
    for width in widths:
        runs = torch.stack([trained(arch, width, seed, x, y, loss, p, **options) for seed in range(seeds)])
        found.append((runs - exact).square().flatten(2).mean((0, 2)).sqrt())
    return torch.stack(found), exact


NETS = {
    "random biases, of outputs too": (perceptron(3, 2, 2, ERF), (3,), {"bias_scale": 0.7, "sigma_b": 0.5}),
    "residual, LayerNorm": (RESIDUAL, (3,), {}),
    "RMSNorm, scales": (
        describe((3,), chain(Dense(n), ERF, Dense(n), Normalize(subtract=False), ERF, Dense(2))), (3,),
        {"input_scale": 1.2, "hidden_scale": 0.8, "output_scale": 0.7, "sigma_w": 1.1, "input_std": 0.9},
    ),
    "layers of n, 4n and n/2": (
        describe((3,), chain(Dense(n), ERF, Dense(4 * n), ERF, Dense(n / 2), ERF, Dense(2))), (3,), {},
    ),
    "convolutions, average": (cnn((1, 4, 4), 2, 2, ERF, stride=2), (1, 4, 4), {}),
    "convolutions, flattened": (cnn((1, 3, 3), 2, 2, ERF, average=False, stride=2), (1, 3, 3), {}),
    "readout of zero": (perceptron(3, 2, 3, ERF), (3,), {"readout_std": 0.0}),
    "transformer on patches": (vit((1, 4, 4), 2, 2, depth=1, heads=2), (1, 4, 4), {}),
}  # fmt: skip
KERNEL = {
    "NTP": Roles.ntk(),
    "SP with η/n, where only readouts count": Roles.standard(c=1),
    "f_0 of n^(−1/4)": Roles(("-1/4", "1/4"), ("1/4", "1/4"), ("1/2", "1/4"), 0),
}


def test_networks_in_ntp_come_closer_as_one_over_root_n():
    arch, axes, options = NETS["residual, LayerNorm"]
    found, exact = gaps(arch, randn(3, *axes), Y, squares, Roles.ntk(), (32, 512), 4, **options)
    assert (found[0] / found[1])[1:].min() > 2.2, found
    assert found[1].max() < 0.1 * exact[1:].square().mean().sqrt()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "regime"),
    [*((name, "NTP") for name in NETS), *(("residual, LayerNorm", regime) for regime in KERNEL if regime != "NTP")],
)
def test_the_slope_of_their_distance_is_a_half_at_every_step(name, regime):
    arch, axes, options = NETS[name]
    widths = (64, 256, 1024)
    found, _ = gaps(arch, randn(3, *axes), Y, squares, KERNEL[regime], widths, 48, **options)
    for time in range(1, STEPS + 1):
        assert fitted_slope(widths, found[:, time].tolist()) == pytest.approx(-0.5, abs=0.12), (time, found)


@pytest.mark.parametrize("momentum", [0.0, 0.4])
def test_outputs_descend_by_the_architectures_own_kernel(momentum):
    """Weights of fan-in d are N(0, σ²/d) and x is not divided by √d, so that their rate in W/√d is d/σ²."""
    σ, arch = 1.3, perceptron(3, 2, 2, ERF)
    limit = small(arch, sigma_w=σ, bias_scale=0.7, sigma_b=0.5, lr=0.1, momentum=momentum, bias=0.5)
    limit.fit(X, Y, 4, test_x=X + 1)
    rates = {"input": 3 / σ**2, "hidden": 1 / σ**2, "readout": 1 / σ**2}
    kernel = arch.ntk(σ, 0.35, weight_lr=rates, bias_lr=0.5 * 0.49)
    descent = KernelDynamics(kernel).fit(X, Y)  # of half of our loss
    f, tests = (descent.descend(x, 0.2, list(range(5)), momentum=momentum) for x in (X, X + 1))
    assert_close(limit.outputs, f[:4], rtol=1e-9, scale=1.0)
    assert_close(limit.test_outputs, tests[:4], rtol=1e-9, scale=1.0)
    assert_close(limit.predict(X + 1), tests[4], rtol=1e-9, scale=1.0)
    assert float(limit.output_errors.max()) == 0


def test_batches_and_nesterovs_momentum_are_those_of_a_linear_network_in_its_tangents():
    arch = perceptron(3, 2, 1, ERF)
    limit = small(arch, lr=0.2, momentum=0.6, nesterov=True, first=0.5)
    Θ = arch.ntk(1.0, 0.0, weight_lr={"input": 1.5, "readout": 1.0}, bias_lr=1.0)(X)
    features = torch.linalg.cholesky(Θ)
    w = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.2, momentum=0.6, nesterov=True)
    for part in ([0, 1], [2], [0, 2], [1, 1]):
        f = features[part] @ w
        assert_close(limit.step(X[part], Y[part])[0][0], f.detach(), rtol=1e-9, scale=1.0)
        optimizer.zero_grad()
        squares(f, Y[part]).backward()
        optimizer.step()
    assert_close(limit.predict(X), (features @ w).detach(), rtol=1e-9, scale=1.0)


@pytest.mark.slow
def test_a_language_model_has_outputs_at_positions():
    arch = gpt(5, 3, depth=1, heads=2)
    x, y = torch.tensor([[0, 1, 2], [4, 1, 3]]), torch.tensor([[1, 2, 0], [1, 3, 3]])
    found, exact = gaps(arch, x, y, cross_entropy, Roles.ntk(), (32, 512), 4)
    assert exact.shape == (STEPS + 1, 2, 3, 5)
    assert (found[0] / found[1])[1:].min() > 2.2, found


def descent(arch, draws, **options) -> Any:
    """The part of a limit that takes no samples."""
    options = {**HOW, "centered": False, **options}
    return small(arch, **options).plan.descent(X, arch.output.channels, draws, seeded(), torch.float64)


def test_a_network_that_is_not_centered_follows_its_own_start():
    """From equal f_0 networks come closer to the limit as they widen; not to the change of one that is centered."""
    arch, labels = perceptron(3, 3, 1, ERF), torch.tensor([0, 2, 1])
    found = []
    for width in (32, 512):
        off = []
        for seed in range(6):
            runs = trained(arch, width, seed, X, labels, cross_entropy, Roles.ntk(), centered=False)
            own, centered = descent(arch, 1, momentum=0.5), descent(arch, 1, momentum=0.5, centered=True)
            own.start = lambda x, f=runs[0]: f[None]
            for limit in (own, centered):
                for _ in range(STEPS):
                    limit.step(X, labels, cross_entropy)
            change = runs[-1] - runs[0]
            gaps = [(one - f).norm() / change.norm() for one, f in
                    ((runs[-1], own.outputs(X)), (change, centered.outputs(X)))]  # fmt: skip
            off.append(torch.stack(gaps))
        found.append(torch.stack(off).square().mean(0).sqrt())
    assert found[0][0] / found[1][0] > 2.2, found
    assert found[1][0] < 0.1 < found[1][1], found


def test_random_starts_have_the_mean_and_the_covariance_of_kernel_dynamics():
    arch, draws = perceptron(3, 1, 2, ERF), 2000
    limit = descent(arch, draws, first=1.0, last=1.0, bias=1.0)
    for _ in range(3):
        limit.step(X, Y[:, :1], squares)
    kernel, initial = arch.ntk(1.0, 0.0, weight_lr={"input": 3.0}, bias_lr=1.0), arch.nngp(1.0, 0.0)
    points = torch.cat([X[:1], X + 1])
    mean, covariance = KernelDynamics(kernel, initial).fit(X, Y[:, :1]).descend(points, 0.2, 3, return_cov=True)
    f = limit.outputs(points)[..., 0]
    assert f.shape == (draws, 4)
    spread = covariance.diagonal().sqrt()
    assert ((f.mean(0) - mean[:, 0]).abs() < 4.5 * spread / draws**0.5).all()
    assert ((f.T.cov() - covariance).abs() < 4.5 * (2 / draws) ** 0.5 * torch.outer(spread, spread)).all()
    # The same functions wherever they were asked for.
    assert torch.equal(limit.outputs(points)[..., 0], f)
    assert_close(limit.outputs(points[[2, 0]])[..., 0], f[:, [2, 0]])


def test_a_fit_of_random_starts_gives_each():
    limit = small(perceptron(3, 2, 1, ERF), centered=False, lr=0.1).fit(X, Y, 2)
    f = limit.predict(X + 1, each=True)
    assert f.shape == (2, 3, 2) and float((f[0] - f[1]).abs().max()) > 0.1
    assert_close(limit.predict(X + 1), f.mean(0))
    assert float(limit.output_errors.min()) > 0


@pytest.mark.parametrize("centered", [True, False])
def test_a_saved_descent_goes_on_bit_for_bit(centered, tmp_path):
    arch = perceptron(3, 2, 2, ERF)

    def fresh():
        return small(arch, lr=0.1, momentum=0.5, centered=centered)

    whole, part, again = fresh().fit(X, Y, 4, test_x=X + 1), fresh().fit(X, Y, 2, test_x=X + 1), fresh()
    torch.save(part.state_dict(), tmp_path / "limit.pt")
    again.load_state_dict(torch.load(tmp_path / "limit.pt"))
    again.fit(X, Y, 2, test_x=X + 1)
    assert torch.equal(again.outputs, whole.outputs) and torch.equal(again.test_outputs, whole.test_outputs)
    with pytest.raises(ValueError, match="must be of a network with"):
        small(arch, lr=0.1, centered=not centered).load_state_dict(part.state_dict())
    with pytest.raises(ValueError, match="must be of a network with"):
        small(arch, Roles.mup()).load_state_dict(part.state_dict())


LEARNING = {
    "hidden weights stay": Roles(("-1/2", "1/2"), (1, "-1/2"), ("1/2", "1/2"), 0),
    "input weights, biases and gains stay": Roles((0, 0), (0, "1/2"), ("1/2", "1/2"), 0),
    "a readout that starts at n^(−3/2)": Roles(("-1/2", "1/2"), (0, "1/2"), ("1/2", 1), 0),
    "a readout that stays": Roles(("-1/2", "1/2"), (0, "1/2"), (1, 0), 0),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "readout" in name else ()) for name in LEARNING]
)
def test_networks_that_learn_features_by_some_of_their_weights_have_that_limit(name):
    p = LEARNING[name]
    assert p.learns_features and not p.parametrization.is_maximal
    found, exact = gaps(RESIDUAL, X, Y, squares, p, (32, 512), 6, samples=2000, decay=0.05)
    assert (found[0] / found[1])[2:].min() > 2.2, found
    assert found[1].max() < 0.25 * exact[1:].square().mean().sqrt()


def test_mup_by_any_other_name_is_mup():
    runs = [
        small(perceptron(3, 2, 2, ERF), p, lr=0.2).fit(X, Y, 2).outputs
        for p in (Roles.mup(), Roles.mup().shift("1/3"), Parametrization.modified_standard(2))
    ]
    assert torch.equal(runs[0], runs[1]) and torch.equal(runs[0], runs[2])
    one = perceptron(3, 2, 1, ERF)
    assert torch.equal(*(small(one, p).fit(X, Y, 2).outputs for p in (Roles.mup(), Roles.mean_field())))


def test_a_vector_for_all_inputs_has_the_rate_of_first_weights_as_in_finite_networks():
    arch = describe((3,), chain(lambda x: Add()(Dense(n, False)(x), Table((), n)(x)), ERF, Dense(2, False)))
    for p in (Roles.mup(), Roles.ntk()):
        runs = [small(arch, p, lr=0.2, bias=bias).fit(X, Y, 1).predict(X) for bias in (0.0, 1.0)]
        assert torch.equal(*runs)
    assert [group["lr"] for group in arch.finite(8).parameter_groups(0.2, bias=0.0)] == [0.2, 0.2]


BAD = {
    "unstable": (Roles.standard(), {}, r"must be stable and nontrivial; got one that is not: Unstable: training"),
    "trivial": (Roles.standard(c=2), {}, r"stable and nontrivial; got one that is not: Trivial: stable, but"),
    "mean field of a deep network": (Roles.mean_field(), {}, r"`MuLimit\(parametrization=...\)` must be one for 1 hid"),
    "weight decay": (Roles.ntk(), {"weight_decay": 0.1}, r"must be SGD without weight decay in the kernel regime"),
    "Adam": (Roles.ntk(), {"optimizer": mupi.mu.Adam(0.1)}, r"must be SGD without weight decay in the kernel regime"),
    "layers that start at 0": (Roles.ntk(), {"hidden_scale": 0.0}, r"must be μP where .* \(dense_2\) starts at 0; got"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_has_no_such_limit_is_refused(name):
    p, options, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        small(RESIDUAL, p, **options)


def test_dropout_is_refused_in_the_kernel_regime_too():
    arch = describe((3,), chain(Dense(n), ERF, mupi.architecture.Dropout(0.1), Dense(2)))
    with pytest.raises(ValueError, match=r"`MuLimit\(net\)` must be a network without dropout"):
        small(arch)
