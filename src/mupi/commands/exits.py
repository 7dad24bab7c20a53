"""How a command ends: its exit status, and the one line that says why."""

import errno
from enum import IntEnum
from pathlib import Path

import torch

import mupi.training.interrupt as interrupt
from mupi.distributed.launched import lost
from mupi.extras import MissingExtraError

ROOT = Path(__file__).parents[1]


class Exit(IntEnum):
    """Exit statuses; one stopped by a signal has 128 and its number, as in a shell: 130 after Ctrl-C."""

    DONE = 0
    DIVERGED = 1
    REFUSED = 2
    """A wrong argument or file."""
    BUG = 70
    """An exception that no message of ours explains, which is shown in full."""
    FAILED = 74
    """The machine's fault: a full disk, too little memory, a process that was killed."""
    BROKEN_PIPE = 141
    """Who read the output has gone."""


# What the system may refuse though the arguments are right.
OF_THE_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN,
}  # fmt: skip
NO_MEMORY = ("allocate memory", "not enough memory", "out of memory", "bad_alloc", "bad alloc")


def explained(error: BaseException) -> tuple[int, str] | None:
    """The exit status of an error that was to be expected, and why it came; None for one that is a bug.

    To be expected are what the system refuses, divergence, and the library's own refusals, which name between backticks
    what they refuse. A `ValueError` of another library is a bug of ours: the value should not have got there.
    """
    message = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        return 128 + interrupt.last_stop(), message or "interrupted"
    if isinstance(error, FloatingPointError):
        return Exit.DIVERGED, message
    if lost(error):
        return Exit.FAILED, f"another process of the run has ended ({message[:150]}); what was saved before is whole"
    if out_of_memory(error):
        return Exit.FAILED, f"the memory is not enough ({message or 'no details'}); what was saved before is whole"
    if isinstance(error, MissingExtraError):
        return Exit.REFUSED, message
    if isinstance(error, ChildProcessError):
        return Exit.FAILED, message
    if (refusal := of_the_machine(error)) is not None:
        return Exit.FAILED, f"{refusal}; what was saved before is whole"
    if isinstance(error, OSError):
        return Exit.REFUSED, message
    if isinstance(error, ValueError) and "`" in message and raised_here(error):
        return Exit.REFUSED, message
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an allocation was refused; torch says so, on the CPU, by its message only."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def of_the_machine(error: BaseException) -> OSError | None:
    """The system's refusal that an error is, or that torch's writer of files has made a `RuntimeError` of."""
    cause: BaseException | None = error
    while isinstance(cause, RuntimeError):
        cause = cause.__cause__ or cause.__context__
    return cause if isinstance(cause, OSError) and cause.errno in OF_THE_MACHINE else None


def raised_here(error: BaseException) -> bool:
    """Whether the innermost call of those that the error came through is of this library."""
    trace = error.__traceback__
    if trace is None:
        return True
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).is_relative_to(ROOT)
