"""Calling a function in a fresh process, whose peak memory is then that of the call alone."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def in_own_process(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """``function(*args, **kwargs)``, computed in a process of its own.

    It is forked from one that has only imported torch and this library, which takes milliseconds, and shares no
    memory with what the caller has computed.

    Args:
        function: Defined at the top of a module.
        args: Its arguments; they are pickled, as is the result.
        kwargs: Likewise.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mupi.experiments.training.train"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args, **kwargs).result()
