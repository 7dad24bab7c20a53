"""The plan as a table: what each parameter is, how it starts, by which rate it moves, and why."""

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from textwrap import fill
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import nn

from mupi.mup.faults import Fault
from mupi.mup.plan import Planned
from mupi.optim.families import AdamLike, Family, SGDLike

COLUMNS = 80

LEGEND = {
    "kept": "starts as the user draws it",
    "law": "drawn by a power of the width, multiplied to go by μP's: 1, n^-½ (hidden), 1/n (readout)",
    "measured": "drawn by no power of the width: its measured size is brought to μP's, to the error given",
    "zero": "starts at zero",
}

PLACES = {
    "inside": "in a residual branch that is multiplied by m: gradients are m times as large, steps go by r^(α−1)",
    "last": "carries its branch's m = r^-α in its entries; steps go by 1/r, so that r branches move as one",
    "stream": "what branches are added to passes through r times as many of it: steps go by 1/r",
}
"""What depth changes, and why: r times as many branches as at the base."""

Settings = Mapping[str, Any]


def explained(
    plan: Sequence[Planned], parameters: Mapping[str, nn.Parameter], groups: Sequence[Settings] | None
) -> str:
    """The table and its legend.

    Args:
        plan: The rows.
        parameters: Those of the model, by name.
        groups: Of an optimizer; None to show what SGD and Adam multiply lr by.
    """
    shown = relative if groups is None else settings_by_name(parameters, groups)
    heads = ("SGD", "Adam", "ε") if groups is None else ("rate", "decay", "ε")
    table = Table("parameter", "role", "std (base → here)", *heads, "why", box=SIMPLE_HEAD, pad_edge=False)
    table.columns[0].overflow = "fold"
    for column in table.columns[2:6]:
        column.justify = "right"
    words: list[str] = []
    for rows in alike(plan, shown):
        row, why = rows[0], word(rows[0])
        words.append(why)
        error = max(r.initial.error for r in rows)
        name = row.name if len(rows) == 1 else f"{pattern(row.name)} ({len(rows)})"
        why = f"{why} ± {error:.0%}" if why == "measured" else why
        place = row.fans.depth.place
        words.append(place)
        table.add_row(name, row.role, sizes(row), *shown(row), f"{why}, {place}" if place else why)
    text = StringIO()
    # In a notebook rich would show the table by itself, and leave it out of the text.
    plain: dict[str, Any] = dict(color_system=None, highlight=False, emoji=False, markup=False, force_jupyter=False)
    Console(file=text, width=COLUMNS, **plain).print(table)
    lines = ["\n".join(line.rstrip() for line in text.getvalue().splitlines()).rstrip(), ""]
    lines += [wrapped(f"{why}: {LEGEND[why]}", "  ") for why in LEGEND if why in words]
    lines += [wrapped(f"{place}: {PLACES[place]}", "  ") for place in PLACES if place in words]
    if groups is None:
        lines += [wrapped("SGD, Adam: what lr is multiplied by; ε: what Adam's is; lr·decay is the same for all", "  ")]
    return "\n".join(lines)


def remarks(reason: str, faults: Sequence[Fault]) -> str:
    """Faults; or that none was found, or that they were not looked for, and why."""
    lines = (
        [] if not reason else [wrapped(f"The graph could not be read, so faults in it were not looked for: {reason}")]
    )
    if faults:
        lines += ["Faults, which no initial value can mend:", *(wrapped(str(fault), "  ") for fault in faults)]
    return "\n".join(lines or ["No fault was found in the graph."])


def wrapped(text: str, indent: str = "") -> str:
    """Within the columns."""
    return fill(text, COLUMNS, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)


def word(row: Planned) -> str:
    """Why it starts as it does."""
    if row.initial.base == 0:
        return "zero"
    if row.initial.law is None:
        return "measured"
    return "kept" if row.initial.factor == 1 else "law"


def sizes(row: Planned) -> str:
    """Sizes of its entries."""
    return f"{row.initial.base:.3g} → {row.initial.wide:.3g}"


def relative(row: Planned) -> tuple[str, ...]:
    """What lr and ε are multiplied by."""
    families: tuple[Family, ...] = (SGDLike(), AdamLike())
    rates = (family.factor(row.fans, {}) for family in families)
    return (*map(times, rates), times(row.fans.depth.gradient / float(row.fans.out_ratio)))


def times(x: float) -> str:
    """A factor, as a quotient where it is one."""
    if x < 1 and abs(round(1 / x) - 1 / x) < 1e-9:
        return f"1/{round(1 / x)}"
    return f"{x:.3g}"


def settings_by_name(parameters: Mapping[str, nn.Parameter], groups: Sequence[Settings]) -> Any:
    """A function from a parameter to what its group says."""
    group_of = {id(parameter): group for group in groups for parameter in group["params"]}

    def shown(row: Planned) -> tuple[str, ...]:
        group = group_of.get(id(parameters[row.name]))
        if group is None:
            return ("–", "–", "–")
        return tuple(f"{group[key]:.3g}" if isinstance(group.get(key), float | int) else "–"
                     for key in ("lr", "weight_decay", "eps"))  # fmt: skip

    return shown


def pattern(name: str) -> str:
    """The name with its numbers left open."""
    return re.sub(r"\d+", "*", name)


def alike(rows: Sequence[Planned], shown: Any) -> list[list[Planned]]:
    """Parameters of blocks that are treated alike, together."""
    found: dict[Any, list[Planned]] = {}
    for row in rows:
        start = row.initial
        key = pattern(row.name), row.fans, start.factor if start.law else None, word(row), shown(row)
        found.setdefault(key, []).append(row)
    return list(found.values())
