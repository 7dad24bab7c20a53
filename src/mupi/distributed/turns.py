"""Independent pieces of work, which the processes of a run take in turn."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import torch.distributed as dist
from rich.console import Console

from mupi.distributed.alone import by_itself
from mupi.distributed.processes import Processes
from mupi.distributed.together import Together
from mupi.progress import counted
from mupi.torch_internals import default_store

R = TypeVar("R")
T = TypeVar("T")

LONGEST = timedelta(days=30)
"""How long a process that finds nothing left to do waits for those that still do."""

_lists = count()


def in_turn(processes: Processes, pieces: Mapping[T, str], do: Callable[[T], R], console: Console | None) -> dict[T, R]:
    """What comes of each piece, in all processes, and in the order of the pieces.

    Each process takes the next piece that none has taken, until none is left; so it does not matter how long they
    take. One process does them in their order. After an error no process begins another piece, and all raise it.

    Args:
        processes: Those that share the work; each has the same pieces.
        pieces: By what is done, what is shown of it beside the bar, which the first process has.
        do: Does one; it must not ask the other processes for anything.
        console: Where the bar is; None for nowhere.
    """
    names = list(pieces)
    together = processes.together
    if together is None:
        return _done(names, range(len(names)), pieces, do, console)
    store, key = default_store(), f"mupi/turns/{next(_lists)}"

    def numbers() -> Iterator[int]:
        while (number := store.add(key, 1) - 1) < len(names):
            yield number

    def own() -> dict[T, R]:
        try:
            return _done(names, numbers(), pieces, do, console if processes.first else None)
        except Exception:
            store.add(key, len(names))
            raise

    ranks = dist.get_process_group_ranks(together.group)
    waiting = Processes(Together(dist.new_group(ranks, timeout=LONGEST, backend="gloo")))
    found = {name: result for part in waiting.each(own) for name, result in part.items()}
    return {name: found[name] for name in names}


def _done(
    names: list[T], numbers: Any, pieces: Mapping[T, str], do: Callable[[T], R], console: Console | None
) -> dict[T, R]:
    """The pieces of these numbers, which are taken as they come."""
    found = {}
    with counted(len(names), console) as begin:
        for number in numbers:
            begin(pieces[names[number]], number)
            with by_itself():
                found[names[number]] = do(names[number])
    return found
