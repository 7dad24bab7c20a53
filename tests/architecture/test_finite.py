"""Finite networks of descriptions, in any abc-parametrization."""

import copy
import pickle
from fractions import Fraction
from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi.activations import GELU, Tanh
from mupi.architecture import (
    Add,
    Attention,
    AveragePool,
    Center,
    Conv,
    Dense,
    Dropout,
    Embed,
    FiniteNetwork,
    Flatten,
    Join,
    Multiply,
    Normalize,
    Operation,
    Permute,
    Reshape,
    Scale,
    Select,
    Table,
    Width,
    chain,
    describe,
    finite,
    named,
)
from mupi.architecture.zoo import cnn, gpt, perceptron, resnet, vit
from mupi.nets import MLP, MuCNN
from mupi.optim import SGD
from mupi.parametrization import Parametrization, Roles, adam_rates
from oracles import textbook

F64 = torch.float64
n = Width()

ROLES = {
    "mup": Roles.mup(),
    "ntk": Roles.ntk(),
    "standard": Roles.standard(c=1),
}
IMAGES = (3, 8, 6)

NETS = {
    "perceptron": (perceptron(7, 3, depth=3), partial(textbook.perceptron, depth=3)),
    "cnn": (
        cnn(IMAGES, 3, depth=2, stride=2, pools=(2,), kernel_size=3, normalize=True),
        partial(textbook.cnn, stride=2, pools=(2,), average=True, normalize=True),
    ),
    "flat cnn": (
        cnn(IMAGES, 3, depth=2, kernel_size=5, average=False, bias=False),
        partial(textbook.cnn, stride=1, pools=(1,), average=False, normalize=False),
    ),
    "resnet": (resnet(IMAGES, 3, blocks=(1, 2)), partial(textbook.resnet, blocks=(1, 2), stride=1)),
    "gpt": (gpt(11, 6, depth=2, gated=True), partial(textbook.gpt, depth=2, heads=4, gated=True)),
    "vit": (vit(IMAGES, 2, 3, depth=1, heads=2), partial(textbook.vit, patch=2, depth=1, heads=2, gated=False)),
}


def inputs(net, count=5):
    """Some."""
    if net.input.integers:
        return torch.randint(11, (count, *net.input.axes), generator=seeded(1))
    return randn(count, *net.input.axes, seed=1)


