"""Ctrl-C while a command is still importing, which takes seconds: a line and exit status 130, not a traceback."""

import os
import signal
import sys
from pathlib import Path


def is_command() -> bool:
    """Whether this process is `mupi` or `python -m mupi`, and not a program that imports the library."""
    if sys.argv[:1] == ["-m"]:  # while Python looks for what it is to run as a module
        return "mupi" in sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1]
    return Path(sys.argv[0]).name == "mupi" if sys.argv else False


def leave(signum: int, frame: object) -> None:
    """End at once: nothing has been begun, and half-imported extensions are no place for an exception."""
    os.write(2, b"mupi: interrupted\n")
    os._exit(128 + signum)


def leave_when_interrupted() -> None:
    """In a command, until it has its own handlers, let SIGINT end it quietly."""
    if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
