"""`PiMLP`: the formula of its docstring, equal starts, state dicts, learning rates, dtypes and devices."""

import copy
import math

import pytest
import torch

import mupi
from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import Abs, Atoms, Erf, Hermite, PiMLP, Polynomial, RandomFeatures, ReLU
from oracles import exact_layer

FEATURES = {"atoms": Atoms(), "hermite": Hermite(2), "subspace": Hermite(3, subspace=3), "random": RandomFeatures(16)}


def build(features=None, depth=2, seed=0, **options):
    """A small network."""
    options = dict(readout_std=0.3, dtype=torch.float64) | options
    return PiMLP(4, 3, 6, depth, features=features or Atoms(), generator=seeded(seed), **options)


def train(net, steps=5, **groups):
    optimizer = mupi.SGD(net.parameter_groups(**(dict(lr=0.2, weight_decay=0.01) | groups)), clip=0.3)
    dtype = net.input.weight.dtype
    for step in range(steps):
        (net(randn(8, 4, seed=step, dtype=dtype)) - 1).square().mean().backward()
        optimizer.step()
    return net


def some_arrays(depth, rank=5, d_in=4, d_out=3):
    """Arguments of `from_atoms` in general position: B rows of norms from 0.1 to 10, biases on every layer."""
    input_weight, input_bias = randn(d_in, rank), randn(rank, seed=1)
    layers = []
    for i in range(depth):
        m, out = 4 + i, d_out if i == depth - 1 else rank
        b = randn(m, rank, seed=40 + i) * torch.logspace(-1, 1, m, dtype=torch.float64)[:, None]
        layers.append((randn(m, seed=10 + i), randn(m, out, seed=20 + i) / 3, b, randn(out, seed=30 + i)))
    return input_weight, input_bias, layers


SCALES = dict(input_scale=1.3, output_scale=0.7, bias_scale=0.4)


def by_the_formula(arrays, x, activation, input_scale, output_scale, bias_scale):
    """g¹ and all further junctions, and the output, as `PiMLP.from_atoms` documents them."""
    input_weight, input_bias, layers = arrays
    g = [input_scale * (x @ input_weight + bias_scale * input_bias)]
    for c, a, b, bias in layers:
        g.append(exact_layer.layer(activation, c, a, b, g[-1]) + bias_scale * bias)
    return g[:-1], output_scale * g[-1]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("activation", [ReLU(), Erf()], ids=str)
def test_from_atoms_is_the_documented_formula(depth, activation):
    arrays, x = some_arrays(depth), randn(3, 4, seed=50)
    net = PiMLP.from_atoms(*arrays, activation=activation, **SCALES)
    hidden, output = by_the_formula(arrays, x, activation, **SCALES)
    assert len(net.layers) == len(net.hidden(x)) == depth
    for g, expected in zip(net.hidden(x), hidden, strict=True):
        assert_close(g, expected, rtol=1e-12)
    assert_close(net(x), output, rtol=1e-12)


def test_from_atoms_has_the_gradients_of_the_formula():
    (a, bias, layers), x = some_arrays(2), randn(3, 4, seed=50).requires_grad_()
    net = PiMLP.from_atoms(a, bias, layers, **SCALES)
    a, bias = a.clone().requires_grad_(), bias.clone().requires_grad_()
    delta = randn(3, 3, seed=51)
    _, output = by_the_formula((a, bias, layers), x, ReLU(), **SCALES)
    expected = torch.autograd.grad(output, (x, a, bias), delta)
    for value, gradient in zip(
        torch.autograd.grad(net(x), (x, net.input.weight, net.input.bias), delta), expected, strict=True
    ):
        assert_close(value, gradient, rtol=1e-11)


def test_from_atoms_takes_none_for_biases_of_zero():
    (a, _, layers), x = some_arrays(2), randn(3, 4, seed=50)
    without = PiMLP.from_atoms(a, None, [(*layer[:3], None) for layer in layers], **SCALES)
    zeros = PiMLP.from_atoms(a, torch.zeros(5).double(), [(*layer[:3], 0 * layer[3]) for layer in layers], **SCALES)
    assert_equal(without(x), zeros(x))
    assert without.input.bias is not None, "trainable from zero"
    none = PiMLP.from_atoms(a, None, [(*layer[:3], None) for layer in layers], **SCALES | dict(bias_scale=0.0))
    assert none.input.bias is None
    assert_equal(none(x), zeros(x))


