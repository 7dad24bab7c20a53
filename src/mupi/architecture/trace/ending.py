"""The end of a translation: the output, names, and what became of each parameter."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from math import lcm, prod
from typing import Any

import numpy as np

from mupi.architecture.architecture import Architecture
from mupi.architecture.description import Description, Node
from mupi.architecture.parameters import Cut, Parameter, Use
from mupi.architecture.shape import Size, Width
from mupi.architecture.trace import values
from mupi.architecture.trace.layout import BATCH, Axes, Unreadable
from mupi.architecture.trace.step import Step
from mupi.architecture.trace.values import Traced
from mupi.architecture.weights import Table, WeightOperation
from mupi.checks import fail

Uses = dict[str, tuple[values.Parameter, Axes]]


def ended(step: Step, outputs: Any) -> Architecture:
    """The architecture whose output this is.

    Raises:
        ValueError: If it is not one tensor of the batch, or a parameter is never used.
    """
    outputs = outputs if isinstance(outputs, list) else [outputs]
    if len(outputs) != 1 or not isinstance(outputs[0], Traced):
        came = f"{len(outputs)} results" if len(outputs) != 1 else "one that does not depend on the input"
        fail("trace(make_model, x)", "a module that returns one tensor", came, "wrap it in a module that does")
    try:
        out = outputs[0]
        if not out.axes or any(a.axis != BATCH for a in out.axes[0]) or len(out.axes) < 2:
            raise Unreadable("no axis of the batch or none of channels", "return (batch, …, channels)")
        place = step.canonical(step.plain(out)).place
    except Unreadable as reason:
        fail("trace(make_model, x)", "a module whose output can be read", f"one with {reason.reason}", reason.hint)
    state = step.translation
    kept = alive(state.draft.nodes, place.place)
    new = {old: i for i, old in enumerate(kept)}
    uses = {new[old]: state.uses[old] for old in kept if old in state.uses}
    nodes = [
        replace(state.draft.nodes[old], inputs=tuple(new[i] for i in state.draft.nodes[old].inputs)) for old in kept
    ]
    named = tied(with_names(nodes, uses), uses)
    description = Description(tuple(named))
    found = parameters(step, description, uses)
    unused = sorted(set(state.capture.shapes) - {p.name for p in found})
    if unused:
        shown = ", ".join(unused[:3]) + (f" and {len(unused) - 3} more" if len(unused) > 3 else "")
        fail("trace(make_model, x)", "a module whose output depends on all of its parameters", f"{shown} unused",
             "leave them out of the module")  # fmt: skip
    return Architecture(tuple(named), found)


def alive(nodes: list[Node], output: int) -> list[int]:
    """The nodes that the output depends on, and the input."""
    wanted = {0, output}
    for place in range(output, 0, -1):
        if place in wanted:
            wanted |= set(nodes[place].inputs)
    return sorted(wanted)


def with_names(nodes: list[Node], uses: dict[int, Uses]) -> list[Node]:
    """Weights by the names of their modules, other operations numbered."""
    parts: dict[str, list[tuple[tuple[int, ...], int]]] = {}
    for place, used in uses.items():
        parameter = next(iter(used.values()))[0]
        parts.setdefault(module_name(parameter.name), []).append((start_of(parameter), place))
    names = {0: "x"}
    for base, places in parts.items():
        starts = sorted({start for start, _ in places})
        again: Counter[tuple[int, ...]] = Counter()
        for start, place in places:
            again[start] += 1
            part = f"{base}[{starts.index(start)}]" if len(starts) > 1 else base
            names[place] = part if again[start] == 1 else f"{part} ({again[start]})"
    kinds: Counter[str] = Counter()
    for place, node in enumerate(nodes):
        if place not in names:
            kind = type(node.operation).__name__.lower()
            kinds[kind] += 1
            names[place] = f"{kind}_{kinds[kind]}"
    taken = Counter(names.values())
    assert max(taken.values()) == 1, taken
    return [replace(node, name=names[place]) for place, node in enumerate(nodes)]


def module_name(parameter: str) -> str:
    """The module that a parameter belongs to; the parameter itself, if it is no module's weight."""
    path, _, last = parameter.rpartition(".")
    if last in ("weight", "bias") and path:
        return path
    return parameter.removesuffix("_weight")


def start_of(parameter: values.Parameter) -> tuple[int, ...]:
    """Where the part of a parameter begins."""
    return tuple(cut.start[0] for cut in parameter.cuts)


