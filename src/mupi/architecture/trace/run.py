"""`trace`: a PyTorch module becomes an `Architecture`."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from mupi.architecture.architecture import Architecture
from mupi.architecture.trace import attention_rules, average_rules, moments, shape_rules, weight_rules
from mupi.architecture.trace.capture import Capture, capture
from mupi.architecture.trace.changes import changed, used
from mupi.architecture.trace.coordinate_rules import pointwise
from mupi.architecture.trace.ending import ended
from mupi.architecture.trace.extents import Experiment
from mupi.architecture.trace.formula import COORDINATEWISE
from mupi.architecture.trace.layout import Unreadable, whole
from mupi.architecture.trace.registry import rule_of
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.translation import Translation
from mupi.architecture.trace.twins import random_states_kept
from mupi.architecture.trace.values import Anything, Constant, Parameter, Traced, Varying
from mupi.checks import fail, positive_int
from mupi.torch_internals import OPERATOR, schema

WIDTHS = (6720, 13440)
"""2⁶·3·5·7 and twice that: heads and groups of most numbers divide them, and no memory is taken for weights."""

BATCHES = (11, 13)
"""Whose ratio is none that a width has."""

aten = torch.ops.aten

assert all((attention_rules, average_rules, moments, shape_rules, weight_rules))  # which register their rules


def trace(
    make_model: Callable[[int], nn.Module], x: Tensor | np.ndarray, *, widths: Sequence[int] = WIDTHS
) -> Architecture:
    """Read the architecture of a PyTorch module, without training it, changing it, or memory for its weights.

    The module is built at two widths and exported (`torch.export`): an axis whose size is in the ratio of the widths is
    a multiple of n; one of the same size is finite; anything else is refused. Its parameters get their roles from that.

    >>> class Net(nn.Module):
    ...     def __init__(self, width):
    ...         super().__init__()
    ...         self.layers = nn.Sequential(nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))
    ...     def forward(self, x):
    ...         return self.layers(x.flatten(1))
    >>> arch = mupi.trace(Net, torch.zeros(1, 1, 28, 28))

    The module is read as it is in evaluation; of `nn.Dropout` the description keeps the probability.

    Args:
        make_model: Builds the module of a width; called twice.
        x: A batch of what the module takes, its first axis the batch; only its shape and dtype matter.
        widths: The two widths, if the module cannot be built at the default ones, which are 6720 and 13440.

    Raises:
        ValueError: If something in the module cannot be read; the message names the module, its file and line.
    """
    if not callable(make_model) or isinstance(make_model, nn.Module):
        came = f"the module {type(make_model).__name__}" if isinstance(make_model, nn.Module) else repr(make_model)
        fail("trace(make_model, ...)", "a function of the width that builds a module", came, "pass lambda n: Net(n)")
    example = torch.as_tensor(x) if isinstance(x, np.ndarray) else x
    if not isinstance(example, Tensor) or example.ndim < 2 or example.dtype == torch.bool or example.is_complex():
        came = f"shape {tuple(example.shape)} and {example.dtype}" if isinstance(example, Tensor) else repr(x)[:80]
        fail("trace(x=...)", "a tensor or array of numbers or tokens, its first axis the batch", came)
    if any(size == 0 for size in example.shape[1:]):
        fail("trace(x=...)", "with at least one entry on each axis", f"shape {tuple(example.shape)}")
    if len(widths) != 2 or widths[0] == widths[1]:
        fail("trace(widths=...)", "two different widths", str(widths))
    sizes = tuple(positive_int("trace(widths=...)", w) for w in widths)
    experiment = Experiment((sizes[0], sizes[1]), BATCHES)
    if sizes[0] * BATCHES[1] == sizes[1] * BATCHES[0]:
        fail("trace(widths=...)", f"in another ratio than {BATCHES[0]} to {BATCHES[1]}", widths, "take a and 2·a")
    with random_states_kept():
        graphs = capture(make_model, example, experiment)
    return translated(graphs, example)


def translated(graphs: Capture, x: Tensor) -> Architecture:
    """The description of a captured module."""
    state = Translation(graphs)
    values: dict[fx.Node, Any] = {}
    start = state.input(tuple(x.shape[1:]), not x.is_floating_point())
    needed = used(first for first, _ in graphs.nodes)
    for first, second in graphs.nodes:
        if first not in needed:
            continue
        if first.op == "placeholder":
            values[first] = placeholder(graphs, first, second, start)
        elif first.op == "call_function":
            step = Step(state, first, second)
            try:
                values[first] = result(step, values, needed)
            except Unreadable as reason:
                step.refuse(reason.reason, reason.hint)
        elif first.op == "output":
            return ended(Step(state, first, second), argument(values, first.args[0], second.args[0]))
        else:
            fail("trace(make_model, x)", "a module without control flow that depends on numbers", f"a {first.op}")
    raise AssertionError("a graph without an output")


def placeholder(graphs: Capture, first: fx.Node, second: fx.Node, start: Traced) -> Any:
    """The input, a parameter, or numbers."""
    if first.name in graphs.parameters:
        name = graphs.parameters[first.name]
        sizes = graphs.shapes[name]
        return Parameter(name, sizes, tuple(whole(i + 1, size) for i, size in enumerate(sizes)))
    if first.name in graphs.numbers:
        return constant(graphs.numbers[first.name], first, second)
    return start


def constant(numbers: tuple[Tensor | None, Tensor | None], first: fx.Node, second: fx.Node) -> Constant:
    """Numbers at both widths."""
    shapes = first.meta["val"].shape, second.meta["val"].shape
    return Constant(*numbers, tuple((int(a), int(b)) for a, b in zip(*shapes, strict=True)))


def argument(values: dict[fx.Node, Any], one: Any, other: Any) -> Any:
    """An argument of an operation at both widths."""
    if isinstance(one, fx.Node):
        return values[one]
    if isinstance(one, list | tuple):
        return [argument(values, a, b) for a, b in zip(one, other, strict=True)]
    if one == other or not isinstance(one, int | float):
        return one
    return Varying(one, other)


def arguments(values: dict[fx.Node, Any], first: fx.Node, second: fx.Node) -> tuple[list[Any], dict[str, Any]]:
    """Those by position, and those that are named only."""
    if not isinstance(first.target, OPERATOR):
        return [argument(values, a, b) for a, b in zip(first.args, second.args, strict=True)], {}
    given, options = [], {}
    for i, known in enumerate(schema(first.target).arguments):
        if known.kwarg_only:
            if known.name in first.kwargs:
                options[known.name] = argument(values, first.kwargs[known.name], second.kwargs[known.name])
        elif i < len(first.args):
            given.append(argument(values, first.args[i], second.args[i]))
        elif known.name in first.kwargs:
            given.append(argument(values, first.kwargs[known.name], second.kwargs[known.name]))
        elif any(a.name in first.kwargs for a in schema(first.target).arguments[i:] if not a.kwarg_only):
            given.append(known.default_value)
    return given, options


def result(step: Step, values: dict[fx.Node, Any], needed: set[fx.Node]) -> Any:
    """What an operation makes."""
    first, second = step.first, step.second
    given, options = arguments(values, first, second)
    step = Step(step.translation, first, second, options)
    if first.target is operator.getitem:
        part = given[0][given[1]]
        return part() if callable(part) else part
    if not isinstance(first.target, OPERATOR):
        raise Unreadable(f"{first.target}")
    flat = [x for a in (*given, *options.values()) for x in (a if isinstance(a, list) else [a])]
    if not any(isinstance(x, Anything) and not isinstance(x, Constant) for x in flat):
        return folded(step, given, options)
    if step.called in SHAPE_ONLY:
        return filled(step, given, options)
    rule = rule_of(first.target)
    if rule is not None:
        made = rule(step, *given)
    elif step.called in COORDINATEWISE:
        made = pointwise(step, *given)
    else:
        raise Unreadable(
            f"`{first.target}`, for which there is no rule",
            "register one with mupi.architecture.trace.translates",
        )
    for node in changed(first, needed):
        values[node] = made
    return made


SHAPE_ONLY = {
    "zeros_like": 0.0, "ones_like": 1.0, "full_like": None, "new_zeros": 0.0, "new_ones": 1.0, "new_full": None,
}  # fmt: skip
"""Operations whose numbers do not depend on the tensor that they are given, and what they fill with."""


def filled(step: Step, given: list[Any], options: dict[str, Any]) -> Constant:
    """A tensor that is full of one number."""
    number = SHAPE_ONLY[step.called]
    values = step.both(given[-1]) if number is None else (number, number)
    made = [
        torch.tensor(value, dtype=node.meta["val"].dtype).expand(tuple(map(int, node.meta["val"].shape)))
        for value, node in zip(values, (step.first, step.second), strict=True)
    ]
    return constant((made[0], made[1]), step.first, step.second)


def folded(step: Step, given: list[Any], options: dict[str, Any]) -> Any:
    """What does not depend on input or parameters is computed; large tensors are not, nor random ones."""
    target: Any = step.first.target
    made: list[Any] = []
    for side, node in enumerate((step.first, step.second)):
        shapes = node.meta["val"] if isinstance(node.meta["val"], list | tuple) else [node.meta["val"]]
        large = any(isinstance(t, Tensor) and t.numel() > 2**24 for t in shapes)
        try:
            args = [numbers(a, side) for a in given]
            named = {name: numbers(a, side) for name, a in options.items()}
        except LookupError:
            large, args, named = True, [], {}
        unknown = large or torch.Tag.nondeterministic_seeded in target.tags
        made.append(None if unknown else target(*args, **named))
    if isinstance(step.first.meta["val"], list | tuple):
        if None in made:
            raise Unreadable("parts of a tensor that is random or too large")
        return [
            Constant(a, b, tuple(zip(a.shape, b.shape, strict=True))) for a, b in zip(made[0], made[1], strict=True)
        ]
    return constant((made[0], made[1]), step.first, step.second) if step.first.meta["val"] is not None else None


def numbers(x: Any, side: int) -> Any:
    """An argument at one width."""
    if isinstance(x, Varying):
        return (x.first, x.second)[side]
    if isinstance(x, list):
        return [numbers(a, side) for a in x]
    if isinstance(x, Constant):
        found = (x.first, x.second)[side]
        if found is None:
            raise LookupError
        # An operation in place may change it; another may still read it.
        return found.clone() if found.numel() < 2**24 and 0 not in found.stride() else found
    return x