def targets(out):
    """Classes for all outputs."""
    return torch.arange(out.numel() // out.shape[-1]).reshape(out.shape[:-1]) % out.shape[-1]


def loss(out):
    """Cross-entropy with those."""
    return cross_entropy(out.flatten(0, -2), targets(out).flatten())


def effective(net: FiniteNetwork, width: int, roles: Roles, scales: dict[str, float]) -> textbook.Weights:
    """W = α n^{−a} w and b = α α_b n^{−a_β} β, by the roles' definition."""
    weights, description = {}, net.description
    for place, node in enumerate(description):
        role = description.role(place)
        if not role:
            continue
        scale = scales[role]
        weights[node.name] = scale * width ** -float(roles.a(role)) * net.get_parameter(f"{node.name}.weight")
        if f"{node.name}.bias" in dict(net.named_parameters()):
            of_bias = "finite" if role == "readout" else "vector"
            bias = net.get_parameter(f"{node.name}.bias")
            weights[f"{node.name} bias"] = scale * 0.5 * width ** -float(roles.a(of_bias)) * bias
    return weights


@pytest.mark.parametrize("roles", ROLES)
@pytest.mark.parametrize("name", NETS)
def test_it_is_the_textbook_network_with_its_weights_and_gradients(name, roles):
    description, oracle = NETS[name]
    scales = dict(input=2.0, hidden=1.5, readout=0.7)
    net = description.finite(
        16, parametrization=ROLES[roles], input_scale=2.0, hidden_scale=1.5, output_scale=0.7, bias_scale=0.5,
        sigma_w=1.3, sigma_b=0.4, generator=seeded(), dtype=F64,
    )  # fmt: skip
    x = inputs(description)
    weights = effective(net, 16, ROLES[roles], scales)
    out = oracle(weights, x)
    assert_close(net(x), out)
    parameters = dict(net.named_parameters())
    expected = torch.autograd.grad(loss(out), list(parameters.values()))
    largest = max(float(gradient.abs().max()) for gradient in expected)  # those of keys' biases are 0
    for got, want in zip(torch.autograd.grad(loss(net(x)), list(parameters.values())), expected, strict=True):
        assert_close(got, want, scale=largest)


@pytest.mark.parametrize("roles", ROLES)
def test_entries_start_at_the_size_of_their_role_over_the_square_root_of_the_fan_in(roles):
    p, width, σ = ROLES[roles], 64, 1.3
    net = vit((3, 8, 8), 4, 5, depth=1).finite(
        width, parametrization=p, sigma_w=σ, sigma_b=0.5, embed_std=0.3, generator=seeded(), dtype=F64
    )
    fan_in = {"patches": 3 * 16, "blocks.0.query": 1, "blocks.0.down": 4, "out": 1}
    for name, m in fan_in.items():
        role = {"patches": "input", "out": "readout"}.get(name, "hidden")
        std = σ / m**0.5 * width ** -float(p.b(role))
        w = net.get_parameter(f"{name}.weight")
        assert abs(float(w.detach().square().mean().sqrt()) / std - 1) < 4 / w.numel() ** 0.5
    table, bias = net.get_parameter("positions.weight").detach(), net.get_parameter("blocks.0.up.bias").detach()
    assert float(table.std()) == pytest.approx(0.3 * width ** -float(p.b("input")), rel=0.25)
    assert float(bias.std()) == pytest.approx(0.5 * width ** -float(p.b("vector")), rel=0.25)
    flat = cnn((3, 8, 8), 40, depth=1, average=False).finite(
        width, parametrization=p, readout_std=σ, generator=seeded()
    )
    std = σ / 8 * width ** -float(p.b("readout"))
    assert float(flat.get_parameter("layers.1.weight").detach().std()) == pytest.approx(std, rel=0.05)


def test_a_fan_in_in_the_multiplier_is_the_same_function_at_the_start():
    x = randn(4, 3, 6, 6)
    nets = [
        cnn((3, 6, 6), 4, depth=2).finite(
            8, parametrization=Roles.ntk(), sigma_b=0.5, fan_in_multiplier=m, generator=seeded(), dtype=F64
        )
        for m in (False, True)
    ]
    assert_close(nets[0](x), nets[1](x))
    weight = nets[1].get_parameter("layers.1.weight")
    assert float(weight.detach().std()) == pytest.approx(1.0, rel=0.1)


def trained(net: FiniteNetwork, x, steps: int = 3, **factors: float):
    """Outputs after steps with everything that an optimizer does."""
    optimizer = SGD(net.parameter_groups(0.1, **factors), momentum=0.5)
    for _ in range(steps):
        loss(net(x)).backward()
        optimizer.step()
    return net(x).detach()


def everything(x):
    """Embeddings, tables, gains, shifts, gates, attention, a class token, tied weights and a weight between data."""
    h = Add()(named("tokens", Embed(11, n))(x), named("positions", Table((6,), n))(x))
    h = Join()(named("token", Table((1,), n))(h), Normalize(gain=True, shift=True, eps=1e-5)(h, name="norm"))
    q, k, v = (named(part, Dense(n))(h) for part in "qkv")
    h = Add()(h, named("mix", Dense(n))(Attention(2, causal=True)(q, k, v)))
    gate = Multiply()(chain(named("up", Dense(4 * n)), Tanh())(h), named("gate", Dense(4 * n))(h))
    h = Normalize(subtract=False, gain=True)(named("down", Dense(n, False))(gate), name="rms")
    h = named("once", Dense(n))(h)
    h = h.then(Dense(n), name="twice", weights="once")
    logits = h.then(Dense(11, False), name="head", weights="tokens")
    return named("last", Dense(2))(Scale(0.5)(logits))


@pytest.mark.parametrize("theta", [Fraction(1, 2), Fraction(-3, 4)])
@pytest.mark.parametrize("roles", ROLES)
def test_shifted_exponents_are_the_same_network_throughout_training(roles, theta):
    """The symmetry (a+θ, b−θ, c−2θ) for parameters of all roles, with multipliers, momentum and weight decay."""
    net = describe((6,), everything, integers=True)
    x = inputs(net)
    factors = dict(first=0.5, last=3.0, bias=0.7, weight_decay=0.05)

    def result(p: Roles):
        finite_net = net.finite(
            8, parametrization=p, bias_scale=0.5, sigma_b=1.0, embed_std=0.8, generator=seeded(), dtype=F64
        )
        return trained(finite_net, x, **factors)

    assert_close(result(ROLES[roles].shift(theta)), result(ROLES[roles]), rtol=1e-10)


def test_the_roles_are_those_of_tensor_programs():
    """Equivalents of the tables of Tensor Programs V: effective sizes and rates, W moving by n^{−2a−c}, n^{−a−c}."""
    μ, sp = Roles.mup(), Roles.standard()
    assert [μ.a(r) + μ.b(r) for r in ("input", "hidden", "readout", "vector", "finite")] == [0, Fraction(1, 2), 1, 0, 0]
    assert [2 * μ.a(r) + μ.c(r) for r in ("input", "hidden", "readout", "vector", "finite")] == [-1, 0, 1, -1, 0]
    adam = [μ.a(r) + μ.c(r, adam_rates) for r in ("input", "hidden", "readout", "vector", "finite")]
    assert adam == [0, 1, 1, 0, 0]
    assert sp.a("hidden") == 0 and sp.b("readout") == Fraction(1, 2)
    assert μ.learns_features and μ.stable and not Roles.ntk().learns_features and not sp.stable
    assert Roles.of(Parametrization.mup(5)) == μ and μ.shift(1).shift(-1) == μ
    assert Roles.mean_field().parametrization == Parametrization.mean_field()
    assert copy.deepcopy(μ) == pickle.loads(pickle.dumps(μ)) == μ
    with pytest.raises(ValueError, match="same exponents"):
        Roles.of(Parametrization((0, 0, "1/2", 1), (0, "1/2", 0, 0), 0))
    with pytest.raises(ValueError, match="one of input, readout, vector, finite; got 'hidden'"):
        Roles.mean_field().a("hidden")
    with pytest.raises(ValueError, match=r"`Roles\(input=...\)` must be a pair"):
        Roles(0, (0, "1/2"), (0, 1))


@pytest.mark.parametrize("p", [Parametrization.mup(3), Parametrization((0, "1/2", 0, "1/4"), (0, 0, "1/2", "1/2"), 1)])
def test_a_perceptron_is_the_mlp_of_the_library_bit_for_bit(p):
    """Draws, function, training and the entries of the state dict, with exponents of each layer's own."""
    options = dict(sigma_w=1.2, sigma_b=0.3, bias_scale=0.5, input_scale=2.0, output_scale=0.5, readout_std=0.8)
    ours = MLP(7, 3, 16, 3, parametrization=p, generator=seeded(), dtype=F64, **options)
    mine = perceptron(7, 3, depth=3).finite(16, parametrization=p, generator=seeded(), dtype=F64, **options)
    x = randn(5, 7)
    assert isinstance(ours, FiniteNetwork) and [layer.layer for layer in ours.layers] == [1, 2, 3, 4]
    assert_equal(mine(x), ours(x))
    assert mine.state_dict().keys() == ours.state_dict().keys()
    groups = [[(g["name"], g["lr"], len(g["params"])) for g in net.parameter_groups(0.1, 2.0)] for net in (mine, ours)]
    assert groups[0] == groups[1]
    assert_equal(trained(mine, x, weight_decay=0.1), trained(ours, x, weight_decay=0.1))


def test_numbers_are_those_of_the_mlp_before_it_was_a_reading():
    """Of a network with draws of all kinds, after five steps of SGD with momentum, decay and clipping."""
    net = MLP(
        8, 3, 24, 3, parametrization=Parametrization.standard(3, c=1), bias_scale=0.5, sigma_b=1.0, activation=GELU(),
        generator=seeded(), dtype=F64,
    )  # fmt: skip
    x = randn(12, 8, seed=1)
    optimizer = SGD(net.parameter_groups(0.3, first=0.5, weight_decay=0.05), momentum=0.5, clip=1.0)
    for _ in range(5):
        cross_entropy(net(x), torch.arange(12) % 3).backward()
        optimizer.step()
    expected = [float.fromhex(h) for h in ("-0x1.2a48d005d6b20p-8", "0x1.32a9b9bfdaf9bp-2", "0x1.690df20d074cbp-2")]
    assert_close(net(x)[0].detach(), torch.tensor(expected, dtype=F64), rtol=1e-12)


def test_a_module_may_be_replaced():
    """What is registered is what computes: adapters and the like are put in a layer's place."""
    net = perceptron(3, 2, depth=1).finite(8, generator=seeded(), dtype=F64)
    net.layers[1] = torch.nn.Linear(8, 5, dtype=F64)
    net.layers[0] = torch.nn.Linear(3, 8, dtype=F64)
    x = randn(4, 3)
    assert_close(net.hidden(x)[0], net.layers[0](x))


def test_tied_weights_are_one_parameter_with_a_multiplier_for_each_role():
    def network(x):
        h = named("tokens", Embed(5, n))(x)
        return h.then(Dense(5), name="head", weights="tokens")

    net = describe((3,), network, integers=True).finite(
        16, sigma_b=1.0, parametrization=Roles.mup().shift(1), generator=seeded(), dtype=F64
    )
    w, bias = net.get_parameter("tokens.weight"), net.get_parameter("head.bias")
    assert len(list(net.parameters())) == 2
    x = torch.tensor([[0, 3, 4]])
    W = 16 ** -float(Roles.mup().shift(1).a("input")) * w
    b = 16 ** -float(Roles.mup().shift(1).a("finite")) * bias
    assert_close(net(x), W[x] @ W.T / 16 + b)
    with pytest.raises(ValueError, match=r"`Dense\(4\)` \(head\).*weight of shape \(4, 16\) is one of shape \(5, 16\)"):
        describe(
            (3,), lambda x: named("tokens", Embed(5, n))(x).then(Dense(4), name="head", weights="tokens"), integers=True
        ).finite(16)


def test_every_operation_of_positions_does_what_torch_does():
    x = randn(4, 6, 5, 3)
    h = randn(4, 6, 5, 8)

    def of(*parts):
        """The parts after a layer of 8 channels, whose values are those of h."""
        net = describe((6, 5, 8), chain(named("id", Dense(n, False)), *parts)).finite(8, generator=seeded(), dtype=F64)
        with torch.no_grad():
            net.get_parameter("id.weight").copy_(torch.eye(8, dtype=F64) / net.id.weight_multiplier)
        return net(h)

    assert_close(of(AveragePool()), h.mean((1, 2)))
    assert_close(
        of(AveragePool((2, 3), (1, 2))), torch.nn.functional.avg_pool2d(h.movedim(3, 1), (2, 3), (1, 2)).movedim(1, 3)
    )
    assert_close(of(Flatten()), h.flatten(1))
    assert_close(of(Permute((1, 0))), h.permute(0, 2, 1, 3))
    assert_close(of(Reshape((3, 10))), h.reshape(4, 3, 10, 8))
    assert_close(of(Select(2)), h[:, 2])
    assert_close(of(Select(1, 4)), h[:, 1:4])
    assert_close(of(lambda v: Add()(v, Select(1)(v))), h + h[:, 1][:, None])
    assert_close(of(lambda v: Multiply()(Select(1)(v), v)), h * h[:, 1][:, None])
    assert_close(of(lambda v: Join()(v, Select(0, 2)(v))), torch.cat([h, h[:, :2]], 1))
    assert_close(of(Scale(3.0, -0.5)), 3 * h / 8**0.5)
    assert_close(of(Normalize(eps=0.1)), torch.nn.functional.layer_norm(h, (8,), eps=0.1))
    assert_close(of(Normalize(subtract=False, eps=0.125)), torch.nn.functional.rms_norm(h, (8,), eps=0.125))
    assert_close(of(Center()), h - h.mean((0, 1, 2)))

    net = describe((6, 5, 3), chain(Permute((2, 0, 1)), Reshape((90,)), Dense(n, False), Dense(2, False)))
    finite_net = net.finite(8, dtype=F64, generator=seeded())
    weights = effective(finite_net, 8, Roles.mup(), dict(input=1.0, readout=1.0))
    expected = x.permute(0, 3, 1, 2).flatten(1) @ weights["dense_1"].T @ weights["dense_2"].T
    assert_close(finite_net(x), expected)
    assert_close(finite_net(x.flatten(1)), expected)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize(
    ("axes", "size", "stride", "padding"), [((9,), (3,), (2,), (1,)), ((7, 5), (3, 1), (2, 1), (2, 0))]
)
def test_convolutions_are_those_of_torch(axes, size, stride, padding, mode):
    conv = Conv(n, size, stride, padding, mode)
    net = describe((*axes, 3), named("conv", conv)).finite(4, sigma_b=1.0, generator=seeded(), dtype=F64)
    kind = torch.nn.Conv1d if len(axes) == 1 else torch.nn.Conv2d
    theirs = kind(3, 4, size, stride, padding, padding_mode=mode, dtype=F64)
    with torch.no_grad():
        theirs.weight.copy_(2 * net.get_parameter("conv.weight"))  # n^{1/2} of μP
        theirs.bias.copy_(2 * net.get_parameter("conv.bias"))
    x = randn(2, *axes, 3)
    assert_close(net(x), theirs(x.movedim(-1, 1)).movedim(1, -1))


def test_attention_has_the_factor_and_the_power_of_the_size_of_a_head():
    for exponent, factor in ((-0.5, None), (-1.0, 3.0)):

        def network(x, exponent=exponent, factor=factor):
            q, k, v = (named(part, Dense(4 * n, False))(x) for part in "qkv")
            return Attention(4, factor=factor, exponent=exponent)(q, k, v)

        net = describe((6, 5), network).finite(3, generator=seeded(), dtype=F64)
        x = randn(2, 6, 5)
        q, k, v = (
            (x @ net.get_parameter(f"{p}.weight").T * 3**0.5).unflatten(-1, (4, 3)).transpose(1, 2) for p in "qkv"
        )
        scale = (factor or 1.0) * 3**exponent
        want = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2).flatten(2)
        assert_close(net(x), want)


