"""A command line read by tyro, whose boxes of errors become the one line that every error of `mupi` is."""

import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import Annotated, Any, NoReturn

from mupi.checks import fail
from mupi.commands.choices import ByName


class ByDegree:
    """Marks an option that is written as a number, None, or numbers by degree such as 2:100,4:20."""


Directions = Annotated[int | Mapping[int, int] | None, ByDegree()]
"""The ``subspace`` of `Hermite`."""


def read(kind: Any, args: Sequence[str], prog: str, **options: Any) -> Any:
    """``args`` as a value of ``kind``, a dataclass or several.

    Args:
        kind: The type that tyro is to read from the command line.
        args: Without the command itself.
        prog: The command as the user wrote it, for messages.
        options: Further options of `tyro.cli`.

    Raises:
        ValueError: In one line, if tyro refuses them.
        SystemExit: With status 0, once help is printed.
    """
    import tyro  # here, as its import takes long

    said = StringIO()
    try:
        with redirect_stderr(said):
            registry = None if prog == "mupi" else _registry()
            return tyro.cli(kind, args=list(args), prog=prog, registry=registry, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
    refuse(said.getvalue(), prog, args)


def spelled_value(value: Any) -> str:
    """A value as the command line has it."""
    from mupi.activations import Activation  # here and below, as mupi --help needs none of them
    from mupi.commands.train.activation_names import activation_name

    if isinstance(value, Activation):
        return activation_name(value)
    if isinstance(value, Mapping):
        return ",".join(f"{degree}:{size}" for degree, size in value.items())
    return " ".join(map(spelled_value, value)) if isinstance(value, tuple) else str(value)


def directions(text: str) -> int | dict[int, int] | None:
    """The inverse of `spelled_value`.

    Raises:
        ValueError: If the text is none.
    """
    if text == "None":
        return None
    if ":" in text:
        return {int(degree): int(size) for degree, size in (part.split(":") for part in text.split(","))}
    return int(text)


def for_tyro(marks: Sequence[Any]) -> tuple[Any, ...]:
    """The marks of an option with what tyro has to know of them."""
    from tyro.constructors import PrimitiveConstructorSpec

    by_degree = PrimitiveConstructorSpec(
        nargs=1,
        metavar="{None}|INT|DEGREE:INT,...",
        instance_from_str=lambda args: directions(args[0]),
        is_instance=lambda value: value is None or isinstance(value, int | Mapping),
        str_from_instance=lambda value: [spelled_value(value)],
    )
    named = (by_name(mark) for mark in marks if isinstance(mark, ByName))
    return (*marks, *(by_degree for mark in marks if isinstance(mark, ByDegree)), *named)


def by_name(mark: ByName) -> Any:
    """How tyro reads one of some values."""
    from tyro.constructors import PrimitiveConstructorSpec

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(mark.values) + "}",
        instance_from_str=lambda args: mark.values[args[0]],
        is_instance=lambda value: any(value is known or value == known for known in mark.values.values()),
        str_from_instance=lambda value: [mark.name(value)],
        choices=tuple(mark.values),
    )


def _registry() -> Any:
    """How tyro reads what is written by a name or in a form of our own."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    from mupi.activations import Activation
    from mupi.commands.train.activation_names import ACTIVATION_WORDS, activation_of

    registry = ConstructorRegistry()
    of_activation = PrimitiveConstructorSpec(
        nargs=1,
        metavar=ACTIVATION_WORDS,
        instance_from_str=lambda args: activation_of(args[0]),
        is_instance=lambda value: isinstance(value, Activation),
        str_from_instance=lambda value: [spelled_value(value)],
    )

    @registry.primitive_rule
    def activation(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        return of_activation if info.type is Activation else None

    return registry


def refuse(box: str, prog: str, args: Sequence[str]) -> NoReturn:
    """Say in one line what a box of tyro says.

    Raises:
        ValueError: Always.
    """
    # With frames and colors, or without, as the terminal has them.
    plain = re.sub(r"\x1b\[[\d;]*m|[│╭╮╰╯]", " ", box)
    _, *lines = (line for line in plain.splitlines() if line.strip())
    text = " ".join(" ".join(lines).split())
    said, *more = (part for part in re.split(r" ?[─-]{5,} ?", text) if part)
    text = " ─ ".join([said, *more])
    see = f"see {prog} --help"
    if found := re.match(r"Unrecognized options: (.*)", said):
        near, names = re.search(r"Perhaps you meant: (\S+)", text), found[1].split(", ")
        known = re.search(r"Available subcommands: ([^─]*)", text)
        must = f"followed by one of {known[1].strip()}" if known else "given options that it has"
        fail(prog, must, " ".join(names), f"perhaps {near[1]} was meant" if near else see)
    if found := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*?),?\)\.", said):
        fail(found[2], f"one of {found[3].replace(chr(39), '')}", repr(found[1]))
    if found := re.match(r"Missing value for argument '(.*)'", said):
        fail(found[1], "followed by a value", "none")
    if found := re.match(r"Expected one of \{(.*)\}", said):
        fail(prog, f"followed by one of {found[1]}", " ".join(args) or "nothing", see)
    if found := re.match(r"Missing from .*?: (.*)", said):
        fail(prog, "given all that it needs", f"no {found[1].replace(' (required)', '')}", see)
    if found := re.match(r"Error parsing ([^:]*): (.*)", said):
        name, reason = found.groups()
        if "`" in reason:  # of the configuration itself, which has said it in one line
            raise ValueError(reason)
        takes = re.search(rf"Argument helptext: (?:-\w, )?{re.escape(name)} (.*?)(?= [a-zA-Zφ`]*[a-z]| ─|$)", text)
        got = re.findall(r"'([^']*)'", reason)
        fail(name, takes[1] if takes else "what it takes", repr(got[0]) if got else reason, see)
    fail(prog, "given what it can read", said, see)
