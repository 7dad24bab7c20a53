"""`arch.nngp` and `arch.ntk`: their definition by loops, identities between networks, settings."""

from math import sqrt

import pytest
import torch

import mupi
from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import Abs, Erf, ReLU
from mupi.architecture import (
    Activate,
    Add,
    Architecture,
    Attention,
    AveragePool,
    Conv,
    Dense,
    Dropout,
    Embed,
    Flatten,
    Join,
    Multiply,
    Normalize,
    Permute,
    Reshape,
    Scale,
    Select,
    Value,
    Width,
    chain,
    describe,
    named,
    residual,
    zoo,
)

n = Width()
READINGS = {"nngp": Architecture.nngp, "ntk": Architecture.ntk}
BOTH = pytest.mark.parametrize("reading", READINGS)
NORM = Normalize(eps=1e-3, gain=True, shift=True)


def both(arch, x, y=None, **arguments):
    return [read(arch, **arguments)(x, y) for read in READINGS.values()]


def attend(causal=False):
    return lambda x: Dense(n)(Attention(2, causal)(*(Dense(n)(x) for _ in range(3))))


# Against sums over positions.


def moments_by_loops(x, size, stride, padding, circular, pairs):
    """σ_w² = 1: (1/k) Σ_o m(stride·p + o − padding, stride·p' + o − padding) over one axis, for all p, p'."""
    length = x.shape[-1]
    out = (length + 2 * padding - size) // stride + 1
    found = torch.zeros(*x.shape[:-2], out, out, dtype=x.dtype)
    for p in range(out):
        for q in range(out):
            for o in range(size):
                i, j = stride * p + o - padding, stride * q + o - padding
                if circular:
                    i, j = i % length, j % length
                if 0 <= i < length and 0 <= j < length:
                    found[..., p, q] += x[..., i, j] / size
    return found if pairs else found.diagonal(0, -2, -1)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (2, 2, 0), (3, 2, 2), (4, 3, 1), (1, 1, 1), (2, 1, 3)]
)
@pytest.mark.parametrize("mean", [False, True])
def test_convolutions_of_one_axis_are_sums_over_offsets(size, stride, padding, mode, mean):
    x, y = randn(2, 4, 3), randn(3, 4, 3, seed=1)
    readout = AveragePool() if mean else Flatten()
    arch = describe((4, 3), chain(Conv(n, (size,), (stride,), (padding,), mode, False), readout, Dense(1)))
    gram = torch.einsum("npc,mqc->nmpq", x, y) / 3
    expected = moments_by_loops(gram, size, stride, padding, mode == "circular", mean)
    expected = expected.mean((-2, -1)) if mean else expected.mean(-1)
    nngp, ntk = both(arch, x, y, sigma_w=1.0)
    assert_close(nngp, expected)
    assert_close(ntk, 2 * expected)


def test_two_axes_are_one_axis_twice():
    x = randn(3, 2, 4, 5)
    conv = Conv(n, (3, 2), (1, 2), (2, 0), bias=False)
    arch = describe((2, 4, 5), chain(Permute((1, 2, 0)), conv, AveragePool(), Dense(1, False)))
    gram = torch.einsum("ncij,mckl->nmijkl", x, x) / 2
    rows = moments_by_loops(gram.permute(0, 1, 3, 5, 2, 4), 3, 1, 2, False, True)
    expected = moments_by_loops(rows.permute(0, 1, 4, 5, 2, 3), 2, 2, 0, False, True).mean((2, 3, 4, 5))
    assert_close(arch.nngp(1.0)(x), expected)


