"""A process of its own: what it answers, what it passes on, and how it ends."""

import json
import os
import signal

import pytest

from mupi.checks import fail
from mupi.commands.exits import Exit, explained
from mupi.commands.own_process import in_own_process


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refused() -> None:
    fail("x", "another", "this")


def mistaken() -> None:
    json.loads("{")


def test_a_killed_process_is_one_line_that_names_the_signal():
    with pytest.raises(ChildProcessError, match="SIGKILL") as raised:
        in_own_process(killed)
    assert "\n" not in str(raised.value)
    assert explained(raised.value) == (Exit.FAILED, str(raised.value))


def test_a_refusal_comes_through_and_a_bug_with_its_traceback():
    with pytest.raises(ValueError, match="`x` must be another; got this"):
        in_own_process(refused)
    with pytest.raises(RuntimeError, match=r"(?s)in mistaken.*JSONDecodeError") as raised:
        in_own_process(mistaken)
    assert explained(raised.value) is None


def test_what_a_command_ends_with():
    def status(error: BaseException) -> int | None:
        known = explained(error)
        return None if known is None else known[0]

    assert status(FloatingPointError("the loss became nan")) == Exit.DIVERGED
    assert status(OSError(28, "No space left on device")) == Exit.FAILED
    assert status(FileNotFoundError(2, "No such file", "x")) == Exit.REFUSED
    assert status(MemoryError()) == Exit.FAILED
    assert status(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4000000 bytes")) == 74
    of_torch = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 768 vs 662")
    of_torch.__context__ = OSError(28, "No space left on device")
    assert explained(of_torch) == (Exit.FAILED, "[Errno 28] No space left on device; what was saved before is whole")
    assert status(RuntimeError("shapes")) is status(KeyError("x")) is status(ValueError("max() of nothing")) is None
