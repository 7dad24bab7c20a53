"""What an attack does in a copy of this process: what kills it, fills the memory or never ends does so there."""

import faulthandler
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

REFUSALS = (ValueError, FileNotFoundError, OSError, FloatingPointError)


@dataclass(frozen=True)
class Limits:
    """What a copy may take.

    Args:
        memory: Bytes beyond what its parent has.
        seconds: Of processor time.
    """

    memory: int
    seconds: int

    def impose(self) -> None:
        """On this process."""
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + self.memory
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CPU, (self.seconds, self.seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@dataclass(frozen=True)
class End:
    """How a copy ended.

    Attributes:
        status: Its exit status; negative for a signal.
        said: On stderr.
        result: What it returned, as JSON has it; None if it came to none.
    """

    status: int
    said: str
    result: Any = None

    def __str__(self) -> str:
        how = signal.Signals(-self.status).name if self.status < 0 else f"status {self.status}"
        return f"{how}, {' '.join(self.said.split())[-160:]}"


@dataclass(frozen=True)
class Child:
    """A copy of this process at work, the leader of a group."""

    pid: int
    said: IO[bytes]
    result: IO[bytes]

    def end(self) -> End:
        """Wait for it."""
        _, status = os.waitpid(self.pid, 0)
        said, result = (_contents(file) for file in (self.said, self.result))
        return End(os.waitstatus_to_exitcode(status), said, json.loads(result) if result else None)


def start(act: Callable[[], object], directory: Path | str = ".", prepare: Callable[[], None] = lambda: None) -> Child:
    """Call ``act`` in a copy of this process: what it raises is its exit status, or a traceback on stderr.

    Args:
        act: Returns what JSON can hold.
        directory: Where.
        prepare: Called before, with the streams already those of the copy.
    """
    said, result = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
    if not (pid := os.fork()):
        _act(act, directory, prepare, said, result)
    return Child(pid, said, result)


def _act(
    act: Callable[[], object], directory: Path | str, prepare: Callable[[], None], said: IO[bytes], result: IO[bytes]
) -> NoReturn:
    """In the child; nothing of the parent's is cleaned up twice."""
    code = 1
    try:
        faulthandler.disable()  # pytest's, which would show a crash that is counted
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for other in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, signal.SIG_DFL)
        os.chdir(directory)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(said.fileno(), 2)
        # Not pytest's.
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        prepare()
        found = json.dumps(act())
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # an attack may have made the disk small
        result.write(found.encode())
        result.flush()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(int(code))


def _contents(file: IO[bytes]) -> str:
    file.seek(0)
    with file:
        return file.read().decode(errors="replace")


def refused(act: Callable[[], object], limits: Limits) -> tuple[str, str]:
    """What becomes of a call that must be refused.

    Returns:
        ``returned``; ``refused`` for an exception of one line that users meet; ``traceback`` for any other, the lack of
        memory included; ``crash`` for a signal. And the exception, if there is one.
    """

    def outcome() -> tuple[str, str]:
        try:
            act()
        except REFUSALS as error:
            words = str(error)
            return ("refused", words[:4000]) if words and "\n" not in words else ("traceback", repr(error)[:4000])
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            return "traceback", f"{type(error).__name__} in {last.name}: {str(error)[:200]}"
        return "returned", ""

    end = start(outcome, prepare=limits.impose).end()
    return tuple(end.result) if end.status == 0 else ("crash", str(end))