def by_loops(x, y, causal):
    """The NNGP of embed, attention with uniform weights, φ = |·| and a mean, position by position; σ_w = 1."""
    length = len(x)

    def seen(p):
        return range(p + 1) if causal else range(length)

    def gram(a, b):
        return a @ b.T / a.shape[1]

    def attended(k):
        rows = [[sum(k[i, j] for i in seen(p) for j in seen(q)) / len(seen(p)) / len(seen(q)) for q in range(length)]
                for p in range(length)]  # fmt: skip
        return torch.tensor(rows, dtype=torch.float64)

    own_x, cross, own_y = attended(gram(x, x)), attended(gram(x, y)), attended(gram(y, y))
    u, v = own_x.diagonal()[:, None].expand(length, length), own_y.diagonal().expand(length, length)
    return Abs().dual_00(u.contiguous(), cross, v.contiguous()).mean()


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_an_average_over_what_a_position_sees(causal):
    x, y = randn(2, 4, 3), randn(2, 4, 3, seed=1)

    def attend(h: Value) -> Value:
        return Attention(2, causal)(Dense(n, False)(h), Dense(n, False)(h), Dense(n, False)(h))

    arch = describe((4, 3), chain(Dense(n, False), attend, Abs(), AveragePool(), Dense(1)))
    nngp = arch.nngp(1.0)(x, y)
    assert_close(nngp[1, 0], by_loops(x[1], y[0], causal))
    tokens = torch.randint(3, (2, 4), generator=seeded())
    embedded = describe((4,), chain(Embed(3, n), attend, Abs(), AveragePool(), Dense(1)), integers=True)
    one_hot = torch.eye(3, dtype=torch.float64)[tokens] * sqrt(3)  # ⟨x, x'⟩/3 is 1 for equal tokens
    assert_close(embedded.nngp(1.0)(tokens).double()[0, 1], by_loops(*one_hot, causal), rtol=1e-6)


# Identities.


@BOTH
def test_normalized_rectifiers_do_not_see_the_size_of_inputs(reading):
    arch = describe((4,), chain(Dense(n), Normalize(), ReLU(), Dense(n), Normalize(subtract=False), ReLU(), Dense(1)))
    x, k = randn(5, 4), READINGS[reading](arch, sigma_w=2.0)
    assert_close(k(x, 3 * x), k(x, 3 * x * torch.tensor([[1.0], [7.0], [0.1], [2.0], [9.0]])), rtol=1e-11)
    assert_close(READINGS["nngp"](arch)(x).diagonal(), torch.ones(5))


@BOTH
def test_a_sum_of_a_value_with_itself_is_twice_it(reading):
    twice = describe((4,), chain(Dense(n), lambda h: Add()(h, h), Erf(), Dense(1)))
    scaled = describe((4,), chain(Dense(n), Scale(2.0), Erf(), Dense(1)))
    x = randn(5, 4)
    assert_close(READINGS[reading](twice)(x), READINGS[reading](scaled)(x))


@BOTH
def test_what_is_taken_away_again_leaves_nothing(reading):
    def around(h: Value) -> Value:
        g = Dense(n)(h)
        return Add()(Add()(h, g), Scale(-1.0)(g))

    arch = describe((4,), chain(Dense(n), around, ReLU(), Dense(1)))
    plain = describe((4,), chain(Dense(n), ReLU(), Dense(1)))
    x = randn(5, 4)
    assert_close(READINGS[reading](arch, 1.1, 0.3)(x), READINGS[reading](plain, 1.1, 0.3)(x), rtol=1e-7)


@BOTH
def test_sums_of_functions_are_read_by_weights(reading):
    # φ(h) + 2 φ(h) = 3 φ(h), h + φ(h) = ψ(h), and |h| = relu(h) + relu(−h) by tied values.
    x = randn(5, 4)

    def of(part):
        return READINGS[reading](describe((4,), chain(Dense(n), part, Dense(n), Erf(), Dense(1))), 1.2, 0.3)(x)

    assert_close(of(lambda h: Add()(Activate(Erf())(h), Scale(2.0)(Activate(Erf())(h)))), of(chain(Erf(), Scale(3.0))))
    assert_close(of(lambda h: Add()(h, Activate(ReLU())(h))), of(mupi.PiecewiseLinear(((0.0, 1.0),), slope=1.0)))
    assert_close(of(lambda h: Add()(Activate(ReLU())(h), Activate(ReLU())(Scale(-1.0)(h)))), of(Abs()))