def test_from_atoms_copies_its_arrays():
    arrays = some_arrays(2)
    kept = copy.deepcopy(arrays)
    train(PiMLP.from_atoms(*arrays, **SCALES))
    assert_equal(arrays[0], kept[0])
    assert_equal(arrays[1], kept[1])
    for layer, original in zip(arrays[2], kept[2], strict=True):
        for t, u in zip(layer, original, strict=True):
            assert_equal(t, u)


def test_from_atoms_draws_no_random_numbers():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    PiMLP.from_atoms(*some_arrays(2), **SCALES)
    assert_equal(torch.get_rng_state(), before)


def test_from_atoms_keeps_the_dtype():
    a, bias, layers = some_arrays(2)
    net = PiMLP.from_atoms(a.float(), bias.float(), [tuple(t.float() for t in layer) for layer in layers])
    assert net(randn(2, 4, dtype=torch.float32)).dtype == torch.float32


def test_from_atoms_of_a_trained_net_is_the_same_net_and_trains_on():
    net = train(build(depth=3))
    layers = [(e.c, e.a, e.b, layer.bias.detach()) for layer in net.layers for e in [layer.weight.expansion()]]
    rebuilt = PiMLP.from_atoms(net.input.weight.detach(), net.input.bias.detach(), layers)
    x = randn(5, 4, seed=50)
    assert_close(rebuilt(x), net(x))
    assert_close(train(rebuilt, 3)(x), train(net, 3)(x))


# Initialisation


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_seeds_start_as_the_same_function(depth, seed):
    φ, x = Polynomial((0.1, 1.0, 0.2)), randn(5, 4, seed=50)
    exact, hermite, random = (
        build(f, depth, seed, activation=φ)(x) for f in (Atoms(), Hermite(2), RandomFeatures(2**16))
    )
    assert_close(hermite, exact, rtol=1e-11)
    assert_close(random, exact, rtol=0.05)  # a finite net: 1/√65536 of a few times the output
    assert (build(Atoms(), depth, seed + 5, activation=φ)(x) - exact).abs().max() > 0.1 * exact.abs().max()


def test_dtypes_start_as_the_same_function():
    x = randn(5, 4, seed=50)
    for features in FEATURES.values():
        assert_close(build(features, dtype=torch.float32)(x.float()), build(features)(x), rtol=1e-4)


def test_pi_initialization_is_that_of_the_paper():
    net = PiMLP(50, 7, 300, 2, features=Atoms(), generator=seeded(), dtype=torch.float64)
    assert_close(net.input.weight.norm(dim=0), torch.ones(300).double())
    assert (net.input.bias == 0).all() and (net.layers[0].bias == 0).all()
    atoms = net.layers[0].weight.expansion()
    assert len(atoms) == 300
    assert_close(atoms.b.norm(dim=1), torch.ones(300).double())
    assert float((atoms.c[:, None] * atoms.a).square().mean()) == pytest.approx(1 / 300, rel=0.02)
    assert float(atoms.b.mean(0).norm()) < 0.1
    assert net.readout.weight.num_atoms == 0
    assert (net(randn(3, 50)) == 0).all()


@pytest.mark.parametrize("readout_std", [0.0, 0.2])
def test_the_readout_starts_with_the_given_deviation(readout_std):
    readout = PiMLP(3, 400, 50, 1, features=Atoms(), readout_std=readout_std, generator=seeded()).readout
    atoms = readout.weight.expansion()
    assert len(atoms) == (50 if readout_std else 0)
    if readout_std:
        assert float((atoms.c[:, None] * atoms.a).std()) == pytest.approx(readout_std, rel=0.03)


@pytest.mark.parametrize("name", FEATURES)
def test_the_generator_decides_everything(name):
    states = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        states.append(build(FEATURES[name]).state_dict())
    for key, value in states[0].items():
        assert_equal(value, states[1][key])


