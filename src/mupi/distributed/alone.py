"""What one of several connected processes does by itself, with networks that no other trains."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch.distributed as dist

from mupi.torch_internals import in_process_group

_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def by_itself() -> Iterator[None]:
    """Inside, networks compute as they do in one process: a piece of work that others have no part in."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def others_may_train() -> bool:
    """Whether other processes may train the network that this one trains."""
    return in_process_group() and dist.get_world_size() > 1 and not _alone.get()