@BOTH
def test_layer_norm_of_a_function_takes_its_mean_away(reading):
    # relu(h) less its mean, over its standard deviation, of h of variance 2|x|²/d.
    x = randn(3, 4)
    arch = describe((4,), chain(Dense(n, False), ReLU(), Normalize(), Dense(1, False)))
    var = 2 * x.square().sum(1) / 4
    cov = 2 * x @ x.T / 4
    mean, deviation = (var / (2 * torch.pi)).sqrt(), (var * (0.5 - 0.5 / torch.pi)).sqrt()
    expected = (ReLU().dual_00(var[:, None], cov, var) - mean[:, None] * mean) / deviation[:, None] / deviation
    slopes = ReLU().dual_11(var[:, None], cov, var) / deviation[:, None] / deviation
    k = READINGS[reading](arch)
    assert_close(k(x), 2 * expected + (2 * cov * slopes if reading == "ntk" else 0))
    assert_close(k.diagonal(x), k(x).diagonal())


@BOTH
def test_functions_of_one_value_are_one_function(reading):
    x = randn(3, 4)

    def of(part):
        return READINGS[reading](describe((4,), chain(Dense(n), part, Dense(1))), 1.2, 0.3)(x)

    def sum_of_two(h: Value) -> Value:
        return Add()(Scale(2.0)(Activate(ReLU())(h)), Activate(Erf())(h))

    assert_close(of(sum_of_two), of(mupi.Quadrature(lambda h: 2 * torch.relu(h) + torch.erf(h))), rtol=1e-8)
    assert_close(of(chain(residual(ReLU()), Abs())), of(mupi.PiecewiseLinear(((0.0, 3.0),), slope=-1.0)))
    assert_close(of(chain(ReLU(), mupi.Polynomial((1.0, 2.0)))), of(mupi.PiecewiseLinear(((0.0, 2.0),), constant=1.0)))


@BOTH
def test_a_product_of_functions_of_one_value_is_a_function(reading):
    by_hand = describe(
        (4,), chain(Dense(n), lambda h: Multiply()(h, Activate(mupi.Quadrature(torch.sigmoid))(h)), Dense(1))
    )
    arch = describe((4,), chain(Dense(n), mupi.Quadrature(torch.nn.functional.silu), Dense(1)))
    x = randn(3, 4)
    assert_close(READINGS[reading](by_hand)(x), READINGS[reading](arch)(x), rtol=1e-9)


def test_a_bilinear_layer_is_the_product_of_both_kernels():
    x, y = randn(3, 4), randn(2, 4, seed=1)
    arch = describe((4,), chain(lambda x: Multiply()(Dense(n)(x), Dense(n)(x)), Dense(1)))
    linear = 1.1**2 * x @ y.T / 4 + 0.3**2
    nngp, ntk = both(arch, x, y, sigma_w=1.1, sigma_b=0.3)
    assert_close(nngp, 1.1**2 * linear**2 + 0.3**2)
    assert_close(ntk, 3 * 1.1**2 * linear**2 + 0.3**2)


@BOTH
def test_positions_that_are_cut_joined_and_moved_are_the_same(reading):
    x = randn(3, 4, 3)

    def moved(h: Value) -> Value:
        h = Join()(Select(0, 1)(h), Select(1, 4)(h))
        h = Reshape((2, 2))(h)
        h = Permute((1, 0))(Permute((1, 0))(h))
        return Reshape((4,))(h)

    for end in (Flatten(), AveragePool()):
        plain = describe((4, 3), chain(Conv(n, (3,), (1,), (1,)), ReLU(), end, Dense(1)))
        cut = describe((4, 3), chain(Conv(n, (3,), (1,), (1,)), moved, Dropout(0.1), ReLU(), moved, end, Dense(1)))
        assert_close(READINGS[reading](cut, 1.1, 0.2)(x), READINGS[reading](plain, 1.1, 0.2)(x))


