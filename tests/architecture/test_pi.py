"""`Architecture.pi`: names, seeds, samples, states, what commutes, what is refused and why."""

import copy
import pickle
from functools import partial

import pytest
import torch

import mupi
from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import Atoms, Hermite, Identity, Polynomial, RandomFeatures, ReLU, Tanh
from mupi.architecture import (
    Activate,
    Add,
    Attention,
    AveragePool,
    Center,
    Conv,
    Dense,
    Draft,
    Dropout,
    Flatten,
    Join,
    Multiply,
    Normalize,
    Operation,
    Permute,
    Reshape,
    Scale,
    Select,
    Step,
    Width,
    chain,
    describe,
    named,
    residual,
    zoo,
)
from mupi.architecture.architecture import Architecture
from mupi.architecture.operation import Input

n = Width()
QUADRATIC = Polynomial((0.1, 1.0, 0.3))
ZOO = {
    "perceptron": zoo.perceptron(5, 2, 2, QUADRATIC),
    "cnn": zoo.cnn((2, 6, 4), 2, 3, QUADRATIC, stride=2, pools=(1, 1), normalize=True),
    "flattened": zoo.cnn((2, 4, 4), 2, 2, QUADRATIC, pools=(2,), average=False, normalize=True),
    "resnet": zoo.resnet((2, 4, 4), 2, (1, 1), QUADRATIC),
    "gpt": zoo.gpt(5, 4, 1, 2, QUADRATIC, gated=True),
    "vit": zoo.vit((2, 4, 4), 2, 2, 1, 2, QUADRATIC),
}


def pi(network, features=None, rank=4, seed=0, **options):
    options = dict(readout_std=0.5, generator=seeded(seed), dtype=torch.float64) | options
    return network.pi(rank, features, **options)


def inputs(network, count=3, seed=0):
    axes = network.input.axes
    if network.input.integers:
        return torch.randint(5, (count, *axes), generator=seeded(seed))
    return randn(count, *axes, seed=seed)


def perceptron(*parts, d_in=3, d_out=2, bias=True):
    """Two hidden layers with something between."""
    return describe((d_in,), chain(Dense(n, bias), *parts, Dense(n, bias), ReLU(), Dense(d_out, bias)))


def on_positions(*parts, positions=(4,), readout=True):
    """A first weight at each position, and something; then φ, a mean and the readout."""
    last = [ReLU(), AveragePool(), Dense(2)] if readout else []
    return describe((*positions, 3), chain(Dense(n), *parts, *last))


@pytest.mark.parametrize("name", ZOO)
def test_equal_seeds_start_as_the_same_function_whatever_the_features(name):
    network, x = ZOO[name], inputs(ZOO[name])
    exact, hermite, finite = (pi(network, f)(x) for f in (Atoms(), Hermite(2), RandomFeatures(2**13)))
    assert_close(hermite, exact, rtol=1e-10)
    assert_close(finite, exact, rtol=0.4)
    assert pi(network, readout_std=0.0)(x).abs().max() == 0