def test_dropout_is_active_in_training_only():
    net = describe((3,), chain(Dense(n), Dropout(0.5), Dense(2))).finite(64, generator=seeded())
    x = torch.ones(1, 3)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert_equal(net(x), net(x))


def test_the_protocol_of_networks():
    net = cnn((1, 4, 4), 3, depth=2).finite(16, generator=seeded(), dtype=F64)
    x = randn(5, 1, 4, 4)
    h1, h2 = net.hidden(x)
    assert h1.shape == h2.shape == (5, 4, 4, 16)
    assert_close(net.readout(h2), net(x))
    φ = h2.relu().mean((1, 2))
    assert_close(net.features(x), φ / 4)
    assert_close(net.feature_kernel(x, x[:2]), φ @ φ[:2].T / 16)
    assert_close(net.readout.diagonal(net.features(x)), net.feature_kernel(x, x).diagonal())
    of_tokens = gpt(5, 3, depth=1).finite(16, generator=seeded())
    assert of_tokens.feature_kernel(torch.tensor([[0, 1, 2]]), torch.tensor([[0, 1, 1]] * 2)).shape == (1, 3, 2, 3)
    around = describe((3,), chain(Dense(2), named("h", Dense(n)), lambda h: Add()(Dense(2)(h), Dense(2)(h))))
    with pytest.raises(ValueError, match="of a network with one readout; got one with 2"):
        around.finite(4).hidden(torch.ones(1, 3))


