"""Calling a function in a fresh process, whose peak memory is then that of the call alone."""

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn, ParamSpec, TypeVar

from mupi.commands.exits import explained
from mupi.training.interrupt import STOPPING, interrupt_noted, signals_held, signals_interrupt

P = ParamSpec("P")
R = TypeVar("R")

# How long a process whose parent has died may take to save what it has, and one that has answered to end.
LAST_SECONDS = 10.0


def in_own_process(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """``function(*args, **kwargs)``, computed in a process of its own.

    It is forked from one that has only imported torch and this library, which takes milliseconds, and shares no
    memory with what the caller has computed. Signals to stop are passed on to it, and it ends with its caller, however
    that ends.

    Args:
        function: Defined at the top of a module.
        args: Its arguments; they are pickled, as is the result.
        kwargs: Its keyword arguments.

    Raises:
        KeyboardInterrupt: After a signal to stop, once the function has ended.
        ChildProcessError: If the process ended without an answer, killed for example.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mupi.commands.train.train"])
    answers, answer = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(answer, function, args, kwargs), daemon=True)

    def pass_on(signum: int) -> None:
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signum)

    with interrupt_noted(pass_on) as interrupted:
        try:
            # Held in the server too, which must not die of a signal that is sent to the whole group.
            with signals_held():
                child.start()
            answer.close()
            result, error = _received(answers, child)
            # What it has to say is said.
            child.join(LAST_SECONDS)
        finally:
            answers.close()
            if child.is_alive():
                child.kill()
        if interrupted() and (error is None or isinstance(error, ChildProcessError)):
            raise KeyboardInterrupt
        if error is not None:
            raise error
    return result


def _received(answers: Connection, child: BaseProcess) -> tuple[Any, BaseException | None]:
    """Result and error, of which one is None."""
    try:
        return answers.recv()
    except (EOFError, OSError):
        return None, ChildProcessError(_how_it_ended(child))


def _how_it_ended(child: BaseProcess) -> str:
    """Of a process that gave no answer."""
    child.join(LAST_SECONDS)
    code = child.exitcode
    how = f"with status {code}"
    if code is not None and code < 0:
        how = f"by signal {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            how += ", which the system sends when memory runs out"
    return f"the process that computes a part was ended {how}; the same command goes on from what is saved"


def _work(answer: Connection, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """In the process: call, and send result and error, of which one is None."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    result, error = None, None
    with signals_interrupt():
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            result = function(*args, **kwargs)
        except BaseException as raised:
            error = _sendable(raised)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    # A caller that has gone wants no answer.
    with suppress(BrokenPipeError):
        answer.send((result, error))


def _sendable(error: BaseException) -> BaseException:
    """The error, or if it is not to be expected or cannot be pickled, one with its whole traceback."""
    if explained(error) is not None:
        with suppress(Exception):
            return pickle.loads(pickle.dumps(error))
    return RuntimeError("in a process of its own:\n" + "".join(traceback.format_exception(error)))


def _end_with_parent() -> NoReturn:
    """Wait until the caller's process has died, then stop this one: first as Ctrl-C does, soon after in any case."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(LAST_SECONDS)
    os._exit(128 + signal.SIGTERM)
