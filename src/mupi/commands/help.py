"""Help as text: options in groups, those first that most need, and examples that run."""

import ast
import inspect
import shutil
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from mupi.commands.options import option
from mupi.commands.reading import Directions, for_tyro, spelled_value

WIDEST = 80
INDENT = " " * 6


@dataclass(frozen=True)
class Option:
    """An option.

    Attributes:
        name: Of its field.
        hint: What it takes; its annotation has marks.
        default: Its value if it is not given.
        does: What help says of it.
    """

    name: str
    hint: Any
    default: Any
    does: str

    @property
    def marks(self) -> tuple[Any, ...]:
        """What is special about it, and its help, for tyro."""
        from tyro.conf import arg  # here, as its import takes long

        return (*for_tyro(getattr(self.hint, "__metadata__", ())), arg(help=self.does))


@cache
def documented(kind: type) -> dict[str, str]:
    """What the strings below a dataclass's fields, and below those of its bases, say."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if "__dataclass_fields__" not in vars(base):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                found[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return found


def printed(
    prog: str,
    about: str,
    options: Sequence[Option],
    groups: Mapping[str, Sequence[str]],
    first: Collection[str] | None,
    examples: Sequence[str],
) -> str:
    """The help of a command.

    Args:
        prog: The command as the user writes it, such as `mupi train`.
        about: What it does.
        options: What it takes.
        groups: The options' names by group.
        first: Those that are shown; None for all.
        examples: How it is used.
    """
    width = min(WIDEST, shutil.get_terminal_size().columns)
    lines = [f"usage: {prog} [options]", "", *textwrap.wrap(about, width)]
    for group, names in groups.items():
        shown = [o for o in options if o.name in names and (first is None or o.name in first)]
        lines += ["", group] if shown else []
        for o in shown:
            lines += textwrap.wrap(
                f"{option(o.name)} {takes(o)}", width, initial_indent="  ", subsequent_indent=" " * 6
            )
            default = f" (default: {spelled_value(o.default)})"
            does = o.does if first is None else o.does.partition("; ")[0].rstrip(".") + "."
            lines += textwrap.wrap(does + default, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    if first is not None:
        hidden = sum(o.name not in first for o in options)
        lines += ["", *textwrap.wrap(f"{hidden} more options: {prog} --help-all", width)]
    return "\n".join([*lines, "", shown_examples(examples)])


def narrow(text: str) -> str:
    """With lines that are too long for a screen broken."""
    width = min(WIDEST, shutil.get_terminal_size().columns)
    lines = [textwrap.wrap(line, width) if len(line) > WIDEST else [line] for line in text.splitlines()]
    return "\n".join(line for broken in lines for line in broken)


def shown_examples(examples: Sequence[str]) -> str:
    """As help ends."""
    return "\n".join(["examples:", *(f"  {example}" for example in examples)])


def takes(o: Option) -> str:
    """How an option is given."""
    flag = option(o.name)
    return f"{flag}, --no-{flag[2:]}" if _plain(o.hint) is bool else f"{flag} {_takes(o.hint)}"


def _plain(hint: Any) -> Any:
    return _plain(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def _takes(hint: Any) -> str:
    if hint == Directions:
        return "None|INT|DEGREE:INT,..."
    hint = _plain(hint)
    names = {
        int: "INT",
        float: "FLOAT",
        str: "TEXT",
        Path: "PATH",
    }
    from mupi.activations import Activation  # here, as mupi --help needs none
    from mupi.commands.train.networks import ACTIVATIONS

    if hint is Activation:
        return "{" + ",".join(ACTIVATIONS) + "}"
    if get_origin(hint) is Literal:
        return "{" + ",".join(map(str, get_args(hint))) + "}"
    if hint in names:
        return names[hint]
    parts = [part for part in get_args(hint) if part not in (NoneType, ...)]
    return "|".join(["None"] * (NoneType in get_args(hint)) + [_takes(part) for part in parts])