def test_every_dtype_starts_the_same_and_the_global_generator_is_not_touched():
    state = torch.get_rng_state()
    double, single = (gpt(11, 6).finite(16, generator=seeded(), dtype=dtype) for dtype in (F64, torch.float32))
    assert_equal(torch.get_rng_state(), state)
    for p, q in zip(double.parameters(), single.parameters(), strict=True):
        assert_equal(p.float(), q)


def test_a_state_dict_is_refused_by_another_parametrization_and_by_another_function():
    make = partial(resnet, (1, 4, 4), 3, blocks=(1,))
    net, x = make().finite(16, generator=seeded()), torch.ones(2, 1, 4, 4)
    twin = pickle.loads(pickle.dumps(make().finite(16, generator=seeded(1))))
    twin.load_state_dict(copy.deepcopy(net).state_dict())
    assert_equal(twin(x), net(x))
    for other in (make().finite(16, parametrization=Roles.ntk()), make().finite(16, output_scale=2.0)):
        with pytest.raises(ValueError, match="make the net with the parametrization, width and scales that were saved"):
            other.load_state_dict(net.state_dict())
    for other in (make(activation=Tanh()), make(branch_scale=0.5)):
        with pytest.raises(ValueError, match="as in the state dict"):
            other.finite(16).load_state_dict(net.state_dict())


