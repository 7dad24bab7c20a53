"""A command line read by tyro, whose boxes of errors become the one line that every error of `mupi` is."""

import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import Any, NoReturn

from mupi.checks import fail


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
            return tyro.cli(kind, args=list(args), prog=prog, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
    refuse(said.getvalue(), prog, args)


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
