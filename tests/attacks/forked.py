"""An attack in a process of its own: what kills it, fills the memory or never ends does so there."""

import os
import resource
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

REFUSALS = (ValueError, FileNotFoundError, OSError, FloatingPointError)


@dataclass(frozen=True)
class Limits:
    """What the process may take.

    Args:
        memory: Bytes beyond what its parent has.
        seconds: Of processor time.
    """

    memory: int
    seconds: int


def forked(act: Callable[[], object], limits: Limits) -> tuple[str, str]:
    """Call ``act`` in a copy of this process.

    Returns:
        ``returned``; ``refused`` for an exception of one line that users meet; ``traceback`` for any other, the lack of
        memory included; ``crash`` for a signal. And the exception, if there is one.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _act(act, limits, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "crash", signal.Signals(os.WTERMSIG(status)).name
    outcome, _, words = said.partition("\n")
    return outcome, words


def _act(act: Callable[[], object], limits: Limits, writing: int) -> NoReturn:
    """In the child: the outcome is written, and nothing of the parent's is cleaned up twice."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * os.sysconf("SC_PAGE_SIZE") + limits.memory
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds))
    try:
        act()
        said = "returned\n"
    except REFUSALS as error:
        words = str(error)
        said = f"refused\n{words}" if words and "\n" not in words else f"traceback\n{error!r}"
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = f"traceback\n{type(error).__name__} in {last.name}: {str(error)[:200]}"
    os.write(writing, said.encode(errors="replace")[:4000])
    os._exit(0)
