"""Which line of the user's a step of the graph comes from."""

import re
import sys
import sysconfig
import traceback
from pathlib import Path

import torch
from torch import fx, nn
from torch.nn.modules.module import register_module_module_registration_hook

FRAME = re.compile(r'File "([^"]+)", line (\d+)')

OTHERS = tuple(
    str(Path(path).resolve())
    for path in (
        Path(torch.__file__).parent,
        Path(__file__).parents[2],
        sysconfig.get_paths()["stdlib"],
    )
)
"""Folders whose lines are not the user's: torch, mupi and Python."""


def is_users(path: str) -> bool:
    """Whether a file is the user's."""
    if path.startswith("<"):
        return "ipython" in path or "stdin" in path
    resolved = str(Path(path).resolve())
    return not resolved.startswith(OTHERS) or "site-packages" in resolved and not resolved.startswith(OTHERS[:2])


def line_of(node: fx.Node) -> str:
    """The innermost of the user's lines, such as ``model.py:17``; empty if torch's own modules call each other."""
    frames = FRAME.findall(node.meta.get("stack_trace") or "")
    return next((f"{Path(path).name}:{line}" for path, line in reversed(frames) if is_users(path)), "")


def module_of(node: fx.Node) -> str:
    """The name of the innermost module that a step belongs to."""
    stack = node.meta.get("nn_module_stack") or {}
    return next((str(path) for path, _ in reversed(list(stack.values()))), "")


def failed_at(error: BaseException) -> str:
    """The innermost of the user's lines in an error's traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames) if is_users(f.filename)), "no line")


class BuiltAt:
    """While it is entered, notes the user's line at which each module becomes part of another.

    Attributes:
        at: The line, and the module, for each module's id.
    """

    def __init__(self):
        self.at: dict[int, tuple[str, nn.Module]] = {}

    def __enter__(self) -> "BuiltAt":
        self.handle = register_module_module_registration_hook(self.note)
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()

    def note(self, parent: nn.Module, name: str, child: nn.Module | None) -> None:
        """The hook."""
        if child is None or id(child) in self.at:
            return
        frame = sys._getframe(1)
        # Up to torch, which calls this, and on to who called torch.
        while frame is not None and not frame.f_code.co_filename.startswith(OTHERS[0]):
            frame = frame.f_back
        while frame is not None and not is_users(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is not None:
            self.at[id(child)] = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}", child