def tied(nodes: list[Node], uses: dict[int, Uses]) -> list[Node]:
    """Nodes with the weights of others, named by those that have them first."""
    owners: dict[tuple[str, tuple], tuple[str, Axes]] = {}
    result = list(nodes)
    for place in sorted(uses):
        name, found = nodes[place].name, set()
        for parameter, axes in uses[place].values():
            owner, form = owners.setdefault((parameter.name, parameter.cuts), (name, axes))
            found.add(owner)
            if form != axes or len(found) > 1:
                fail("trace(make_model, x)", "a module whose tied layers have all parameters in common",
                     f"{parameter.name} in {' and '.join(sorted({owner, *found, name}))}",
                     "untie them, leave out their biases, or transpose neither")  # fmt: skip
        if name not in found:
            result[place] = replace(nodes[place], weights=found.pop())
    return result


def parameters(step: Step, net: Description, uses: dict[int, Uses]) -> tuple[Parameter, ...]:
    """What each parameter of the module is to the nodes."""
    shapes, found = step.translation.capture.shapes, {}
    for place, used in sorted(uses.items()):
        for kind, (parameter, axes) in used.items():
            entry = found.setdefault(parameter.name, (role_of(net, place, kind), []))
            entry[1].append(use(step, net.nodes[place].name, kind, parameter, axes))
    sizes = {name: tuple(step.size(pair) for pair in shape) for name, shape in shapes.items() if name in found}
    for name, (_, entries) in found.items():
        disjoint(name, sizes[name], entries)
    return tuple(Parameter(name, sizes[name], *fields(found[name])) for name in shapes if name in found)


def fields(entry: tuple[str, list[Use]]) -> tuple[str, tuple[Use, ...]]:
    """Role and uses."""
    return entry[0], tuple(entry[1])


def role_of(net: Description, place: int, kind: str) -> str:
    """What μP calls it."""
    operation, channels = net.nodes[place].operation, net.shapes[place].channels
    if kind != "weight" or (isinstance(operation, Table) and not operation.positions):
        return "vector" if isinstance(channels, Width) else "finite"
    assert isinstance(operation, WeightOperation)
    return net.role(place)


def use(step: Step, node: str, kind: str, parameter: values.Parameter, axes: Axes) -> Use:
    """How a node's parameter is made of the module's."""
    atoms = [atom for axis in axes for atom in axis if atom.axis != BATCH]
    ordered = sorted(atoms, key=lambda atom: (atom.axis, [-i for i in atom.inner]))
    cuts = tuple(
        Cut(c.axis, step.size(c.size), step.size(c.faster), offset(step, c.start), step.size(c.stop))
        for c in parameter.cuts
    )
    order = tuple(ordered.index(atom) for atom in atoms)
    return Use(node, kind, cuts, tuple(step.size(atom.size) for atom in ordered), order)


def offset(step: Step, pair: tuple[int, int]) -> Size:
    """A first index: 0, a number, or a multiple of the width."""
    return 0 if pair == (0, 0) else step.size(pair)


def disjoint(name: str, axes: tuple[Size, ...], uses: Iterable[Use]) -> None:
    """Refuse parts of a parameter that overlap: they would be weights of their own in a description."""
    parts = {use.cuts for use in uses}
    sizes = [*axes, *(size for cuts in parts for c in cuts for size in (c.size, c.faster, c.start, c.stop))]
    width = lcm(*(size.times.denominator for size in sizes if isinstance(size, Width)))
    if len(parts) == 1:
        return
    count = prod(at(size, width) for size in axes)
    read = np.zeros(count, dtype=np.int8)
    for cuts in parts:
        part = np.arange(count).reshape([at(size, width) for size in axes])
        for c in cuts:
            before, after = part.shape[: c.axis], part.shape[c.axis + 1 :]
            apart = part.reshape(*before, -1, at(c.size, width), at(c.faster, width), *after)
            kept = np.arange(at(c.start, width), at(c.stop, width))
            part = apart.take(kept, c.axis + 1).reshape(*before, -1, *after)
        read[part] += 1
    if read.max(initial=0) > 1:
        fail("trace(make_model, x)", "a module whose parameters are used in parts that do not overlap", name,
             "use a parameter as a whole, or in parts that follow one another")  # fmt: skip


def at(size: Size, width: int) -> int:
    """A size where n is the width."""
    return int(size.times * width) if isinstance(size, Width) else size
