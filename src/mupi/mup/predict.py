"""`predict`: how every value, gradient and update of a network scales with width, from its description."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import chain

from mupi.architecture import (
    Add,
    AveragePool,
    Description,
    Dropout,
    Join,
    Normalize,
    Permute,
    Reshape,
    Scale,
    Select,
    WeightOperation,
)
from mupi.checks import fail, positive_int
from mupi.mup import size_rules
from mupi.mup.prediction import Effect, Law, Prediction
from mupi.mup.sizes import NONE, NOTHING, ONE, ZERO, Entry, Exponent, Parts, Size, Step, Surroundings, by, larger, sizes
from mupi.optim.families import Family
from mupi.parametrization.exponents import Rational, rational

assert size_rules  # which registers the rules


def predict(
    arch: Description,
    stds: Mapping[str, Rational | float],
    rates: Mapping[str, Rational | float],
    family: Family | Mapping[str, Family],
    steps: int = 3,
) -> Prediction:
    """How every value, gradient and update scales with width n, to first order in the learning rate.

    Forward and backward through the description, in exponents (`mupi.mup.sizes`): at the start, and again after each
    step with what the updates have become, so that what a readout that starts at zero moves is seen from the second
    step on. The loss has a bounded derivative. Of an unstable network the exponents are those of its first step, after
    which there is no limit to speak of. The central limit and the laws of large numbers that are used are those of
    Tensor Programs IV (Yang & Hu 2021) and IVb (Yang & Littwin 2023, for Adam), where they are theorems.

    Args:
        arch: The network.
        stds: For each parameter, by its name, the exponent e of its initial entries ~ n^e; ``-math.inf`` for zero.
        rates: For each parameter the exponent of its learning rate; ``-math.inf`` for a frozen one.
        family: Of the optimizer: one for all, or one for each parameter's name.
        steps: Steps of training.

    Raises:
        ValueError: If a parameter has no exponent, or an operation no rule.
    """
    positive_int("predict(steps=...)", steps)
    roles = {p.name: p.role for p in arch.parameters}
    names = list(roles)
    for argument, given in (("stds", stds), ("rates", rates)):
        missing = [name for name in names if name not in given]
        if missing:
            fail(f"predict({argument}=...)", "an exponent for every parameter", f"none for {', '.join(missing)}")
    entries = {name: Entry(name, _exponent("stds", stds[name])) for name in names}
    used = {(use.node, use.kind): p.name for p in arch.parameters for use in p.uses}
    history: list[tuple[list[Step], dict[str, Exponent], dict[str, Exponent]]] = []
    towards: list[Parts] = [{}] * len(arch)
    now = _forward(arch, entries, used, towards)
    for step in range(steps):
        slopes, gradients = _backward(arch, now, used)
        towards = [larger(t, by(g.parts, -g.now)) if g.now != ZERO else t for t, g in zip(towards, slopes, strict=True)]
        updates = {
            name: _exponent("rates", rates[name])
            + (
                NONE
                if rates[name] == ZERO
                else _update(family, name, roles[name], gradients.get(name, ZERO), entries[name].now)
            )
            for name in names
        }
        entries = {name: replace(e, change=max(e.change, updates[name])) for name, e in entries.items()}
        now = _forward(arch, entries, used, towards)
        shown = _first_order(arch, entries, used, towards, now) if step == 0 else now
        history.append((shown, gradients, {name: e.change for name, e in entries.items()}))
        if _grows(arch, shown):
            break
    history += [history[-1]] * (steps - len(history))
    last = history[-1][0]
    frozen = frozenset(name for name in names if rates[name] == ZERO)
    laws = tuple(chain(_value_laws(arch, [h[0] for h in history]), _parameter_laws(names, history)))
    grown = frozenset(arch.nodes[place].name for place in _grows(arch, last))
    blind = frozenset(
        name
        for name in names
        if name not in frozen
        and _update(family, name, roles[name], NONE, NONE) == _update(family, name, roles[name], ONE, NONE)
    )
    return Prediction(arch, steps, laws, _effects(arch, last, used), frozen, grown, blind)


SMALL = Fraction(1000)
"""Changes of n^(e − 1000) are so small that products of two do not count: what is linear in them is first order."""


def _first_order(
    arch: Description,
    entries: Mapping[str, Entry],
    used: Mapping[tuple[str, str], str],
    towards: list[Parts],
    now: list[Step],
) -> list[Step]:
    """What each node makes of changes, to first order in the learning rate."""

    def back(e: Exponent, full: Exponent) -> Exponent:
        # No more than all orders together: a softmax and a normalization bound what comes out of them.
        return min(e + SMALL, full) if e > -3 * SMALL / 2 else ZERO

    small = {name: replace(e, change=e.change - SMALL) for name, e in entries.items()}
    return [
        replace(
            s,
            value=replace(s.value, change=back(s.value.change, full.value.change)),
            own=back(s.own, full.own),
            passed=back(s.passed, full.passed),
            logits=s.logits and replace(s.logits, change=back(s.logits.change, (full.logits or NOTHING).change)),
        )
        for s, full in zip(_forward(arch, small, used, towards), now, strict=True)
    ]


def _grows(arch: Description, steps: list[Step]) -> list[int]:
    """The nodes whose values grow, or whose logits do."""
    allowed = _allowed(arch, steps)
    return [
        place
        for place, step in enumerate(steps)
        if max(step.value.start, step.value.change) > allowed[place]
        or (step.logits is not None and step.logits.now > 0)
    ]


def _exponent(argument: str, value: Rational | float) -> Exponent:
    return ZERO if value == ZERO else rational(f"predict({argument}=...)", value)


def _update(family: Family | Mapping[str, Family], name: str, role: str, gradient: Exponent, std: Exponent) -> Exponent:
    """Of one step at rate 1; nothing moves without a gradient."""
    own = family.get(name) if isinstance(family, Mapping) else family
    if own is None:
        fail("predict(family=...)", "one for every parameter", f"none for {name}")
    if not isinstance(gradient, Fraction):
        return ZERO
    return own.update(gradient, role, std if isinstance(std, Fraction) else NONE)


def _forward(
    arch: Description, entries: Mapping[str, Entry], used: Mapping[tuple[str, str], str], towards: list[Parts]
) -> list[Step]:
    """What each node makes of sizes."""
    steps = [Step(Size(NONE), lambda gradient: ())]
    for place, node in list(enumerate(arch))[1:]:
        names = {kind: _parameter(used, node.name, node.owner, kind) for kind in ("weight", "bias", "gain", "shift")}
        own = {kind: replace(entries[name], source=f"{node.owner} {kind}") for kind, name in names.items() if name}
        around = Surroundings(own, towards[place], tuple(arch.shapes[i] for i in node.inputs), arch.shapes[place])
        steps.append(sizes(node, around, *(steps[i].value for i in node.inputs)))
    return steps


def _parameter(used: Mapping[tuple[str, str], str], name: str, owner: str, kind: str) -> str:
    """The parameter that is something to a node, or to the node whose weights it has; empty if there is none."""
    return used.get((name, kind)) or used.get((owner, kind), "")


def _backward(
    arch: Description, steps: list[Step], used: Mapping[tuple[str, str], str]
) -> tuple[list[Size], dict[str, Exponent]]:
    """The gradient of each value, and the exponent of each parameter's."""
    slopes = [NOTHING] * (len(arch) - 1) + [Size(NONE)]
    found: dict[str, Exponent] = {}
    for place in range(len(arch) - 1, 0, -1):
        node, gradient = arch.nodes[place], slopes[place]
        for i, slope in zip(node.inputs, steps[place].back(gradient), strict=True):
            slopes[i] = slopes[i].plus(slope)
        for kind, size in steps[place].gradients(gradient).items():
            name = _parameter(used, node.name, node.owner, kind)
            if name:
                found[name] = max(found.get(name, ZERO), size)
    return slopes, found