class Doubled(Operation):
    """2x, from outside of the library."""

    def shape(self, *inputs):
        return inputs[0]

    def __str__(self):
        return "Doubled()"


def test_an_operation_from_outside_is_refused_until_it_has_a_rule():
    net = describe((3,), chain(named("first", Dense(n)), Doubled(), named("last", Dense(2))))
    with pytest.raises(
        ValueError, match=r"`Doubled\(\)` \(doubled_1\).*a finite network.*mupi.architecture.finite.reg"
    ):
        net.finite(4)
    finite.register(Doubled)(lambda operation, place, read: partial(torch.mul, other=2.0))
    plain = describe((3,), chain(named("first", Dense(n)), named("last", Dense(2)))).finite(4, generator=seeded())
    x = torch.ones(1, 3)
    assert_close(net.finite(4, generator=seeded())(x), 2 * plain(x))


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [
        (perceptron(3, 2), dict(width=0), r"`finite\(width=...\)` must be an integer ≥ 1"),
        (perceptron(3, 2), dict(sigma_w=-1.0), r"`finite\(sigma_w=...\)` must be a finite number ≥ 0"),
        (perceptron(3, 2), dict(parametrization=Roles.mean_field()), "for 1 hidden weights, of depth 2, or the same"),
        (
            gpt(5, 4),
            dict(parametrization=Parametrization((0, 0, "1/2", 0), (0, "1/2", 0, 0), 0)),
            "for 12 hidden weights, of depth 13, or the same for all; got depth 3; take Roles",
        ),
        (gpt(5, 4, heads=4), dict(width=6), r"`Attention\(4.*6 channels are not 4 heads"),
        (describe((3,), Dense(n / 4)), dict(width=6), "`width` must be a multiple of 4"),
    ],
)
def test_wrong_arguments_are_refused(net, options, message):
    with pytest.raises(ValueError, match=message) as error:
        net.finite(**(dict(width=8) | options))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("net", "x", "message"),
    [
        (perceptron(3, 2), torch.ones(2, 4), r"`x` must be of shape \(..., 3\)"),
        (perceptron(3, 2), torch.ones(2, 3, dtype=F64), "of the network's dtype torch.float32"),
        (perceptron(3, 2), torch.ones(2, 3, dtype=torch.long), "of a floating dtype"),
        (perceptron(3, 2), torch.full((2, 3), float("nan")), "`x` must be finite"),
        (resnet((1, 4, 4), 2), torch.ones(2, 1, 4, 5), r"of shape \(..., 1, 4, 4\) or \(..., 16\)"),
        (gpt(5, 3), torch.ones(2, 3), "of an integer dtype"),
        (gpt(5, 3), torch.full((2, 3), 5), r"`x` must be of integers from 0 to 4; got 5"),
        (gpt(5, 3), torch.full((2, 3), -1), r"`x` must be of integers from 0 to 4; got -1"),
    ],
)
def test_wrong_inputs_are_refused(net, x, message):
    with pytest.raises(ValueError, match=message) as error:
        net.finite(8)(x)
    assert "\n" not in str(error.value)


