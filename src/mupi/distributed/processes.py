"""`Processes`: those that go through one training run together, or one alone."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from platform import node
from typing import Any, TypeVar
from zlib import crc32

import torch
import torch.distributed as dist
from torch import Tensor

from mupi.checks import fail
from mupi.distributed.together import Together

R = TypeVar("R")


@dataclass(frozen=True)
class Processes:
    """The processes of one run, of which each takes its part of every batch, and the first one writes and shows.

    All methods are collective; alone they give back what they are given.

    Args:
        together: The processes; None for one alone.
    """

    together: Together | None = None

    @property
    def size(self) -> int:
        """How many there are."""
        return 1 if self.together is None else self.together.size

    @property
    def rank(self) -> int:
        """Which of them this one is."""
        return 0 if self.together is None else self.together.rank

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def rows(self, batch: Tensor) -> Tensor:
        """This process's rows of a batch: runs of them, the first ones longer by one where they must be."""
        return batch if self.together is None else batch[self.together.slice_of(len(batch))]

    def check_batch(self, argument: str, batch_size: int) -> None:
        """Refuse batches of which some processes never get a row.

        Args:
            argument: What errors name.
            batch_size: Rows that go through the network at once, as many in all processes.

        Raises:
            ValueError: If there are fewer rows than processes.
        """
        if batch_size < self.size:
            fail(argument, f"at least {self.size}, a row for each of as many processes", batch_size)

    def share(self, own: int, n: int) -> float:
        """What the mean loss over this process's rows counts in the mean over processes, so that this is over all n."""
        return 1.0 if self.together is None else self.size * own / n

    def summed(self, x: Tensor) -> Tensor:
        """The sum over processes."""
        if self.together is not None:
            x = x.clone(memory_format=torch.contiguous_format)
            dist.all_reduce(x, group=self.together.group)
        return x

    def largest(self, x: float | int) -> float | int:
        """The largest over processes."""
        if self.together is None:
            return x
        found = torch.tensor(x, dtype=torch.float64)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.together.group)
        return float(found)

    def any(self, flag: bool) -> bool:
        """Whether it is so in one of them."""
        return self.largest(flag) > 0 if self.together is not None else flag

    def in_same_memory(self, device: torch.device) -> int:
        """How many of them have their tensors where this one has them."""
        places = self.each(lambda: (node(), str(device)))
        return places.count(places[self.rank])

    def wait(self) -> None:
        """Until all are here."""
        if self.together is not None:
            dist.barrier(group=self.together.group)

    def from_first(self, do: Callable[[], R]) -> R:
        """What the first process gets by doing something; an error that it raises is raised in all.

        Args:
            do: Done in the first one only.
        """
        if self.together is None:
            return do()
        said: list[Any] = [None, None]
        if self.first:
            try:
                said[0] = do()
            except Exception as error:
                said[1] = error
        dist.broadcast_object_list(said, group_src=0, group=self.together.group)
        if said[1] is not None:
            raise said[1]
        return said[0]

    def each(self, do: Callable[[], R]) -> list[R]:
        """What each gets by doing something, in their order; an error that one raises is raised in all."""
        if self.together is None:
            return [do()]
        said: tuple[Any, Exception | None]
        try:
            said = do(), None
        except Exception as error:
            said = None, error
        every: list[Any] = [None] * self.together.size
        dist.all_gather_object(every, said, group=self.together.group)
        for _, error in every:
            if error is not None:
                raise error
        return [found for found, _ in every]

    def agreed(self, do: Callable[[], R]) -> R:
        """What this one gets by doing something; an error that one of them raises is raised in all."""
        found: list[R] = []
        self.each(lambda: found.append(do()))
        return found[0]

    def check_same(self, named: Mapping[str, Any]) -> None:
        """Raise ``ValueError``, in all, unless each has come with the same values.

        Args:
            named: They, by what errors call them; of tensors checksums are compared.
        """
        if self.together is None:
            return
        first, *others = self.each(
            lambda: {name: checksum(value) if isinstance(value, Tensor) else value for name, value in named.items()}
        )
        for rank, other in enumerate(others, 1):
            for name, value in first.items():
                if other[name] != value:
                    fail(name, f"the same in all processes, {value!r}", f"{other[name]!r} in process {rank}")

    def in_first(self, context: Callable[[], AbstractContextManager[Any]]) -> AbstractContextManager[Any]:
        """A context that only the first one enters."""
        return context() if self.first else nullcontext()


def checksum(tensor: Tensor) -> str:
    """Shape, dtype and a checksum of the entries."""
    entries: Any = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)} {crc32(entries):08x}"


ALONE = Processes()