@pytest.mark.parametrize("name", FEATURES)
def test_dtype_and_device_reach_every_tensor(name):
    net = build(FEATURES[name], dtype=torch.float32, device="meta")
    tensors = dict(net.named_parameters()) | dict(net.named_buffers())
    counters = {key for key, t in tensors.items() if not t.is_floating_point()}
    assert all(tensors[key].device.type == "cpu" for key in counters), "counters are read in each step"
    assert {t.device.type for key, t in tensors.items() if key not in counters} == {"meta"}
    assert {t.dtype for key, t in tensors.items() if key not in counters} == {torch.float32}
    assert build(FEATURES[name], dtype=torch.float64)(randn(2, 4)).dtype == torch.float64


@pytest.mark.parametrize("name", FEATURES)
def test_to_converts_a_trained_net(name):
    net, x = train(build(FEATURES[name])).eval(), randn(5, 4, seed=50)
    expected = net(x).detach()
    net.to(torch.float32)
    assert net(x.float()).dtype == torch.float32
    assert_close(net(x.float()), expected, rtol=1e-4)
    assert net.num_atoms == (12 + 2 * 40 if name == "atoms" else 0)
    train(net.train(), 2)


# hidden, forward, kernels


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("depth", [1, 3])
def test_hidden_gives_the_junctions_in_order(name, depth):
    net, x = train(build(FEATURES[name], depth)).eval(), randn(5, 4, seed=50)
    hidden = net.hidden(x)
    assert [tuple(g.shape) for g in hidden] == [(5, 6)] * depth
    assert_close(hidden[0], net.input(x))
    for layer, g, after in zip(net.layers[:-1], hidden[:-1], hidden[1:], strict=True):
        assert_close(after, layer(g))
    assert_close(net(x), net.readout(hidden[-1]))


@pytest.mark.parametrize("name", FEATURES)
def test_leading_axes_are_samples(name):
    net, x = build(FEATURES[name]).eval(), randn(2, 3, 4, seed=50)
    assert net(x).shape == (2, 3, 3)
    assert_close(net(x).reshape(6, 3), net(x.reshape(6, 4)))
    assert_close(net(x[0, 0]), net(x)[0, 0])


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 2)])
def test_an_empty_batch_has_an_empty_output(name, shape):
    assert build(FEATURES[name])(torch.zeros(*shape, 4, dtype=torch.float64)).shape == (*shape, 3)


@pytest.mark.parametrize("name", FEATURES)
def test_an_empty_batch_trains_nothing(name):
    net = build(FEATURES[name])
    before = copy.deepcopy(net.state_dict())
    net(torch.zeros(0, 4, dtype=torch.float64)).sum().backward()
    mupi.SGD(net.parameter_groups(lr=0.2), clip=0.3).step()
    for key, value in net.state_dict().items():
        assert_equal(value, before[key])


@pytest.mark.parametrize("name", FEATURES)
def test_a_batch_of_one_is_a_batch(name):
    net, x = build(FEATURES[name]).eval(), randn(3, 4, seed=50)
    assert_close(torch.cat([net(x[i : i + 1]) for i in range(3)]), net(x))


@pytest.mark.parametrize("name", ["atoms", "hermite", "subspace"])
def test_the_feature_kernel_of_a_limit_is_the_gaussian_expectation(name):
    net = train(build(FEATURES[name], activation=Abs())).eval()
    x1, x2 = randn(5, 4, seed=50), randn(3, 4, seed=51)
    g1, g2 = net.hidden(x1)[-1], net.hidden(x2)[-1]
    kernel = net.feature_kernel(x1, x2)
    z = torch.randn(400_000, 6, dtype=torch.float64, generator=seeded())
    sampled = (z @ g1.T).abs().T @ (z @ g2.T).abs() / len(z)
    assert kernel.shape == (5, 3)
    assert_close(kernel, sampled, rtol=0.01)


def test_the_feature_kernel_of_a_finite_net_is_the_average_over_its_neurons():
    net = train(build(RandomFeatures(16)))
    x1, x2 = randn(5, 4, seed=50), randn(3, 4, seed=51)
    neurons = [torch.relu(net.hidden(x)[-1] @ net.readout.weight.omega.T) for x in (x1, x2)]
    assert_close(net.feature_kernel(x1, x2), neurons[0] @ neurons[1].T / 16)


# State


