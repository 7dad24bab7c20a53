"""Roles and sizes of all parameters: by the traced graph where there is one, else by shapes at two widths and kinds."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction

from torch import nn

from mupi.architecture.description import Description
from mupi.architecture.parameters import Parameter
from mupi.architecture.shape import Size, Width
from mupi.architecture.weights import Conv, Dense
from mupi.checks import fail
from mupi.mup.kinds import Sizes, by_kind, growing_rows, is_vector, owners
from mupi.optim.fans import Fans
from mupi.parametrization.roles import ROLES

FACTORY = "parametrize(make_model, ...)"

Shapes = tuple[tuple[int, ...], tuple[int, ...]]
"""At the base and at the width."""


def structure(
    base: nn.Module, wide: nn.Module, net: Description | None, roles: Mapping[str, str] | None
) -> dict[str, Fans]:
    """What each parameter is, by its first name.

    Args:
        base: The network at the base width; only shapes are looked at.
        wide: The network at another.
        net: What `mupi.trace` made of it, if it could.
        roles: Roles by names or patterns of names, as the user gives them.

    Raises:
        ValueError: If the networks have other parameters, or the role of one cannot be told.
    """
    narrow_owners, wide_owners = owners(base), owners(wide)
    refuse_other_parameters(narrow_owners.keys(), wide_owners.keys())
    given = by_name(roles or {}, list(wide_owners))
    traced = {p.name: p for p in net.parameters} if net is not None else {}
    found = {}
    for name, places in wide_owners.items():
        shapes = _shape(base, name), _shape(wide, name)
        if len(shapes[0]) != len(shapes[1]):
            fail(FACTORY, "a function whose parameters have as many axes at every width", f"`{name}` of {shapes}")
        pairs = list(zip(narrow_owners[name], places, strict=True))
        found[name] = _fans(name, shapes, pairs, traced.get(name), net, given.get(name))
    return found


def _shape(model: nn.Module, name: str) -> tuple[int, ...]:
    p = model.get_parameter(name)
    if isinstance(p, nn.parameter.UninitializedParameter):
        fail(FACTORY, "a function that builds a module of known shapes", f"`{name}`, which is lazy", "give its sizes")
    return tuple(p.shape)


def refuse_other_parameters(base: Iterable[str], wide: Iterable[str]) -> None:
    """Raise ``ValueError`` unless names are the same at both widths."""
    if other := sorted(set(base) ^ set(wide)):
        came = f"{', '.join(other[:3])}{f' and {len(other) - 3} more' if len(other) > 3 else ''} at one only"
        hint = "keep the depth: how settings move with it is not known here"
        fail(FACTORY, "a function whose modules have the same parameters at every width", came, hint)


def by_name(roles: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The given roles, their patterns resolved.

    Raises:
        ValueError: For what is no role, and a pattern that fits no parameter.
    """
    found: dict[str, str] = {}
    for pattern, role in roles.items():
        if role not in ROLES:
            fail(f'parametrize(roles={{"{pattern}": ...}})', f"one of {', '.join(ROLES)}", repr(role))
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        if not fitting:
            close = ", ".join(names[:3])
            fail("parametrize(roles=...)", "of names of parameters, or patterns", repr(pattern), f"such as {close}")
        found |= dict.fromkeys(fitting, role)
    return found


Owned = tuple[tuple[nn.Module, str], tuple[nn.Module, str]]


def _fans(
    name: str,
    shapes: Shapes,
    pairs: Sequence[Owned],
    traced: Parameter | None,
    net: Description | None,
    given: str | None,
) -> Fans:
    """Those of one parameter."""
    known = [_by_kind(one, other) for one, other in pairs]
    if any(growing_rows(one[0], other[0]) for one, other in pairs) and given is None:
        fail(FACTORY, "one whose embeddings have the same rows at every width", f"`{name}` of {shapes}")
    role = given or (traced.role if traced is not None else None) or _role(name, shapes, known, pairs)
    sizes = next((sizes for own, sizes in known if own == role and sizes is not None), None)
    if sizes is not None:
        ratios = Fraction(sizes[1][0], sizes[0][0]), Fraction(sizes[1][1], sizes[0][1])
    else:
        first = None if traced is None or net is None else output_axis(traced, net)
        ratios = _ratios(name, role, shapes, first)
    return Fans(role, shapes[1], shapes[0], *ratios)


