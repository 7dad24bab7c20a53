"""Processes that train one network together, and what their layers tell each other: rows, and sums over rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail


@dataclass(frozen=True, eq=False)
class Together:
    """Processes of which each has some rows of every batch; gradients are averaged over them, as torch's wrappers do.

    All methods are collective: each process calls them, in the same order. Processes may have unequally many rows.

    Args:
        group: A process group of torch.
    """

    group: Any

    @property
    def size(self) -> int:
        """How many processes there are."""
        return dist.get_world_size(self.group)

    @property
    def rank(self) -> int:
        """Which of them this one is."""
        return dist.get_rank(self.group)

    def counts(self, rows: Tensor) -> list[int]:
        """How many rows each process has; it waits for an accelerator.

        Args:
            rows: Those of this one.
        """
        own = torch.tensor([len(rows)], device=rows.device)
        every = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(every, own, group=self.group)
        return torch.cat(every).tolist()

    def rows(self, own: Float[Tensor, "n d"], counts: Sequence[int]) -> Float[Tensor, "rows d"]:
        """The rows of all processes, in their order: bit for bit the same in each.

        Args:
            own: Those of this one.
            counts: How many each has.
        """
        most, own = max(counts), own.detach()
        if not most:
            return own[:0]
        if sum(counts) == most:  # one has them all
            of = list(counts).index(most)
            return self.from_one(own if self.rank == of else own.new_empty(most, *own.shape[1:]), of)
        own = _padded(own, most)
        every = [torch.empty_like(own) for _ in counts]
        dist.all_gather(every, own, group=self.group)
        return torch.cat([rows[:count] for rows, count in zip(every, counts, strict=True)])

    def last_rows(
        self, own: Sequence[Float[Tensor, "n _"]], counts: Sequence[int], most: int
    ) -> list[Float[Tensor, "rows _"]]:
        """Of several columns of rows, the last ``most`` rows of all; no process sends others.

        Args:
            own: Columns of this process.
            counts: How many rows each process has.
            most: How many are asked for.
        """
        after = [sum(counts[rank + 1 :]) for rank in range(len(counts))]
        sent = [min(count, max(0, most - later)) for count, later in zip(counts, after, strict=True)]
        joint = torch.cat([x[len(x) - sent[self.rank] :] for x in own], 1)
        return list(self.rows(joint, sent).split([x.shape[1] for x in own], 1))

    def in_first(self, own: Float[Tensor, "n ..."], counts: Sequence[int]) -> Float[Tensor, "rows ..."]:
        """As `rows`, in the first process only, which is spared the memory in all others: they have none of them."""
        most = max(counts)
        own = _padded(own.detach(), most)
        every = [torch.empty_like(own) for _ in counts] if self.rank == 0 else None
        dist.gather(own, every, group=self.group, group_dst=0)
        if every is None:
            return own[:0]
        return torch.cat([rows[:count] for rows, count in zip(every, counts, strict=True)])

    def own_sum(self, shares: Float[Tensor, "rows d"], counts: Sequence[int]) -> Float[Tensor, "n d"]:
        """The sum over processes of shares in all rows, of which each gets its own rows.

        Args:
            shares: This process's shares in the rows of all.
            counts: How many rows each process has.
        """
        most, own = max(counts), counts[self.rank]
        if not most:
            return shares
        parts = [_padded(part, most) for part in shares.split(list(counts))]
        out = torch.empty_like(parts[0])
        dist.reduce_scatter(out, parts, group=self.group)
        return out[:own]

    def mean(self, own: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
        """The mean over the rows of all, which is differentiated through in all.

        Args:
            own: Those of this one.
        """
        sums = torch.cat([own.sum(0), own.new_tensor([len(own)])])
        total = Summed.apply(sums, self.group)
        assert isinstance(total, Tensor)
        return total[:-1] / total[-1]

    def from_first(self, x: Tensor) -> None:
        """Give a tensor the numbers that the first process has, in place."""
        sent = self.from_one(x, 0)
        if sent is not x:
            x.copy_(sent)

    def from_one(self, x: Tensor, rank: int) -> Tensor:
        """The numbers that one process has, in all of them.

        Args:
            x: They, there; elsewhere a tensor like it, which may be written to.
            rank: Of the one.
        """
        sent = x.contiguous()  # others may have theirs in another order, and what is sent is memory
        dist.broadcast(sent, group=self.group, group_src=rank)
        return sent

    def shares(self, n: int) -> list[int]:
        """How many of n things each process has: n/p, the first ones one more where p does not divide n."""
        size, longer = divmod(n, self.size)
        return [size + (rank < longer) for rank in range(self.size)]

    def slice_of(self, n: int) -> slice:
        """This process's share of n things: the run of them after those of the processes before it."""
        shares = self.shares(n)
        start = sum(shares[: self.rank])
        return slice(start, start + shares[self.rank])

    def __deepcopy__(self, memo: dict) -> "Together":
        """The same: a copy of a network is trained by the same processes."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refused: a process group is of this program's run.

        Raises:
            ValueError: Always.
        """
        fail(
            "mupi.distributed.join(net)",
            "of a network that is not pickled afterwards",
            "one that is",
            "save mupi.distributed.state_dict(net), called in all processes",
        )


class Summed(torch.autograd.Function):
    """The sum over processes, and of its gradient the sum too: as torch's own, which its versions move about."""

    @staticmethod
    def forward(ctx, x: Tensor, group: Any) -> Tensor:
        """Σ x."""
        ctx.group = group
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx, d_total: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Σ ∂loss/∂total."""
        d_x = d_total.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(d_x, group=ctx.group)
        return d_x, None


def _padded(rows: Float[Tensor, "n d"], most: int) -> Float[Tensor, "most d"]:
    """With rows of zeros at the end."""
    if len(rows) == most:
        return rows.contiguous()
    out = rows.new_zeros(most, *rows.shape[1:])
    out[: len(rows)] = rows
    return out
