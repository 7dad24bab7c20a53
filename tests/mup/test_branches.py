"""Residual branches in graphs that are written by hand: what carries a multiplier, and what is refused."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mupi
from mupi.architecture import (
    Add,
    Architecture,
    Attention,
    Dense,
    Dropout,
    Multiply,
    Node,
    Normalize,
    Scale,
    Table,
    Width,
    activate,
    chain,
    describe,
    named,
    residual,
)
from mupi.mup import DepthScaling
from mupi.mup.branches import branches
from mupi.mup.depth import depth_faults, depths
from mupi.mup.node_values import node_values
from mupi.mup.templates import templates

n = Width()
COMPLETE = DepthScaling.complete_p()


def network(parts, depth, around=residual):
    """Blocks around what ``parts(name)`` makes of a prefix of names."""
    blocks = [around(*parts(f"blocks.{i}.")) for i in range(depth)]
    return describe((5,), chain(named("first", Dense(n)), *blocks, named("last", Dense(3))))


def mlp(prefix, *end):
    return (
        named(f"{prefix}norm", Normalize(gain=True, shift=True)), named(f"{prefix}up", Dense(n)), mupi.GELU(),
        named(f"{prefix}down", Dense(n)), *end,
    )  # fmt: skip


def places(parts, around=residual, scaling=COMPLETE, deep=4, shallow=2):
    found = depths(network(parts, deep, around), network(parts, shallow, around), scaling)
    return {name.removeprefix("blocks.0."): d.place for name, d in found.items() if "blocks.0." in name}


INSIDE = {"norm.weight": "inside", "norm.bias": "inside", "up.weight": "inside", "up.bias": "inside"}
LAST = {"down.weight": "last", "down.bias": "last"}
MLP = INSIDE | LAST


def gated(prefix):
    gate = chain(named(f"{prefix}gate", Dense(n)), mupi.Tanh())
    return (lambda x: Multiply()(gate(x), chain(*mlp(prefix))(x)),)


def layer_scaled(prefix):
    return (lambda x: Multiply()(chain(*mlp(prefix))(x), Table((), n)(x, name=f"{prefix}gain")),)


def attention(prefix):
    def attend(x):
        x = named(f"{prefix}norm", Normalize(gain=True))(x)
        q, k, v = (named(f"{prefix}{part}", Dense(n))(x) for part in "qkv")
        return Attention(2, exponent=-1.0)(q, k, v)

    return (attend,)


def parallel(*parts):
    """Attention and MLP of one norm, added one after the other."""

    def block(x):
        (prefix,) = parts
        y = named(f"{prefix}norm", Normalize(gain=True))(x)
        a = named(f"{prefix}down", Dense(n))(activate(mupi.ReLU())(named(f"{prefix}up", Dense(n))(y)))
        return Add()(Add()(x, a), named(f"{prefix}other", Dense(n))(activate(mupi.Tanh())(y)))

    return block


def after(*parts):
    """A norm on the stream."""

    def block(x):
        (prefix,) = parts
        return named(f"{prefix}norm", Normalize(gain=True, shift=True))(
            residual(named(f"{prefix}up", Dense(n)), mupi.ReLU(), named(f"{prefix}down", Dense(n)))(x)
        )

    return block


CASES = {
    "a linear layer": (mlp, residual, MLP),
    "a rectifier, which is homogeneous": (lambda p: mlp(p, mupi.ReLU()), residual, MLP),
    "dropout and a number": (lambda p: mlp(p, Dropout(0.1), Scale(0.3)), residual, MLP),
    "a norm with a gain": (
        lambda p: mlp(p, named(f"{p}end", Normalize(gain=True, shift=True))), residual,
        INSIDE | {"down.weight": "inside", "down.bias": "inside", "end.weight": "last", "end.bias": "last"}),
    "a gate": (gated, residual, MLP | {"gate.weight": "inside", "gate.bias": "inside"}),
    "layer scale": (layer_scaled, residual, MLP | {"gain": "inside"}),
    "parallel branches with one norm": (
        lambda p: (p,), parallel,
        {"norm.weight": "inside", "up.weight": "inside", "up.bias": "inside", "other.weight": "last",
         "other.bias": "last"} | LAST),
    "a norm on the stream": (
        lambda p: (p,), after,
        {"norm.weight": "stream", "norm.bias": "stream", "up.weight": "inside", "up.bias": "inside"} | LAST),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_carries_the_multiplier(name):
    parts, around, expected = CASES[name]
    assert places(parts, around) == expected


def test_attention_without_a_last_matrix_has_its_values_carry():
    def tokens(depth):
        blocks = [residual(*attention(f"blocks.{i}.")) for i in range(depth)]
        return describe((6, 5), chain(named("first", Dense(n)), *blocks, named("last", Dense(3))))

    found = {name: d.place for name, d in depths(tokens(2), tokens(1), COMPLETE).items()}
    assert {name for name, place in found.items() if place == "last"} == {
        f"blocks.{i}.v.{kind}" for i in range(2) for kind in ("weight", "bias")
    }


def numbered(multiplier):
    """Branches times a number of the depth, and perhaps of the block."""

    def of_depth(depth):
        blocks = [residual(*mlp(f"blocks.{i}."), scale=multiplier(depth, i)) for i in range(depth)]
        return describe((5,), chain(named("first", Dense(n)), *blocks, named("last", Dense(3))))

    return of_depth(8), of_depth(2)


def test_a_multiplier_in_the_code_is_taken_for_what_it_is():
    deep, shallow = numbered(lambda depth, i: depth**-0.5)
    half = depths(deep, shallow, DepthScaling())
    assert {d.place for d in half.values()} == {"inside"} and half["blocks.7.down.weight"].gradient == 0.5
    with pytest.raises(ValueError, match=r"same number at every depth.*\(base_depth / depth\)\*\*1 = 0.25.*got 0.5 ti"):
        depths(deep, shallow, COMPLETE)
    with pytest.raises(ValueError, match="all multiplied by one number"):
        depths(*numbered(lambda depth, i: 1 / (i + 1)), COMPLETE)


def shared(prefix):
    x = prefix.removeprefix("blocks.")[0]
    return (named(f"{prefix}norm", Normalize(gain=True)), lambda value: value.then(Dense(n), name=f"{prefix}d{x}"))


def read_twice(prefix):
    """x + h + f(h): what h is multiplied by, f would see."""
    return (prefix,)


def around_twice(prefix):
    def block(x):
        h = chain(*mlp(prefix))(x)
        return Add()(Add()(x, h), named(f"{prefix}more", Dense(n))(activate(mupi.Tanh())(h)))

    return block


def interpolated(*parts):
    return lambda x: Add()(Scale(0.9)(x), chain(*parts)(x))


REFUSED = {
    "tanh": (lambda p: mlp(p, mupi.Tanh()), residual, r"ends in `Tanh\(\)`.*depth\)\*\*1, which is 1 at the base"),
    "a norm without a gain": (lambda p: mlp(p, Normalize()), residual, "a normalization without a gain"),
    "no parameters": (lambda p: (Normalize(),), residual, "more residual branches|normalization without a gain"),
    "read elsewhere": (read_twice, around_twice, "is read by .* too, which would be multiplied"),
    "a stream that shrinks": (mlp, interpolated, "a stream which nothing multiplies; got a stream .* by 0."),
    "no residual branches": (mlp, chain, "more residual branches"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    parts, around, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as error:
        places(parts, around)
    assert str(error.value).startswith("`parametrize(depth=...)` must be") and "\n" not in str(error.value)


def test_what_else_is_refused():
    deep, shallow = network(mlp, 4), network(mlp, 2)
    other = network(lambda p: (named(f"{p}norm", Normalize(gain=True, shift=True)), named(f"{p}up", Dense(n)),
                               mupi.ReLU(), named(f"{p}down", Dense(n))), 4)  # fmt: skip
    with pytest.raises(ValueError, match="compute the same at every depth"):
        depths(other, shallow, COMPLETE)
    with pytest.raises(ValueError, match="there at the base depth too"):
        depths(deep, network(gated, 2), COMPLETE)
    with pytest.raises(ValueError, match="more residual branches"):
        depths(shallow, shallow, COMPLETE)
    # A weight of its own in each block, on the stream.
    between = network(lambda p: (p,), 4, lambda p: chain(residual(*mlp(p)), named(f"{p}w", Dense(n))))
    less = network(lambda p: (p,), 2, lambda p: chain(residual(*mlp(p)), named(f"{p}w", Dense(n))))
    with pytest.raises(ValueError, match=r"`blocks.0.w.weight` in none, 4 times in place of 2"):
        depths(between, less, COMPLETE)


def test_one_block_many_times_is_refused():
    def looped(depth):
        def block(x):
            first = x.place == 1
            y = x.then(Normalize(), name=f"norm.{x.place}")
            y = y.then(Dense(n, bias=False), name="w" if first else f"w.{x.place}", weights="" if first else "w")
            return Add()(x, y)

        return describe((5,), chain(named("first", Dense(n)), *[block] * depth, named("last", Dense(3))))

    with pytest.raises(ValueError, match="`w.weight`|share|used elsewhere|there at the base depth too"):
        depths(looped(4), looped(2), COMPLETE)


def test_faults_at_the_base_depth():
    (fault, _) = depth_faults(network(lambda p: mlp(p, mupi.Tanh()), 2))
    assert fault.kind == "branch" and "ends in `Tanh()`" in fault.what and "(base_depth / depth)**0.5" in fault.remedy
    assert depth_faults(network(mlp, 2)) == ()


def test_a_number_of_branches_that_does_not_change_stays():
    def staged(depth):
        fixed = residual(*mlp("stem."))
        blocks = [residual(*mlp(f"blocks.{i}.")) for i in range(depth)]
        return describe((5,), chain(named("first", Dense(n)), fixed, *blocks, named("last", Dense(3))))

    found = depths(staged(6), staged(2), COMPLETE)
    assert {name.split(".")[0] for name in found} == {"blocks"}
    assert found["blocks.0.down.weight"].size == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("shallow", "deep", "expected"),
    [
        (["a.0.w", "a.1.w"], ["a.0.w", "a.1.w", "a.2.w"], {"a.*.w"}),
        (["a.0.m.0.w", "a.0.m.2.w"], ["a.0.m.0.w", "a.0.m.2.w", "a.1.m.0.w", "a.1.m.2.w"], {"a.*.m.0.w", "a.*.m.2.w"}),
        (["0.w", "1.w1", "2.w"], ["0.w", "1.w1", "2.w1", "3.w"], {"*.w", "*.w1"}),
        (["b1.w", "c1.w"], ["b1.w", "b2.w", "c1.w"], {"b*.w", "c1.w"}),
    ],
)
def test_numbers_of_copies_are_left_open(shallow, deep, expected):
    assert set(templates(shallow, deep).values()) == expected


@st.composite
def ends(draw, size=3):
    """What may stand at the end of a branch: parts of a chain, as functions of a prefix."""
    made = []
    for i in range(draw(st.integers(1, size))):
        kind = draw(st.sampled_from(["dense", "norm", "relu", "tanh", "scale", "gate", "sum"]))
        made.append((kind, i, draw(ends(size - 1)) if kind in ("gate", "sum") and size > 1 else []))
    return made


def parts_of(drawn, prefix):
    parts = []
    for kind, i, inner in drawn:
        name = f"{prefix}{kind}_{'abc'[i]}"
        match kind:
            case "dense":
                parts.append(named(name, Dense(n)))
            case "norm":
                parts.append(named(name, Normalize(gain=True, shift=True)))
            case "relu" | "tanh":
                parts.append(mupi.ReLU() if kind == "relu" else mupi.Tanh())
            case "scale":
                parts.append(Scale(0.7))
            case _:
                operation, one = Multiply() if kind == "gate" else Add(), chain(*parts_of(inner, f"{name}."))
                other = named(f"{name}_other", Dense(n))
                parts.append(lambda x, f=one, g=other, o=operation: o(f(x), g(x)))
    return parts


@settings(max_examples=25, deadline=None)
@given(ends())
def test_the_parameters_that_are_found_multiply_the_branch(drawn):
    """For any end of a branch: either it is refused, or these entries times m are the branch times m."""
    deep, shallow = (network(lambda p: parts_of(drawn, p), depth) for depth in (2, 1))
    try:
        found = depths(deep, shallow, DepthScaling(0.5))
    except ValueError as error:
        assert str(error).startswith("`parametrize(depth=...)` must be")
        return
    assert set(found) == {p.name for p in deep.parameters if p.name.startswith("blocks.")}
    generator = torch.Generator().manual_seed(0)
    state = {
        p.name: torch.randn([a.at(6) if isinstance(a, Width) else a for a in p.axes], generator=generator).double()
        for p in deep.parameters
    }
    x = torch.randn(4, 5, generator=generator).double()
    carried = {name: w * (found[name].size if name in found else 1) for name, w in state.items()}
    out = node_values(deep, carried, x, 6)[-1]
    torch.testing.assert_close(out, node_values(multiplied(deep, 2**-0.5), state, x, 6)[-1], rtol=1e-9, atol=1e-9)


def multiplied(net, m):
    """The same with a number before each residual sum's second term."""
    nodes, moved = [], {}
    sums = {branch.where.rpartition("(")[2].rstrip(")") for branch in branches(net)}
    for place, node in enumerate(net.nodes):
        inputs = tuple(moved[i] for i in node.inputs)
        if isinstance(node.operation, Add) and net.nodes[node.inputs[1]].name in sums:
            nodes.append(Node(f"m.{place}", Scale(m), (inputs[1],)))
            inputs = inputs[0], len(nodes) - 1
        moved[place] = len(nodes)
        nodes.append(replace(node, inputs=inputs))
    return Architecture(tuple(nodes), net.parameters)


def test_exponents():
    for wrong in (0.25, 1.5):
        with pytest.raises(ValueError, match="between 1/2 and 1"):
            DepthScaling(wrong)
    assert DepthScaling(0.5) == DepthScaling.depth_mup() == DepthScaling()


def test_the_first_block_of_a_stage_whose_shortcut_is_a_weight_stays():
    """conv(x) + f(x) is no residual branch, however its parameters are called; those behind it are."""

    def staged(depth):
        def first(x):
            f = chain(named("stage.0.up", Dense(n)), mupi.ReLU(), named("stage.0.down", Dense(n)))
            return Add()(named("stage.0.short", Dense(n))(x), f(x))

        rest = [residual(named(f"stage.{i}.up", Dense(n)), mupi.ReLU(), named(f"stage.{i}.down", Dense(n)))
                for i in range(1, depth + 1)]  # fmt: skip
        return describe((5,), chain(named("first", Dense(n)), first, *rest, named("last", Dense(3))))

    found = depths(staged(4), staged(2), COMPLETE)
    assert {name.split(".")[1] for name in found} == {"1", "2", "3", "4"}
    assert found["stage.4.down.weight"].size == 0.5