@BOTH
def test_outputs_at_positions(reading):
    arch = zoo.gpt(7, 5, depth=1, heads=2)
    x, y = (torch.randint(7, (k, 5), generator=seeded(k)) for k in (3, 2))
    read = READINGS[reading]
    each = read(arch, output="each")
    K = each(x, y).reshape(3, 5, 2, 5)
    assert each(x, y).shape == (15, 10) and each.diagonal(x).shape == (15,)
    assert_close(each.diagonal(x), each(x).diagonal())
    assert_close(read(arch, output=-1)(x, y), K[:, 4, :, 4].contiguous())
    assert_close(read(arch, output="mean")(x, y), K.mean((1, 3)), rtol=1e-5)
    # What comes later is not seen.
    z = x.clone()
    z[:, 3:] = 0
    assert_close(each(z, y).reshape(3, 5, 2, 5)[:, :3], K[:, :3].contiguous())
    for output, message in ((None, '"each", "mean" or a position below 5'), (5, "got 5"), ("all", "got 'all'")):
        with pytest.raises(ValueError, match=message):
            read(arch, output=output)
    with pytest.raises(ValueError, match="None for a network whose output has no positions"):
        read(zoo.perceptron(3, 1), output="mean")


# Settings.


def test_sigmas_and_rates_by_name_and_role():
    x = randn(4, 5)
    arch = zoo.perceptron(5, 1, 2, Erf())
    names = [f"layers.{i}" for i in range(3)]
    rates, biases = (0.5, 2.0, 0.7), (0.4, 0.0, 0.2)
    expected = mupi.NTK(2, Erf(), 1.2, 0.3, weight_lr=rates, bias_lr=biases)(x)
    settings = dict(weight_lr=dict(zip(names, rates, strict=True)), bias_lr=dict(zip(names, biases, strict=True)))
    assert_close(arch.ntk(1.2, 0.3, **settings)(x), expected)
    by_role = dict(input=0.5, hidden=2.0, readout=0.7)
    assert_close(arch.ntk(1.2, 0.3, weight_lr=by_role, bias_lr=settings["bias_lr"])(x), expected)
    none = dict.fromkeys(names, 0.0)
    assert_equal(arch.ntk(weight_lr=none, bias_lr=0.0)(x), torch.zeros(4, 4, dtype=torch.float64))
    only_readout = arch.ntk(1.2, 0.3, weight_lr=none | {names[2]: 1.0}, bias_lr=none | {names[2]: 0.09})
    assert_close(only_readout(x), arch.nngp(1.2, 0.3)(x))
    sizes = arch.nngp(dict(input=2.0, readout=0.5), {"layers.1": 0.3})(x)
    assert_close(sizes, arch.nngp({"layers.0": 2.0, "layers.2": 0.5}, {"hidden": 0.3})(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(sigma_w=-1.0), r"`arch\.ntk\(sigma_w=\.\.\.\)` must be a finite number ≥ 0; got -1"),
        (dict(sigma_b={"input": float("nan")}), r"`arch\.ntk\(sigma_b=\{'input': \.\.\.\}\)` must be a finite number"),
        (dict(weight_lr={"layer.0": 1.0}), r"must be given for names among \['layers\.0', .*got layer\.0"),
        (dict(bias_lr=-1.0), r"bias_lr=\.\.\.\)` must be a finite number ≥ 0"),
        (dict(sigma_w=1e200), r"whose square is finite"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        zoo.perceptron(3, 1).ntk(**arguments)


def test_gains_and_shifts_learn_at_their_rates():
    x = randn(3, 4)
    arch = describe(
        (4,), chain(named("in", Dense(n, False)), named("norm", NORM), ReLU(), named("out", Dense(1, False)))
    )
    rates = dict(weight_lr={"in": 0.0, "out": 0.0}, bias_lr=0.0)
    var = 2 * x.square().sum(1) / 4
    s = (var + 1e-3).rsqrt()
    cov = 2 * x @ x.T / 4 * s[:, None] * s
    slopes = ReLU().dual_11((var * s * s)[:, None], cov, var * s * s)
    of_gains = ReLU().dual_00((var * s * s)[:, None], cov, var * s * s)  # E φ'(u)u φ'(v)v, not E uv·E φ'(u)φ'(v)
    assert_close(arch.ntk(**rates)(x), 2 * of_gains)
    assert_close(arch.ntk(**rates | {"bias_lr": {"norm": 3.0}})(x), 2 * of_gains + 2 * 3 * slopes)
