"""Help as text: options in groups, those first that most need, and examples that run."""

import ast
import inspect
import shutil
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from mupi.commands.choices import ByName, Choice
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
        default: Its value if it is not given; MISSING for one that must be.
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

    @property
    def place(self) -> str:
        """How it is given, but for its value: nothing but that if it has a place instead of a name."""
        from tyro.conf import Positional  # here, as its import takes long

        marks = getattr(self.hint, "__metadata__", ())
        return "" if any(mark in marks for mark in get_args(Positional[int])[1:]) else option(self.name)

    @property
    def otherwise(self) -> str:
        """What holds if it is not given, in words."""
        if self.default is MISSING:
            return " (required)"
        by_name = next((mark for mark in getattr(self.hint, "__metadata__", ()) if isinstance(mark, ByName)), None)
        default = spelled_value(self.default) if by_name is None else by_name.name(self.default)
        return f" (default: {default})" if default else ""


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
    words: Mapping[str, str] | None = None,
    words_mean: str = "",
) -> str:
    """The help of a command.

    Args:
        prog: The command as the user writes it, such as `mupi train`.
        about: What it does.
        options: What it takes.
        groups: The options' names by group.
        first: Those that are shown; None for all.
        examples: How it is used.
        words: What may come first, and what it means.
        words_mean: What they are.
    """
    width = min(WIDEST, shutil.get_terminal_size().columns)
    places = [takes(o) for o in options if not o.place]
    usage = " ".join([prog, *(["[WORDS]"] if words else []), *places, "[options]"])
    lines = [f"usage: {usage}", "", *textwrap.wrap(about, width)]
    if words:
        lines += ["", "words, which come first"]
        lines += wrapped(words_mean, width, "  ", "  ")
        column = max(map(len, words))
        for word, means in words.items():
            lines += wrapped(means, width, f"    {word:{column}}  ", " " * (6 + column))
    for group, names in groups.items():
        shown = [o for o in options if o.name in names and (first is None or o.name in first)]
        lines += ["", group] if shown else []
        for o in shown:
            lines += textwrap.wrap(
                takes(o), width, break_on_hyphens=False, initial_indent="  ", subsequent_indent=INDENT
            )
            does = o.does if first is None else o.does.partition("; ")[0].rstrip(".") + "."
            lines += textwrap.wrap(
                does + o.otherwise, width, break_on_hyphens=False, initial_indent=INDENT, subsequent_indent=INDENT
            )
    if first is not None:
        hidden = sum(o.name not in first for o in options)
        lines += ["", *textwrap.wrap(f"{hidden} more options: {prog} --help-all", width)]
    return "\n".join([*lines, "", shown_examples(examples)])


def wrapped(text: str, width: int, first: str, further: str) -> list[str]:
    """Lines of a text, the words of the command line in one piece."""
    return textwrap.wrap(text, width, break_on_hyphens=False, initial_indent=first, subsequent_indent=further)


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
    if plain_hint(o.hint) is bool:
        return f"{o.place}, --no-{o.place[2:]}"
    return f"{o.place} {_takes(o.hint)}".strip()


def plain_hint(hint: Any) -> Any:
    """A type without its annotation."""
    return plain_hint(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def _takes(hint: Any) -> str:
    if hint == Directions:
        return "None|INT|DEGREE:INT,..."
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, ByName | Choice):
            known = mark.values if isinstance(mark, ByName) else mark.words
            return "{" + ",".join(known) + "}" + (" ..." if isinstance(mark, Choice) and mark.several else "")
    hint = plain_hint(hint)
    names = {
        int: "INT",
        float: "FLOAT",
        str: "TEXT",
        Path: "PATH",
    }
    from mupi.activations import Activation  # here, as mupi --help needs none
    from mupi.commands.train.activation_names import ACTIVATION_WORDS

    if hint is Activation:
        return ACTIVATION_WORDS
    if get_origin(hint) is Literal:
        return "{" + ",".join(map(str, get_args(hint))) + "}"
    if hint in names:
        return names[hint]
    if get_origin(hint) is tuple:
        first, *others = map(_takes, (part for part in get_args(hint) if part is not ...))
        return f"{first} ..." if ... in get_args(hint) else " ".join([first, *others])
    parts = [part for part in get_args(hint) if part is not NoneType]
    return "|".join(["None"] * (NoneType in get_args(hint)) + [_takes(part) for part in parts])
