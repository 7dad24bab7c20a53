"""Descriptions: shapes, roles, what does not fit, and that they are data."""

import copy
import pickle
from fractions import Fraction

import pytest

from mupi.activations import GELU, ReLU
from mupi.architecture import (
    Add,
    Attention,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    Input,
    Join,
    Multiply,
    Node,
    Normalize,
    Operation,
    Reshape,
    Rules,
    Scale,
    Select,
    Shape,
    Table,
    Width,
    activate,
    chain,
    describe,
    named,
    residual,
)
from mupi.architecture.architecture import Architecture
from mupi.architecture.zoo import cnn, gpt, perceptron, resnet, vit

n = Width()

ZOO = [
    perceptron(7, 3, depth=2),
    cnn((3, 8, 8), 10, depth=2, pools=(2,)),
    cnn((3, 8, 8), 10, depth=2, average=False),
    resnet((3, 8, 8), 10, blocks=(1, 2)),
    gpt(11, 6, depth=1),
    vit((3, 8, 8), 2, 10, depth=1, gated=True),
]


@pytest.mark.parametrize("net", ZOO, ids=["perceptron", "cnn", "flat cnn", "resnet", "gpt", "vit"])
def test_a_description_is_data(net):
    assert net == copy.deepcopy(net) == pickle.loads(pickle.dumps(net))
    assert hash(net) == hash(copy.deepcopy(net))
    lines = str(net).splitlines()
    assert all(any(node.name in line for line in lines[2:]) for node in net)
    assert len([line for line in lines[2:] if not line.startswith("  ")]) == len(net)


def test_shapes_and_roles_follow_from_the_operations():
    net = vit((3, 8, 8), 2, 10, depth=1)
    roles = {node.name: net.role(i) for i, node in enumerate(net) if net.role(i)}
    assert roles == {
        "patches": "input",
        "positions": "input",
        **{f"blocks.0.{part}": "hidden" for part in ("query", "key", "value", "out", "up", "down")},
        "out": "readout",
    }
    shapes = {node.name: str(shape) for node, shape in zip(net, net.shapes, strict=True)}
    assert shapes["patches"] == "(4, 4, n)" and shapes["blocks.0.up"] == "(16, 4n)" and shapes["out"] == "(10,)"
    assert gpt(11, 6).output == Shape((6,), 11)
    assert str(cnn((3, 8, 8), 10, depth=1, average=False).shapes[-2]) == "(64n,)"


def test_a_width_is_a_multiple_of_n():
    assert [str(n * k) for k in (1, 3, Fraction(1, 2), Fraction(3, 2))] == ["n", "3n", "n/2", "3n/2"]
    assert (n / 4).at(64) == 16
    with pytest.raises(ValueError, match="`width` must be a multiple of 4"):
        (n / 4).at(6)


@pytest.mark.parametrize(
    ("axes", "network"),
    [
        ((3,), chain(Dense(n), lambda x: Add()(x, Dense(2 * n)(x)))),
        ((3, 5), chain(Dense(n), Conv(n, (3, 3)))),
        ((3, 5), chain(Dense(n), Conv(n, (7,)))),
        ((3, 5), chain(Dense(n), Reshape((2,)))),
        ((4, 5), chain(Dense(n), lambda x: Multiply()(x, AveragePool((2,))(x)))),
        ((3, 5), chain(Dense(n), Select(3))),
        ((3, 5), chain(Dense(n), lambda x: Join()(x, Table((2,), 2 * n)(x)))),
        ((3,), chain(Dense(n), AveragePool())),
        ((3,), chain(Dense(n), Flatten())),
        ((3,), chain(Normalize())),
        ((3,), chain(Dense(n), lambda x: Attention()(x, x, x))),
    ],
)
def test_what_does_not_fit_is_refused_by_name(axes, network):
    with pytest.raises(ValueError, match=r"^\w+_\d+: `\w+\(value\)` must be "):
        describe(axes, network)


def test_a_class_token_goes_before_the_patches():
    net = describe((6, 4), chain(Dense(n), lambda x: Join()(Table((1,), n)(x), x), Select(0), Dense(2)))
    assert [str(shape) for shape in net.shapes] == ["(6, 4)", "(6, n)", "(1, n)", "(7, n)", "(n,)", "(2,)"]


def test_what_the_output_does_not_need_is_left_out():
    def network(x):
        Dense(n)(x)
        return Dense(2)(x)

    assert len(describe((3,), network)) == 2


def test_combinators_write_what_is_meant():
    net = describe((3,), chain(Dense(n), residual(Normalize(), ReLU(), Dense(n), scale=0.5), Dense(1)))
    assert [type(node.operation).__name__ for node in net] == [
        "Input", "Dense", "Normalize", "Activate", "Dense", "Scale", "Add", "Dense",
    ]  # fmt: skip
    assert net.nodes[6].inputs == (1, 5) and net.nodes[5].operation == Scale(0.5)
    assert activate(GELU()).activation == GELU()


def test_nodes_have_names_of_their_own_and_read_what_comes_before():
    first = Node("x", Input((3,)))
    with pytest.raises(ValueError, match="names of their own"):
        Architecture((first, Node("x", Dense(n), (0,))))
    with pytest.raises(ValueError, match="reads earlier ones"):
        Architecture((first, Node("y", Dense(n), (1,))))
    with pytest.raises(ValueError, match="begins with the Input"):
        Architecture((Node("y", Table((), n)),))


def test_an_operation_without_a_rule_is_refused_by_name_and_one_from_outside_registers_its_own():
    rules = Rules("a size", "sizes.register")

    class Doubled(Operation):
        def shape(self, *inputs):
            return inputs[0]

        def __str__(self):
            return "Doubled()"

    node = Node("twice", Doubled(), (0,), source="model.py:17")
    with pytest.raises(ValueError, match=r"`Doubled\(\)` \(twice, model.py:17\).*no rule; register one with sizes"):
        rules(node)
    rules.register(Doubled)(lambda operation, value: 2 * value)
    assert rules(node, 21) == 42


def test_a_table_is_narrow_however_long_the_names_are():
    q, k, v = (f"{'transformer.' * 3}h.0.{part}" for part in ("query", "key", "value"))
    net = describe(
        (3, 2), chain(Dense(n), lambda x: Attention()(*(named(name, Dense(n))(x) for name in (q, k, v))), Dense(1))
    )
    lines = str(net).splitlines()
    assert max(map(len, lines)) <= 130
    assert all(any(f"{name}" in line and "Dense" not in line for line in lines) for name in (q, k, v))
