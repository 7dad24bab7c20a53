"""What a function computes on its way, and whether it does so where it can be seen."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class Seen(TorchDispatchMode):
    """Keeps all results of torch operations that have a row for each point, in rows, columns, or one below the other.

    Attributes:
        points: How many points are looked at.
        results: Results as rows, by the number of the operation and the number among its results.
        operations: How many there were.

    Args:
        points: How many points are looked at.
    """

    def __init__(self, points: int):
        super().__init__()
        self.points, self.operations = points, 0
        self.results: dict[tuple[int, int], Float[Tensor, "points columns"]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation, and keep a copy: another may change it in place."""
        result = func(*args, **(kwargs or {}))
        for number, x in enumerate(result if isinstance(result, tuple | list) else (result,)):
            # What is empty has any values.
            if isinstance(x, Tensor) and "empty" not in func.__name__ and (axis := self._axis(x)) is not None:
                rows = x.detach().movedim(axis, 0).reshape(self.points, -1)
                self.results[self.operations, number] = rows.to(torch.float64, copy=True)
        self.operations += 1
        return result

    def _axis(self, x: Tensor) -> int | None:
        """Along which points are; None if they are along none."""
        exact = (axis for axis, size in enumerate(x.shape) if size == self.points)
        several = (axis for axis, size in enumerate(x.shape) if size and size % self.points == 0)
        return next(exact, next(several, None))


class _TakenOut(TorchFunctionMode):
    """Counts the numbers that leave torch, for NumPy or for Python."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Run the function."""
        if getattr(func, "__name__", "") in WAYS_OUT and args and isinstance(args[0], Tensor):
            self.count += args[0].numel()
        return func(*args, **(kwargs or {}))


WAYS_OUT = {"numpy", "__array__", "tolist", "item", "__float__", "__int__"}
"""Methods of tensors."""


def takes_numbers_out(f: Callable, blocks: list) -> bool:
    """Whether a function hands as many numbers as it gets rows to NumPy or Python, where `Seen` does not see them."""
    with _TakenOut() as out:
        f(*blocks)
    return out.count >= max(len(x) for x in blocks if isinstance(x, Tensor) and x.ndim)
