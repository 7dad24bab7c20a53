"""Names of parameters of a module that is repeated, with the numbers of its copies left open."""

import re
from collections.abc import Iterable

OPEN = "*"


def templates(shallow: Iterable[str], deep: Iterable[str]) -> dict[str, str]:
    """For each name of a network and of a deeper one the name with ``*`` for what counts its copies.

    What counts copies is a number in a part of the name whose values are others in the other network: the first one in
    ``blocks.7.mlp.0.weight``, if blocks are 0 … 3 and 0 … 7, and not that of two layers of one MLP.

    >>> templates(["in.weight", "0.up.1.weight"], ["in.weight", "0.up.1.weight", "1.up.1.weight"])
    {'0.up.1.weight': '*.up.1.weight', '1.up.1.weight': '*.up.1.weight', 'in.weight': 'in.weight'}

    Args:
        shallow: Names of the one.
        deep: Names of the other.
    """
    found: dict[str, str] = {}
    _merge({name: name.split(".") for name in shallow}, {name: name.split(".") for name in deep}, (), found)
    return found


def _merge(
    shallow: dict[str, list[str]], deep: dict[str, list[str]], above: tuple[str, ...], found: dict[str, str]
) -> None:
    """Names whose first parts are ``above``; given by what follows."""
    groups: dict[str, tuple[dict[str, list[str]], dict[str, list[str]]]] = {}
    for side, names in enumerate((shallow, deep)):
        for name, parts in names.items():
            if parts:
                groups.setdefault(re.sub(r"\d+", OPEN, parts[0]), ({}, {}))[side][name] = parts
            else:
                found[name] = ".".join(above)
    for opened, sides in sorted(groups.items()):
        heads = [{parts[0] for parts in names.values()} for names in sides]
        for head in [opened] if heads[0] != heads[1] else sorted(heads[0]):
            own = [{n: parts[1:] for n, parts in names.items() if head in (opened, parts[0])} for names in sides]
            _merge(own[0], own[1], (*above, head), found)