def _by_kind(one: tuple[nn.Module, str], other: tuple[nn.Module, str]) -> tuple[str | None, tuple[Sizes, Sizes] | None]:
    """Role and sizes by the kind of an owner."""
    narrow, wide = by_kind(*one), by_kind(*other)
    if narrow is None or wide is None:
        return None, None
    sums, feeds = narrow[0] != wide[0], narrow[1] != wide[1]
    if is_vector(*one):
        return ("vector" if feeds else "finite"), (narrow, wide)
    role = {(True, True): "hidden", (True, False): "readout", (False, True): "input", (False, False): "finite"}
    return role[sums, feeds], (narrow, wide)


def _role(name: str, shapes: Shapes, known: Sequence[tuple], pairs: Sequence[Owned]) -> str:
    """By kinds and shapes.

    Raises:
        ValueError: If they do not decide.
    """
    found = {role for role, _ in known if role is not None}
    if found == {"input", "readout"}:
        return "input"  # a tied embedding
    if len(found) == 1:
        return found.pop()
    grown = _grown(shapes)
    if not found:
        if not grown:
            return "finite"
        if len(grown) == 2 and _alike(shapes, grown):
            return "hidden"
        if len(grown) == 1 and all(_is_gain(module, key) for pair in pairs for module, key in pair):
            return "vector"
    why = (
        f"modules that take it as {' and '.join(sorted(found))}"
        if found
        else (f"a {type(pairs[0][1][0]).__name__}'s own, which may be read by the width or feed it")
    )
    hint = f'pass roles={{"{name}": "vector"}} (gains, tokens), "input", "hidden" (its first axis out) or "readout"'
    fail("parametrize(roles=...)", f"given for `{name}` of shape {shapes[0]} at the base", why, hint)


def _is_gain(module: nn.Module, key: str) -> bool:
    """Whether it is a vector of ones, as gains start; a readout would not."""
    p = getattr(module, key)
    return p.ndim == 1 and p.device.type != "meta" and bool((p.detach() == 1).all())


def _grown(shapes: Shapes) -> list[int]:
    """Axes whose sizes differ."""
    return [i for i, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b]


def _alike(shapes: Shapes, axes: Sequence[int]) -> bool:
    """Whether they grow in one ratio."""
    return len({Fraction(shapes[1][i], shapes[0][i]) for i in axes}) == 1


def _ratios(name: str, role: str, shapes: Shapes, output: int | None) -> tuple[Fraction, Fraction]:
    """r_in and r_out from the shapes.

    Raises:
        ValueError: If the role does not fit them.
    """
    grown = _grown(shapes)
    ratio = {i: Fraction(shapes[1][i], shapes[0][i]) for i in grown}
    one = Fraction(1)
    match role, len(grown):
        case (("input" | "vector"), 1):
            return one, ratio[grown[0]]
        case "readout", 1:
            return ratio[grown[0]], one
        case "hidden", 2:
            out = grown[0] if output is None or output not in grown else output
            return ratio[grown[1 - grown.index(out)]], ratio[out]
        case _, 0:
            return one, one
    came = f"{role}, with {len(grown)} growing axes: {shapes[0]} and {shapes[1]}"
    fail(f'parametrize(roles={{"{name}": ...}})', "a role of as many growing axes as the parameter has", came)


def output_axis(parameter: Parameter, net: Description) -> int | None:
    """Which axis of a weight has the outputs, by its first use; None where the graph cuts it up."""
    use = parameter.uses[0]
    node = next(node for node in net if node.name == use.node)
    if use.cuts or use.kind != "weight" or not isinstance(node.operation, Dense | Conv):
        return None
    # Factors follow the parameter's axes: as many as make up each.
    place, left = 0, _monomial(parameter.axes[0])
    for factor, size in enumerate(use.factors):
        if factor == use.order[0]:
            return place
        coefficient, power = _monomial(size)
        left = left[0] / coefficient, left[1] - power
        if left == (1, 0):
            place += 1
            left = _monomial(parameter.axes[place])
    return None


def _monomial(size: Size) -> tuple[Fraction, int]:
    """c and e of c·n^e."""
    return (size.times, 1) if isinstance(size, Width) else (Fraction(size), 0)
