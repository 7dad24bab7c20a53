"""One process at a time writes into a folder."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mupi.distributed.processes import Processes
from mupi.training.atomic import remove_partial

LOCK = ".lock"


@contextmanager
def held(directory: Path, otherwise: str = "choose another --name") -> Iterator[None]:
    """Inside, no other process that asks for it has this folder.

    The operating system lets go of it when the process ends, however it does: an empty file ``.lock`` that a killed one
    leaves says nothing. Folders that were made for this, and into which nothing was written, are removed again.

    Args:
        directory: Made if it is missing.
        otherwise: What else to do than wait, if it is in use.

    Raises:
        ValueError: If another process holds it.
    """
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"`{directory}` is in use by another process; wait until that ends, or {otherwise}") from error
    try:
        remove_partial(directory)
        yield
    finally:
        # While it is held; who has opened the file by then finds after locking it that it is none any more.
        with suppress(OSError):
            path.unlink()
            for folder in made:
                folder.rmdir()
        lock.release()


@contextmanager
def held_by_first(directory: Path, processes: Processes, otherwise: str = "choose another --name") -> Iterator[None]:
    """`held` by the first of some processes for all of them.

    Args:
        directory: Made if it is missing.
        processes: Those that write into it.
        otherwise: What else to do than wait, if it is in use.

    Raises:
        ValueError: In all of them, if another process holds it.
    """
    with ExitStack() as stack:
        processes.from_first(lambda: stack.enter_context(held(directory, otherwise)))
        yield