@pytest.mark.parametrize("name", ZOO)
def test_it_takes_gives_and_describes_what_a_network_does(name):
    network, x = ZOO[name], inputs(ZOO[name])
    net = pi(network, Hermite(2))
    assert net(x).shape == (3, *network.output.axes)
    *_, g = net.hidden(x)
    assert_equal(net.readout(g), net(x))
    kernel = net.feature_kernel(x, x)
    assert_close(kernel.flatten(0, kernel.ndim // 2 - 1).flatten(1).diagonal(), net.readout.diagonal(g).flatten())
    sampled = net.sample(2**12, seeded(1))
    assert_close(sampled(x), net(x), rtol=0.4)
    assert_close(sampled.feature_kernel(x, x), kernel, rtol=0.4)
    if not network.input.integers:
        assert_equal(net(x.flatten(1)), net(x))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_equal(twin(x), net(x))
    groups = net.parameter_groups(lr=1.0, first=2.0, last=3.0, bias=4.0)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters())
    assert groups[2]["params"] == list(net.readout.weight.parameters())


def test_names_of_nodes_are_names_of_parameters():
    net = pi(ZOO["gpt"], Hermite(2))
    names = dict(net.named_parameters())
    assert {"tokens", "positions", "blocks.0.query.weight", "blocks.0.down.weight.weight", "out.weight.weight"} <= set(
        names
    )
    assert net.blocks[0].down.weight.rank_in == 8, "a product reads two vectors of R^4"
    groups = {g["name"]: [id(p) for p in g["params"]] for g in net.parameter_groups(1.0)}
    assert groups["first"] == [id(names["tokens"]), id(names["positions"])]


def test_a_state_dict_carries_the_network_and_refuses_another_description():
    net, twin, x = pi(ZOO["resnet"]), pi(ZOO["resnet"], seed=1), inputs(ZOO["resnet"])
    twin.load_state_dict(net.state_dict())
    assert_equal(twin(x), net(x))
    other = zoo.resnet((2, 4, 4), 2, (1, 1), QUADRATIC, branch_scale=0.5)
    with pytest.raises(ValueError, match="as in the state dict"):
        pi(other).load_state_dict(net.state_dict())
    shifted = describe((3,), chain(Dense(n), Normalize(eps=0.1), ReLU(), Dense(2)))
    with pytest.raises(ValueError, match="network of 5 operations"):
        state = pi(shifted).state_dict()
        pi(describe((3,), chain(Dense(n), Normalize(eps=0.2), ReLU(), Dense(2)))).load_state_dict(state)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_transforms_of_torch_func_see_an_ordinary_module():
    net, x = pi(ZOO["cnn"], Hermite(2)).eval(), inputs(ZOO["cnn"])
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def output(parameters, x):
        return torch.func.functional_call(net, parameters, (x[None],))[0]

    jacobians = torch.func.vmap(torch.func.jacrev(output), (None, 0))(parameters, x)
    for k in range(2):
        gradients = torch.autograd.grad(net(x)[1, k], list(net.parameters()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                assert_close(jacobians[name][1, k], gradient, scale=1.0)


def test_layers_of_a_finite_network_are_as_wide_as_they_say_and_share_omega_where_they_are_added():
    network = ZOO["gpt"]
    for net in (pi(network, RandomFeatures(16)), pi(network).sample(16, seeded())):
        assert net.blocks[0].down.weight.omega.shape == (64, 8)
    for net in (pi(ZOO["resnet"], RandomFeatures(16)), pi(ZOO["resnet"]).sample(16, seeded())):
        first, *others = (layer.weight.omega for layer in net.pi_layers)
        for omega in others:
            assert_equal(omega, first)


def test_sequences_may_be_shorter_than_the_most():
    net = pi(ZOO["gpt"])
    x = inputs(ZOO["gpt"])
    assert_close(net(x[:, :2]), net(x)[:, :2])
    with pytest.raises(ValueError, match="at most 4 positions"):
        net(torch.cat([x, x], 1))
    with pytest.raises(ValueError, match="integers"):
        net(x.double())


@pytest.mark.parametrize("features", [Atoms(), Hermite(2), RandomFeatures(16)], ids=str)
@pytest.mark.parametrize(
    "move",
    [
        AveragePool((2, 2)),
        AveragePool((3, 2), (1, 2)),
        AveragePool((3, 3)),
        chain(AveragePool((2, 1)), Reshape((8,)), Select(1, 5)),
        chain(Reshape((2, 2, 4)), Permute((2, 0, 1))),
        chain(Select(1), AveragePool((2,))),
        AveragePool(),
    ],
    ids=range(7),
)
def test_maps_between_positions_commute_with_the_weight_that_reads_them(features, move):
    before = on_positions(
        ReLU(), move, Dense(n), *[AveragePool()][: move != AveragePool()], Dense(2), positions=(4, 4), readout=False
    )
    after = on_positions(
        ReLU(), Dense(n), move, *[AveragePool()][: move != AveragePool()], Dense(2), positions=(4, 4), readout=False
    )
    x = inputs(before)
    assert_close(pi(before, features)(x), pi(after, features)(x))


def test_a_mean_over_positions_of_a_layer_or_of_a_linear_value():
    network = on_positions(AveragePool(), ReLU(), Dense(2), readout=False)
    net, x = pi(network), inputs(network)
    g = net.get_submodule("dense_1")(x).mean(1)
    assert_close(net.hidden(x)[-1], g)


@pytest.mark.parametrize("hidden", [True, False])
def test_a_convolution_over_one_axis_is_one_over_two(hidden):
    size, stride, padding = 3, 2, 1
    first = [Dense(n), ReLU()] if hidden else []
    last = [ReLU(), AveragePool(), Dense(2)]
    row = describe((6, 3), chain(*first, Conv(n, (size,), (stride,), (padding,), "circular"), *last))
    two = describe((1, 6, 3), chain(*first, Conv(n, (1, size), (1, stride), (0, padding), "circular"), *last))
    x = inputs(row)
    assert_close(pi(row)(x), pi(two)(x[:, None]))


def test_weights_for_each_position_of_any_number_of_axes():
    nets = []
    for axes in ((6,), (2, 3), (1, 2, 3)):
        network = describe((*axes, 3), chain(Dense(n), QUADRATIC, Flatten(), Dense(n), QUADRATIC, Dense(2)))
        nets.append(pi(network, Atoms())(randn(4, 6, 3).reshape(4, *axes, 3)))
    for net in nets[1:]:
        assert_close(net, nets[0])
    # The readout of a linear value is Σ_p M_p g(p).
    network = on_positions(Flatten(), Dense(2, False), readout=False)
    net, x = pi(network, Atoms()), inputs(network)
    g, kernel = net.hidden(x)[-1], net.feature_kernel(x, x)
    assert_close(kernel, torch.einsum("npr,mpr->nm", g, g))


def test_the_kernel_of_a_flattened_readout_is_the_sum_over_its_positions_of_averages_over_blocks():
    network = on_positions(ReLU(), AveragePool((2, 2)), Flatten(), Dense(2), positions=(4, 4), readout=False)
    net, x = pi(network, Atoms()), inputs(network)
    g = net.hidden(x)[-1]  # (3, 4, 4, r): blocks of 2 × 2
    blocks = g.unflatten(1, (2, 2)).unflatten(3, (2, 2)).permute(1, 3, 0, 2, 4, 5).flatten(3, 4).flatten(0, 1)
    expected = 0.0
    for block in blocks:
        pairs = net.readout.weight.feature_kernel(block.flatten(0, 1), block.flatten(0, 1))
        expected = expected + pairs.reshape(3, 4, 3, 4).mean((1, 3))
    assert_close(net.feature_kernel(x, x), expected)
    assert_close(net.feature_kernel(x, x).diagonal(), net.readout.diagonal(g))


def test_numbers_that_multiply_are_in_the_layers_or_beside_them():
    def scaled(*parts):
        return pi(perceptron(*parts))

    x = randn(4, 3)
    plain, behind, before = scaled(ReLU()), scaled(Scale(2.0), ReLU()), scaled(ReLU(), Scale(2.0))
    assert behind.get_submodule("dense_1").scale == 2.0
    assert before.get_submodule("dense_2").scale == 2.0
    assert before.get_submodule("dense_2").bias_scale == 0.25
    assert_close(before.hidden(x)[-1], 2 * plain.hidden(x)[-1])
    assert_close(behind.hidden(x)[0], 2 * plain.hidden(x)[0])
    negative = scaled(Scale(-2.0), ReLU())
    assert_close(negative.hidden(x)[0], -2 * plain.hidden(x)[0])


def test_a_product_with_itself_is_one_activation():
    def by_hand(x):
        return Multiply()(x, Activate(Tanh())(x))

    one = perceptron(lambda x: by_hand(x))
    other = perceptron(mupi.activations.as_activation(lambda u: u * torch.tanh(u)))
    x = randn(4, 3)
    assert_close(pi(one, Atoms())(x), pi(other, Atoms())(x), rtol=1e-6)


@pytest.mark.parametrize("features", [Atoms(), Hermite(3), RandomFeatures(32)], ids=str)
def test_a_gate_has_the_product_of_both_kernels(features):
    def gate(x):
        return Multiply()(Activate(ReLU())(Dense(n)(x, name="u")), Dense(n)(x, name="v"))

    network = describe((3,), chain(Dense(n), gate, named("w", Dense(n)), ReLU(), Dense(2)))
    net = pi(network, features, 3)
    weight, u, v = net.w.weight, randn(5, 3), randn(5, 3, seed=1)
    pairs = torch.cat([u, v], 1)
    first, second = ReLU(), Identity()
    exact = first.dual(*mupi.features.gram(u, u)) * second.dual(*mupi.features.gram(v, v))
    if isinstance(features, RandomFeatures):
        omega = weight.omega
        neurons = torch.relu(u @ omega[:, :3].T) * (v @ omega[:, 3:].T)
        exact = neurons @ neurons.T / 32
    assert_close(weight.feature_kernel(pairs, pairs), exact)
    psi = weight.kernel(pairs, pairs)
    assert_close(psi, exact, rtol=0.1 if isinstance(features, Hermite) else 1e-10)
    report = net.error_report(randn(6, 3))
    assert [e.layer for e in report] == ["w", "readout"]


def test_the_same_parameters_twice_are_one_map_between_the_same_junctions():
    draft = Draft()
    x = draft.write(Input((3,)), (), "x")
    h = Dense(n)(x, name="a")
    for i in range(2):
        branch = Activate(QUADRATIC)(h).then(Dense(n), name=f"b{i}", weights="b0" if i else "")
        h = Add()(h, branch)
    network = Architecture(draft.finish(Dense(2)(Activate(QUADRATIC)(h), name="out")))
    net, x = pi(network), randn(4, 3)
    g = net.a(x)
    for _ in range(2):
        g = g + net.b0(g)
    assert_close(net(x), net.out(g))

    draft = Draft()
    h = Dense(n)(draft.write(Input((3,)), (), "x"), name="a")
    h = Activate(QUADRATIC)(h).then(Dense(n), name="b")
    h = Activate(QUADRATIC)(h).then(Dense(n), name="c", weights="b")
    network = Architecture(draft.finish(Dense(2)(Activate(QUADRATIC)(h), name="out")))
    with pytest.raises(ValueError, match="reads another junction than `b`"):
        pi(network)


def test_dropout_of_a_layer_that_weights_read_is_the_identity():
    x = randn(4, 3)
    for part in (chain(ReLU(), Dropout(0.5)), chain(Dropout(0.0), ReLU())):
        assert_equal(pi(perceptron(part)).train()(x), pi(perceptron(ReLU()))(x))
    data = describe((3,), chain(Dropout(0.5), Dense(n), ReLU(), Dense(2)))
    net = pi(data)
    assert not torch.equal(net.train()(x), net(x)), "data have finitely many coordinates"
    assert_equal(net.eval()(x), net(x))


class Twice(Operation):
    """An operation from outside."""

    def shape(self, *inputs):
        """See `Operation.shape`."""
        return inputs[0]

    def __str__(self):
        return "Twice()"


def attention(**options):
    def attend(x):
        q, k, v = (Dense(n)(x) for _ in range(3))
        return Dense(n)(Attention(**options)(q, k, v))

    return attend


REFUSED = {
    "φ of φ": (perceptron(ReLU(), ReLU()), "φ of φ"),
    "a sum of φ's": (perceptron(residual(ReLU())), "sum with φ"),
    "a post-activation residual": (perceptron(ReLU(), residual(Dense(n), ReLU())), "sum with φ"),
    "a norm of φ": (perceptron(ReLU(), Normalize()), "normalize before φ"),
    "centered φ": (perceptron(ReLU(), Center()), "center before φ"),
    "a width": (perceptron(Scale(1.0, -0.5), ReLU()), r"n\^-0.5 has no limit"),
    "a negative φ": (perceptron(ReLU(), Scale(-1.0)), "multiply behind the weight"),
    "dropout before φ": (perceptron(Dropout(0.5), ReLU()), "make `activate_1` read what is not Gaussian"),
    "dropout on a stream": (perceptron(residual(Normalize(), Dense(n), Dropout(0.1)), Normalize(), ReLU()), "use p=0"),
    "1/√d": (on_positions(attention(exponent=-0.5)), "have no limit: q·k/d is the inner product"),
    "φ of heads": (on_positions(lambda x: Attention(2)(x, x, x)), "the coordinates of 2 heads"),
    "attention of φ": (on_positions(lambda x: Attention()(x, Activate(ReLU())(x), x)), "put a weight behind φ"),
    "averages before the readout": (
        on_positions(ReLU(), AveragePool((2,)), Dense(2), readout=False),
        "average behind it",
    ),
    "a product of averages": (
        on_positions(
            lambda x: Multiply()(AveragePool((2,))(Activate(ReLU())(x)), AveragePool((2,))(x)),
            AveragePool(),
            Dense(2),
            readout=False,
        ),
        "multiply before the average",
    ),
    "a product in one junction": (
        perceptron(lambda x: Multiply()(x, Add()(x, Dense(n)(x)))),
        "both layers are of one junction",
    ),
    "three factors": (
        perceptron(lambda x: Multiply()(Multiply()(x, Dense(n)(x)), Dense(n)(x))),
        "multiply two at a time",
    ),
    "an operation without a rule": (perceptron(Twice(), ReLU()), r"`Twice` has no rule; register one with"),
    "no readout": (describe((3,), chain(Dense(n), ReLU())), "output of finite size"),
    "two readouts": (
        describe((3,), chain(Dense(n), ReLU(), Dense(2), Dense(n), ReLU(), Dense(2))),
        "one weight that reads a layer out",
    ),
    "joined φ's": (
        on_positions(
            lambda x: Join()(Activate(ReLU())(x), Activate(Tanh())(Dense(n)(x))), AveragePool(), Dense(2), readout=False
        ),
        "join before φ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_limit_is_refused_in_one_line_that_says_why(name):
    network, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as error:
        pi(network)
    assert "\n" not in str(error.value)


def test_arguments_are_named():
    network = ZOO["gpt"]
    for options, message in [
        (dict(rank=0), r"pi\(rank=...\)"),
        (dict(rank=3), "multiple of the 2 heads"),
        (dict(rank=4, rank_head=0), "rank_head"),
        (dict(rank=4, input_scale=-1.0), "input_scale"),
        (dict(rank=4, features=Hermite(2, subspace=2)), "reads a product of two"),
    ]:
        with pytest.raises(ValueError, match=message):
            network.pi(**options)
    assert network.pi(3, rank_head=2)(inputs(network)).shape == (3, 4, 5)
    net, image = pi(ZOO["cnn"]), inputs(ZOO["cnn"])
    for x, message in [
        (image[:, :1], r"\(batch, 2, 6, 4\) or \(batch, 48\)"),
        (image.float(), "network's dtype"),
        (image.long(), "floating dtype"),
        (image / 0, "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            net(x)


def test_a_rule_from_outside_is_a_rule():
    class Doubled(Twice):
        """With a rule."""

    @mupi.architecture.pi.register(Doubled)
    def _(operation, plan, place, x):
        return x, Step(partial(torch.mul, other=2.0))

    x = randn(4, 3)
    assert_equal(pi(perceptron(Doubled(), ReLU()))(x), pi(perceptron(Scale(2.0), ReLU()))(x))


class LeNet(torch.nn.Module):
    """Convolutions of two strides, averages, weights for each position, a norm with a gain."""

    def __init__(self, width):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(2, width, 3, stride=2, padding=1), torch.nn.ReLU(),
            torch.nn.Conv2d(width, width, 3, padding=1, padding_mode="circular"), torch.nn.ReLU(),
            torch.nn.AvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(4 * width, 2 * width),
        )  # fmt: skip
        self.norm = torch.nn.LayerNorm(2 * width)
        self.head = torch.nn.Linear(2 * width, 3)

    def forward(self, x):
        return self.head(self.norm(self.body(x)).relu())


def test_a_traced_module_and_the_description_by_hand_are_the_same_network():
    by_hand = describe(
        (2, 8, 8),
        chain(
            Permute((1, 2, 0)),
            named("body.0", Conv(n, (3, 3), (2, 2), (1, 1))),
            ReLU(),
            named("body.2", Conv(n, (3, 3), padding=(1, 1), mode="circular")),
            ReLU(),
            AveragePool((2, 2)),
            Flatten(),
            named("body.6", Dense(2 * n)),
            named("norm", Normalize(eps=1e-5, gain=True, shift=True)),
            ReLU(),
            named("head", Dense(3)),
        ),
    )
    traced = mupi.trace(LeNet, randn(1, 2, 8, 8).float())
    x = inputs(by_hand)
    for features in (Hermite(2), RandomFeatures(16)):
        one, other = pi(traced, features), pi(by_hand, features)
        assert_equal(one(x), other(x))
        one.load_state_dict(other.state_dict())


class Named(torch.nn.Module):
    """A module whose parts have the names of our methods and properties."""

    NAMES = ("hidden", "features", "sample", "junctions", "pi_layers", "network", "conventions")

    def __init__(self, width):
        super().__init__()
        self.input = torch.nn.Linear(3, width)
        for name in self.NAMES:
            setattr(self, name, torch.nn.Linear(width, width))
        self.readout = torch.nn.Linear(width, 2)

    def forward(self, x):
        x = self.input(x)
        for name in self.NAMES:
            x = getattr(self, name)(torch.relu(x))
        return self.readout(torch.relu(x))


def test_modules_may_have_the_names_of_methods():
    arch, x = mupi.trace(Named, torch.zeros(2, 3)), randn(4, 3)
    net = arch.pi(6, dtype=torch.float64, generator=seeded())
    by_hand = describe((3,), chain(*[Dense(n), ReLU()] * 8, Dense(2)))
    right = by_hand.pi(6, dtype=torch.float64, generator=seeded())
    assert_equal(net(x), right(x))
    names = {"input", *Named.NAMES, "readout", "_extra_state"}
    assert {name.split(".")[0] for name in net.state_dict()} == names
    assert len(net.hidden(x)) == 8 and net.sample(16).readout.rank == 6
    net.load_state_dict(copy.deepcopy(net).state_dict())
    assert_equal(copy.deepcopy(net)(x), net(x))
    finite = arch.finite(16, dtype=torch.float64)
    assert {name.split(".")[0] for name in finite.state_dict()} == names
    assert len(finite.hidden(x)) == 8 and finite(x).shape == (4, 2)
