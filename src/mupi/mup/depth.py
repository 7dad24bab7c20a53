"""What depth changes, parameter by parameter: the branches of a network beside those of its base, and those refused."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import isclose
from typing import NoReturn

from mupi.architecture.description import Description
from mupi.checks import fail
from mupi.mup.branches import Branch, branches
from mupi.mup.depth_scaling import DepthScaling
from mupi.mup.faults import Fault
from mupi.mup.templates import templates
from mupi.optim.fans import AtDepth

Kinds = dict[frozenset[str], list[Branch]]
"""Branches that are copies of each other: by their parameters' names, without the numbers of the copies."""


def depth_faults(net: Description) -> tuple[Fault, ...]:
    """Branches of a network that could not be multiplied by initial values, if it were deeper than its base.

    Args:
        net: What `mupi.trace` read.
    """
    return tuple(
        Fault("branch", branch.where, f"a residual branch that only code can multiply: {branch.obstacle}", remedy())
        for branch in branches(net)
        if branch.obstacle
    )


def remedy(scaling: DepthScaling | None = None) -> str:
    """What to do about a branch that no parameter can multiply."""
    α = (scaling or DepthScaling()).α
    return f"multiply the branch by (base_depth / depth)**{float(α):g}, which is 1 at the base, in your code"


def depths(deep: Description, shallow: Description, scaling: DepthScaling) -> dict[str, AtDepth]:
    """What depth changes in each parameter, by its name; parameters that are not named stay.

    Args:
        deep: The network.
        shallow: The network at the base depth.
        scaling: By which power of the number of branches they are multiplied.

    Raises:
        ValueError: If a branch cannot be multiplied, has been multiplied by another number, or computes another
            function at another depth; if something is repeated outside of branches; or if nothing is.
    """
    known = templates(*([p.name for p in net.parameters] for net in (shallow, deep)))
    few, many = (kinds(branches(net), known) for net in (shallow, deep))
    found: dict[str, AtDepth] = {}
    for kind, copies in many.items():
        if kind not in few:
            refuse(copies[0], "branches that are there at the base depth too", "one that is not")
        # A number of copies that does not change with depth is no limit: the branches stay.
        if len(copies) == len(few[kind]):
            ratio = _factor_ratio(copies, few[kind])
            if ratio != 1:
                must = "branches that do not depend on depth where their number does not"
                refuse(copies[0], must, f"{ratio:g} times as much")
            continue
        for name, change in _of_kind(copies, few[kind], scaling).items():
            if name in found:
                refuse(copies[0], "branches of parameters of their own", f"`{name}` in two of them")
            found[name] = change
    if not found:
        must = "of a module that has more residual branches, x + f(x), at another depth"
        fail("parametrize(depth=...)", must, "one that has not", "without them there is no limit of depth")
    inside = [{name for copies in side.values() for b in copies for name in b.parameters} for side in (few, many)]
    nets = zip((shallow, deep), inside, strict=True)
    count = [Counter(known[p.name] for p in net.parameters if p.name not in own) for net, own in nets]
    passed = {p.name for p in deep.parameters if all(use.kind in ("gain", "shift") for use in p.uses)}
    for name, template in ((p.name, known[p.name]) for p in deep.parameters):
        before, now = (c[template] for c in count)
        if name in inside[1] or before == now:
            continue
        if name not in passed or not before:
            must = "of a module whose parameters are in residual branches, x + f(x), where depth makes more of them"
            fail("parametrize(depth=...)", must, f"`{name}` in none, {now} times in place of {before}")
        found[name] = scaling.stream(Fraction(now, before))
    return found


def kinds(found: Iterable[Branch], known: Mapping[str, str]) -> Kinds:
    """Branches by their parameters' templates.

    Args:
        found: The branches.
        known: Templates of names.
    """
    made: Kinds = {}
    for branch in found:
        made.setdefault(frozenset(known[name] for name in branch.parameters), []).append(branch)
    return made


def _of_kind(deep: Sequence[Branch], shallow: Sequence[Branch], scaling: DepthScaling) -> dict[str, AtDepth]:
    """What depth changes in the parameters of branches that are copies of each other."""
    functions = {branch.function for branch in shallow}
    for branch in deep:
        if branch.function not in functions:
            must = "branches that compute the same at every depth"
            refuse(branch, must, "a number, or an operation, that is another than at the base depth")
        if not any(isclose(branch.stream, other.stream, rel_tol=1e-9) for other in shallow):
            came = f"a stream that is multiplied by {branch.stream:g} until here"
            refuse(branch, "branches that are added to a stream which nothing multiplies", came)
    ratio, m = Fraction(len(deep), len(shallow)), _factor_ratio(deep, shallow)
    in_code = isclose(m, scaling.multiplier(ratio), rel_tol=1e-6)
    if not in_code and not isclose(m, 1.0, rel_tol=1e-6):
        must = "multiplied by the same number at every depth (initial values carry the rest)"
        right = f"(base_depth / depth)**{float(scaling.α):g}"
        refuse(deep[0], f"{must}, or by {right} = {scaling.multiplier(ratio):.4g} times it", f"{m:.4g} times it")
    found: dict[str, AtDepth] = {}
    for branch in deep:
        if branch.obstacle and not in_code:
            refuse(branch, "branches in which a parameter can carry a multiplier", branch.obstacle, remedy(scaling))
        for name in branch.parameters:
            if name in found:
                must = "branches of parameters of their own"
                refuse(branch, must, f"`{name}` in {len(deep)} of them", "weights that blocks share have no rule")
            carries = name in branch.last and not in_code
            found[name] = scaling.last(ratio) if carries else scaling.inside(ratio)
    return found


def _factor_ratio(deep: Sequence[Branch], shallow: Sequence[Branch]) -> float:
    """By how much more the branches are multiplied in the code."""
    pairs = {
        round(a / b, 9)
        for one, other in ((one, other) for one in deep for other in shallow)
        for a, b in zip(one.factors, other.factors, strict=False)
    }
    if len(pairs) > 1:
        came = f"numbers that differ by {min(pairs):.4g} to {max(pairs):.4g}"
        refuse(deep[0], "branches that are all multiplied by one number", came)
    return pairs.pop() if pairs else 1.0


def refuse(branch: Branch, must: str, got: str, hint: str = "") -> NoReturn:
    """Raise ``ValueError`` about a branch.

    Args:
        branch: The branch.
        must: What it must be.
        got: What it is.
        hint: What to do.
    """
    fail("parametrize(depth=...)", f"of a module with {must}", f"{got}, in {branch.where}", hint)