def test_any_axes_of_the_batch_and_none_and_no_inputs():
    net = perceptron(3, 2).finite(8, generator=seeded(), dtype=F64)
    x = randn(4, 5, 3)
    assert_close(net(x), net(x.flatten(0, 1)).unflatten(0, (4, 5)))
    assert_close(net(x[0, 0]), net(x)[0, 0])
    assert net(x[:0]).shape == (0, 5, 2)
    assert vit((3, 4, 4), 2, 5, depth=1).finite(8)(torch.ones(0, 3, 4, 4)).shape == (0, 5)
    constant = describe((3,), chain(Dense(2), lambda x: Table((), n)(x), Dense(2))).finite(8, generator=seeded())
    assert constant(torch.ones(4, 3)).shape == (4, 2)


def test_it_is_an_ordinary_module_for_torch_func():
    net = vit((3, 4, 4), 2, 5, depth=1).finite(8, generator=seeded(), dtype=F64)
    x, parameters = randn(3, 3, 4, 4), dict(net.named_parameters())
    jacobian = torch.func.vmap(
        torch.func.grad(lambda p, x: torch.func.functional_call(net, p, (x[None],)).square().sum()), (None, 0)
    )(parameters, x)
    summed = torch.autograd.grad(net(x).square().sum(), list(parameters.values()))
    largest = max(float(gradient.abs().max()) for gradient in summed)
    for got, want in zip(jacobian.values(), summed, strict=True):
        assert_close(got.sum(0), want, scale=largest)