def _value_laws(arch: Description, history: list[list[Step]]) -> list[Law]:
    laws = []
    for place, node in list(enumerate(arch))[1:]:
        symbol = "f" if place == len(arch) - 1 else "h"
        steps = [steps[place] for steps in history]
        laws.append(Law(node.name, f"|{symbol}|", (steps[0].value.start,)))
        laws.append(Law(node.name, f"|Δ{symbol}|", tuple(step.value.change for step in steps)))
        logits = [step.logits for step in steps if step.logits is not None]
        if logits:
            laws.append(Law(node.name, "|q·k|", (logits[0].start,)))
            laws.append(Law(node.name, "|Δq·k|", tuple(size.change for size in logits)))
    return laws


def _parameter_laws(
    names: list[str], history: list[tuple[list[Step], dict[str, Exponent], dict[str, Exponent]]]
) -> list[Law]:
    laws = []
    for name in names:
        laws.append(Law(name, "|∇w|", tuple(gradients.get(name, ZERO) for _, gradients, _ in history)))
        laws.append(Law(name, "|Δw|", tuple(changes[name] for _, _, changes in history)))
    return laws


def _effects(arch: Description, steps: list[Step], used: Mapping[tuple[str, str], str]) -> tuple[Effect, ...]:
    """Of every weight, in every node that has it."""
    effects, wanted = [], _wanted(arch, steps)
    for place, node in enumerate(arch):
        if isinstance(node.operation, WeightOperation):
            step = steps[place]
            name = _parameter(used, node.name, node.owner, "weight")
            effects.append(Effect(name, node.name, step.value.start, step.own, step.passed, wanted[place]))
    return tuple(effects)


def _wanted(arch: Description, steps: list[Step]) -> list[Exponent]:
    """How much each value must move, to move what is made of it: 0, or the size of what is normalized next."""
    return _by_readers(arch, [s.value.start if s.value.start != ZERO else NONE for s in steps])


def _allowed(arch: Description, steps: list[Step]) -> list[Exponent]:
    """How large each value may be: as 1, or what a multiplier makes so; what is normalized next as it starts."""
    return _by_readers(arch, [max(s.value.start, NONE) for s in steps])


def _by_readers(arch: Description, normalized: list[Exponent]) -> list[Exponent]:
    """For each value the exponent that it should have, for those that read it; ``normalized`` where that is a norm."""
    found: list[Exponent] = [NONE] * len(arch)
    for place in range(len(arch) - 1, -1, -1):
        of_readers = []
        for i in arch.readers[place]:
            match arch.nodes[i].operation:
                case Normalize():
                    of_readers.append(normalized[place])
                case Scale(_, exponent):
                    of_readers.append(found[i] - rational("Scale(exponent=...)", exponent))
                case Add() | AveragePool() | Dropout() | Join() | Permute() | Reshape() | Select():
                    of_readers.append(found[i])
                case _:
                    of_readers.append(NONE)
        found[place] = min(of_readers, default=NONE)
    return found