@pytest.mark.parametrize("name", FEATURES)
def test_a_state_dict_loads_into_a_fresh_net_and_continues_there(name):
    net = train(build(FEATURES[name]), 6)
    fresh = build(FEATURES[name], seed=9)
    fresh.load_state_dict(copy.deepcopy(net.state_dict()))
    x = randn(5, 4, seed=50)
    assert_equal(fresh.eval()(x), net.eval()(x))
    assert_equal(train(fresh.train())(x), train(net.train())(x))


@pytest.mark.parametrize("name", FEATURES)
def test_a_state_dict_survives_a_file_that_runs_no_code(name, tmp_path):
    net = train(build(FEATURES[name]))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    fresh = build(FEATURES[name], seed=9)
    fresh.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    assert_equal(fresh(randn(5, 4, seed=50)), net(randn(5, 4, seed=50)))


@pytest.mark.parametrize("other", [Hermite(2), RandomFeatures(16)], ids=str)
def test_the_state_of_other_features_is_refused(other):
    with pytest.raises(RuntimeError, match=r"layers\.0\.weight"):
        build(Atoms()).load_state_dict(build(other).state_dict())
    with pytest.raises(RuntimeError, match=r"layers\.0\.weight"):
        build(other).load_state_dict(build(Atoms()).state_dict())


# parameter_groups


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("name", FEATURES)
def test_every_parameter_is_in_one_group(name, depth):
    net = build(FEATURES[name], depth)
    grouped = [id(p) for group in net.parameter_groups(lr=0.1) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters())


def test_groups_have_their_multipliers():
    net = build(Hermite(2), depth=3)
    groups = {g["name"]: g for g in net.parameter_groups(lr=2.0, first=0.1, last=4.0, bias=0.5, weight_decay=0.3)}
    assert {name: g["lr"] for name, g in groups.items()} == pytest.approx(
        dict(first=0.2, hidden=2.0, last=8.0, bias=1.0)
    )
    assert all(g["lr"] * g["weight_decay"] == pytest.approx(0.6) for g in groups.values())
    assert groups["first"]["params"] == [net.input.weight]
    assert [id(p) for p in groups["last"]["params"]] == [id(net.readout.weight.weight)]
    assert len(groups["hidden"]["params"]) == 2 and len(groups["bias"]["params"]) == 4


@pytest.mark.parametrize("name", FEATURES)
def test_a_multiplier_of_0_trains_nothing_of_its_kind(name):
    net = build(FEATURES[name])
    start = net.input.weight.detach().clone()
    train(net, first=0.0)
    assert_equal(net.input.weight.detach(), start)


@pytest.mark.parametrize("name", ["hermite", "subspace", "random"])
def test_groups_work_with_other_optimizers(name):
    net = build(FEATURES[name])
    x = randn(8, 4)
    optimizer = torch.optim.AdamW(net.parameter_groups(lr=0.01, weight_decay=0.1))
    before = float((net(x) - 1).square().mean().detach())
    for _ in range(40):
        optimizer.zero_grad()
        (net(x) - 1).square().mean().backward()
        optimizer.step()
    assert float((net(x) - 1).square().mean().detach()) < 0.5 * before


# sample


@pytest.mark.parametrize("name", ["atoms", "hermite", "subspace"])
def test_a_sample_is_a_random_net_of_its_own(name):
    net = train(build(FEATURES[name]))
    finite = net.sample(64, generator=seeded())
    before, x = copy.deepcopy(net.state_dict()), randn(5, 4, seed=50)
    assert all(layer.weight.omega.shape == (64, 6) for layer in finite.layers)
    assert [layer.scale for layer in finite.layers] == [1.0, 0.5]
    assert_equal(finite(x), net.sample(64, generator=seeded())(x))
    assert not torch.equal(finite(x), net.sample(64, generator=seeded(1))(x))
    assert finite(x).dtype == torch.float64
    train(finite)
    for key, value in net.state_dict().items():
        assert_equal(value, before[key])
    assert finite.num_atoms == 0


def test_junctions_of_a_sample_are_drawn_apart():
    finite = build(depth=3).sample(64, generator=seeded())
    omegas = [layer.weight.omega for layer in finite.layers]
    assert not torch.equal(omegas[0], omegas[1]) and not torch.equal(omegas[1], omegas[2])


