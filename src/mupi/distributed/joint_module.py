"""`JointModule`: a layer that knows whether several processes train it together."""

from itertools import chain
from weakref import WeakKeyDictionary

import torch
from torch import nn

from mupi.distributed.together import Together
from mupi.torch_internals import data_parallel_group, in_backward, in_process_group


class JointModule(nn.Module):
    """A layer whose training depends on more of a batch than the gradient that torch's wrappers average.

    Where `torch.nn.parallel.DistributedDataParallel` or FSDP runs it, it finds their processes by itself; what it
    is to reduce on its own, `mupi.distributed.join` tells it.
    """

    _joined: Together | None = None

    @property
    def joined(self) -> Together | None:
        """The processes that it was joined with; None where it was not."""
        return self._joined

    def together(self) -> Together | None:
        """Who trains it together, as far as is known in this forward pass; None for this process alone.

        The first time its buffers become those of the first process.
        """
        if self._joined is not None:
            return self._joined
        if not in_process_group():
            return None
        group = data_parallel_group(self)
        if group is None:
            # A checkpointed forward pass is run again within the backward pass, where no wrapper is.
            return FOUND.get(self) if in_backward() else None
        known = FOUND.get(self)
        if known is None or known.group is not group:
            known = FOUND[self] = Together(group)
            self._agree(known)
        return known if known.size > 1 else None

    def join(self, together: Together) -> None:
        """Train together from now on: see `mupi.distributed.join`."""
        self._joined = together
        self._agree(together)

    def reduced_here(self) -> list[nn.Parameter]:
        """The parameters whose gradient is complete without a wrapper, once it is joined."""
        return []

    def shared_out(self) -> list[nn.Parameter]:
        """The parameters of which each process has a share, and an optimizer's numbers for that share only."""
        return []

    @torch.no_grad()
    def _agree(self, together: Together) -> None:
        """Have the buffers of the first process."""
        device = next(chain(self.parameters(), self.buffers())).device
        for buffer in self.buffers() if together.size > 1 else ():
            sent = buffer.to(device, copy=True)  # nccl sends none of a CPU's
            together.from_first(sent)
            buffer.copy_(sent)


FOUND: "WeakKeyDictionary[JointModule, Together]" = WeakKeyDictionary()
"""Which processes a wrapper has run a layer in."""
