"""Entries of samples, computed all together and a few rows at a time: one pass over memory instead of one a line.

With S samples entries are S² numbers, far more than a processor's cache holds. Adam's mean, mean square, quotient and
sum with the earlier steps, each line for itself, would go through them two dozen times; row by row they stay in the
cache from line to line, and only what is wanted is written.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

AT_ONCE = 2**17
"""How many entries of each line are computed at a time: half a megabyte or one."""


class Deferred:
    """f of entries and numbers, entry by entry, which `settle` computes.

    Args:
        f: The function; it gets rows of the entries.
        arguments: Deferred entries, tensors of entries and numbers.

    Attributes:
        shape: Rows and columns.
        dtype: Of the entries.
        value: All rows, once they are computed.
        finite: Whether all are finite.
    """

    value: Tensor | None = None
    finite: bool = True

    def __init__(self, f: Callable[..., Tensor], arguments: tuple[Any, ...]):
        self.f, self.arguments = f, arguments
        like = next(x for x in arguments if isinstance(x, Deferred | Tensor))
        self.shape, self.dtype = tuple(like.shape), like.dtype

    def rows(self, part: slice, known: dict["Deferred", Tensor]) -> Tensor:
        """Some rows, from those of the arguments."""
        return self.f(*(_rows(x, part, known) for x in self.arguments))

    def __mul__(self, number: Tensor | float) -> "Deferred":
        return Deferred(torch.mul, (self, float(number)))


class Products(Deferred):
    """d xᵀ, or of each row as many columns as were asked for: rows in groups of so many, each with the next one's x.

    Args:
        d: Of the rows.
        x: Of the columns.
        columns: How many, a divisor of the number of rows; None for all.
    """

    def __init__(self, d: Tensor, x: Tensor, columns: int | None = None):
        super().__init__(torch.matmul, (d, x))
        self.shape = len(d), columns or len(x)

    def rows(self, part: slice, known: dict[Deferred, Tensor]) -> Tensor:
        """Some rows."""
        (d, x), size = self.arguments, self.shape[1]
        start, stop, _ = part.indices(self.shape[0])
        firsts = range(start // size * size, stop, size)
        parts = [d[max(start, i) : min(stop, i + size)] @ next_group(x, i, size).T for i in firsts]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def next_group(x: Tensor, first: int, size: int) -> Tensor:
    """The rows after those from first to first + size, as many, the first ones after the last."""
    after = (first + size) % len(x)
    return x[after : after + size]


def times_entries(q: Tensor, x: Tensor, transposed: bool) -> Tensor:
    """Q x/n, or Qᵀx/n, of entries with as many columns as `Products` has: means over that many samples."""
    size = q.shape[1]
    firsts = range(0, len(q), size)
    if not transposed:
        return torch.cat([q[i : i + size] @ next_group(x, i, size) for i in firsts]) / size
    # Group i has entries with the group after it, so what is asked of the first group is in the last.
    made = [q[i : i + size].T @ x[i : i + size] for i in firsts]
    return torch.cat([made[-1], *made[:-1]]) / size


def applied(f: Callable[..., Tensor], *arguments: Any) -> Any:
    """f of entries, at once if none of them is deferred."""
    return Deferred(f, arguments) if any(isinstance(x, Deferred) for x in arguments) else f(*arguments)


def settle(wanted: Iterable[Deferred]) -> None:
    """Compute all rows of several at once; of what these are functions of, nothing is written."""
    roots = [x for x in dict.fromkeys(wanted) if x.value is None]
    if not roots:
        return
    order: dict[Deferred, None] = {}
    for root in roots:
        _before(root, order)
    values = [torch.empty(root.shape, dtype=root.dtype) for root in roots]
    rows, columns = roots[0].shape
    step = max(1, AT_ONCE // columns)
    sums = [torch.zeros((), dtype=root.dtype) for root in roots]
    for start in range(0, rows, step):
        part, known = slice(start, start + step), {}
        for x in order:
            known[x] = x.rows(part, known)
        for place, root in enumerate(roots):
            values[place][part] = known[root]
            # 0 · ∞ and 0 · NaN are NaN: one pass, where isfinite takes four.
            sums[place] += 0 * known[root].sum()
    for root, value, total in zip(roots, values, sums, strict=True):
        root.value, root.finite = value, bool(total == 0)
        root.arguments = ()


def _before(x: Deferred, order: dict[Deferred, None]) -> None:
    """Put what has to be computed into an order in which arguments come first."""
    if x.value is None and x not in order:
        for argument in x.arguments:
            if isinstance(argument, Deferred):
                _before(argument, order)
        order[x] = None


def _rows(x: Any, part: slice, known: dict[Deferred, Tensor]) -> Any:
    if isinstance(x, Deferred):
        return known[x] if x.value is None else x.value[part]
    return x[part] if isinstance(x, Tensor) and x.ndim else x