def test_a_sample_keeps_what_is_frozen_and_the_mode():
    net = build().eval()
    net.input.weight.requires_grad_(False)
    net.layers[0].requires_grad_(False)
    finite = net.sample(64, generator=seeded())
    assert not finite.training
    assert not finite.input.weight.requires_grad
    assert not finite.layers[0].weight.weight.requires_grad
    assert finite.layers[1].weight.weight.requires_grad


# error_report


def test_exact_features_report_no_error():
    net, x = train(build(Hermite(3), 3, activation=Polynomial((0.1, 1.0, 0.2, -0.1)))), randn(20, 4, seed=50)
    for features in (Atoms(), RandomFeatures(16)):
        for report in train(build(features, 3)).error_report(x):
            assert report.output < 1e-13 and report.gradient < 1e-13
    for report in net.error_report(x):
        assert report.atoms > 0
        assert report.output < 1e-12 and report.gradient < 1e-12
    assert [report.layer for report in net.error_report(x)] == ["layer 1", "layer 2", "readout"]


def test_the_error_falls_with_the_degree():
    errors = []
    for degree in (0, 1, 2, 4, 6):
        report = train(build(Hermite(degree)), 10).error_report(randn(20, 4, seed=50))
        errors.append([e for layer in report for e in (layer.output, layer.gradient)])
    errors = torch.tensor(errors)
    assert (errors[1:] < errors[:-1]).all(), errors
    assert (errors[0] > 0.3).all() and (errors[-1] < 0.15).all(), errors


def test_the_error_falls_with_the_subspace():
    errors = []
    for p in (1, 3, 6):
        report = train(build(Hermite(2, subspace=p)), 30).error_report(randn(20, 4, seed=50))
        errors.append(report[0].output)  # in the readout of this small network degrees above 2 are most of it
    assert errors[1] < 0.6 * errors[0] and errors[2] < 0.6 * errors[1], errors


def test_the_report_is_the_error_on_the_training_so_far():
    # A network whose training is shorter than the window: all its atoms are known, and so is the exact sum.
    hermite, exact = (train(build(f), 6, weight_decay=0.0, first=0.0) for f in (Hermite(1), Atoms()))
    x = randn(20, 4, seed=50)
    g = hermite.hidden(x)[0].detach()
    report = hermite.error_report(x)[0]
    assert report.atoms == 6 + 6 * 8
    # The atoms of the two runs differ by little after a few short steps, so the report is near the actual difference.
    actual = (hermite.layers[0].weight(g) - exact.layers[0].weight(g)).norm() / exact.layers[0].weight(g).norm()
    assert report.output == pytest.approx(float(actual.detach()), rel=0.3)


@pytest.mark.parametrize("steps", [5, 15, 16, 17])
def test_the_report_changes_nothing(steps):
    # Also where a renewal of the directions is due, after 6 + 16·8 atoms: it is the next training step's to make.
    net = train(build(Hermite(2, subspace=2)), steps)
    x = randn(20, 4, seed=50)
    with torch.no_grad():
        expected = net.eval()(x)
    net.train()
    first = net.error_report(x)
    assert net.error_report(x) == first
    assert_equal(net.eval()(x).detach(), expected)
    assert all(p.grad is None for p in net.parameters())


def test_before_training_the_report_is_about_the_initial_atoms():
    report = build(Hermite(1), readout_std=0.0).error_report(randn(20, 4, seed=50))
    assert [e.atoms for e in report] == [6, 0]
    assert report[0].output > 0.01
    assert report[1].output == report[1].gradient == 0
    assert all(math.isfinite(e.gradient) for e in report)


def test_num_atoms_counts_all_layers():
    net = build(depth=3)
    assert net.num_atoms == 18
    train(net, 2)
    assert net.num_atoms == 18 + 3 * 2 * 8
    assert build(Hermite(2)).num_atoms == 0


def test_defaults_are_constant_memory_and_relu():
    net = PiMLP(4, 3, 6, generator=seeded())
    assert len(net.layers) == 2
    assert net.readout.weight.features == Hermite()
    assert net.readout.weight.activation == ReLU()
    assert net(torch.ones(2, 4)).shape == (2, 3)