def test_names_of_parameters_may_be_others_and_are_what_torch_func_gives():
    """As a traced module, or an earlier version, has them."""
    names = {"layers.0.weight": "first", "layers.1.weight": "rest.0", "layers.0.bias": "b", "layers.2.weight": "rest.1"}
    net = perceptron(3, 2).finite(8, names=names, generator=seeded(), dtype=F64)
    plain = perceptron(3, 2).finite(8, generator=seeded(), dtype=F64)
    x = randn(4, 3)
    assert {"first", "b", "rest.0", "rest.1", "layers.1.bias", "layers.2.bias"} == dict(net.named_parameters()).keys()
    assert net.state_dict().keys() == dict(net.named_parameters()).keys() | {"_extra_state"}
    assert_equal(net(x), plain(x))
    state = {name: 2 * p.detach() for name, p in net.named_parameters()}
    doubled = torch.func.functional_call(net, state, (x,))
    assert not torch.equal(doubled, net(x))
    copied = copy.deepcopy(net)
    with torch.no_grad():
        copied.get_parameter("rest.1").zero_()
    assert not copied(x).any() and net(x).any() and not pickle.loads(pickle.dumps(copied))(x).any()
    assert_equal(trained(net, x, weight_decay=0.1), trained(plain, x, weight_decay=0.1))
    with pytest.raises(ValueError, match="multipliers of layers.0"):
        perceptron(3, 2).finite(8, names=names, parametrization=Roles.ntk(), dtype=F64).load_state_dict(
            net.state_dict()
        )


def test_a_convolutional_network_in_mup_has_the_numbers_that_it_had():
    """Of `MuCNN` before it was a reading, after five steps; and the names of its parameters."""
    net = MuCNN((3, 8, 8), 3, 16, (2,), generator=seeded(), dtype=F64)
    x, optimizer = (
        randn(6, 3, 8, 8, seed=1),
        SGD(net.parameter_groups(0.3, first=0.5, weight_decay=0.05), momentum=0.5, clip=1.0),
    )
    assert float(net.hidden(x)[-1].detach().sum()) == pytest.approx(11.068001132294537, rel=1e-12)
    for _ in range(5):
        cross_entropy(net(x), torch.arange(6) % 3).backward()
        optimizer.step()
    expected = torch.tensor([0.14558952918493734, -0.08414210174345049, -0.061447427441486895], dtype=F64)
    assert_close(net(x)[0].detach(), expected, rtol=1e-12)
    names = {"first", "last", "hidden_weights.0", "biases.0", "biases.1", "biases.2"}
    assert dict(net.named_parameters()).keys() == names and net.state_dict().keys() == names | {"_extra_state"}
    adam = net.parameter_groups(1.0, rates=net.parametrization.adam_rates)
    assert [round(g["lr"], 12) for g in adam] == [0.25, 1 / 16, 0.25, 0.25, 1.0]


def test_a_fan_in_in_the_multipliers_has_the_tangent_kernel_of_the_architecture_as_its_limit():
    """The recipe in the class's docstring, for a convolution with stride, a flattened layer and biases."""
    σ_w, σ_b, x = 1.3, 0.5, randn(2, 2, 6, 6)
    net = cnn((2, 6, 6), 1, depth=2, stride=2, average=False, activation=Tanh())
    expected, gaps = net.ntk(σ_w, σ_b)(x), []
    for width in (32, 512):
        made = net.finite(
            width, parametrization=Roles.ntk(), input_scale=σ_w, hidden_scale=σ_w, output_scale=σ_w,
            bias_scale=σ_b / σ_w, sigma_b=1.0, fan_in_multiplier=True, generator=seeded(), dtype=F64,
        )  # fmt: skip
        of_inputs = [torch.autograd.grad(made(v[None]).squeeze(), list(made.parameters())) for v in x]
        rows = torch.stack([torch.cat([g.flatten() for g in gradients]) for gradients in of_inputs])
        gaps.append(float((rows @ rows.T / expected - 1).abs().max()))
    assert gaps[1] < 0.05 < gaps[0]
