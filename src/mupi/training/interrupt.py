"""Stopping: Ctrl-C, SIGTERM and SIGHUP end a command alike, and between two steps instead of inside one."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

# `timeout` and service managers signal a process and its group, so that one stop comes twice; a second Ctrl-C by hand
# takes longer.
ONE_STOP_SECONDS = 1.0

_last: int = signal.SIGINT


def last_stop() -> int:
    """The signal that stopped the process, for its exit status; SIGINT if none came."""
    return _last


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise ``KeyboardInterrupt`` in the main thread, as SIGINT does.

    One that is ignored (SIGHUP under `nohup`) stays so. In a thread other than the main one nothing changes.
    """
    first: list[float] = []

    def interrupt(signum: int, frame: object) -> None:
        global _last
        if first and time.monotonic() - first[0] < ONE_STOP_SECONDS:
            return
        first[:] = [time.monotonic()]
        _last = signum
        raise KeyboardInterrupt

    with _handled(interrupt):
        yield


@contextmanager
def interrupt_noted(then: Callable[[int], None] = lambda signum: None) -> Iterator[Callable[[], bool]]:
    """Inside, the first signal to stop only makes the yielded function return True; a second one interrupts.

    So a step is never left half done, with some layers updated and others not. What comes within a second of the first
    is the same stop. In a thread other than the main one, where Python delivers no signals, nothing changes.

    Args:
        then: Told the first signal when it comes.
    """
    noted: list[float] = []

    def note(signum: int, frame: object) -> None:
        global _last
        if not noted:
            noted.append(time.monotonic())
            _last = signum
            then(signum)
        elif time.monotonic() - noted[0] >= ONE_STOP_SECONDS:
            raise KeyboardInterrupt

    with _handled(note):
        yield lambda: bool(noted)


@contextmanager
def signals_held() -> Iterator[None]:
    """Inside, signals to stop wait, in this thread and in the processes that it starts (until let in there)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Inside, the handler of all signals to stop that are not ignored; of SIGINT in any case."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.getsignal(s) for s in STOPPING}
    # A command that a script has put into the background ignores SIGINT, and is still to save when it is sent one.
    changed = [s for s in STOPPING if s == signal.SIGINT or before[s] is not signal.SIG_IGN]
    for s in changed:
        signal.signal(s, handler)
    try:
        yield
    finally:
        for s in changed:
            signal.signal(s, before[s])
