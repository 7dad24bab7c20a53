"""Inputs by their numbers: which rows were seen before, and where."""

import torch
from torch import Tensor


class Rows:
    """Different inputs, in the order in which they were seen."""

    def __init__(self):
        self.x: Tensor | None = None
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def find(self, x: Tensor) -> tuple[list[int], Tensor]:
        """The place of each row, and the rows that are new, which go behind those that are known; copies are kept.

        Args:
            x: Inputs (batch, *axes).
        """
        places, new = [], []
        for i, row in enumerate(x.detach().cpu() + 0):  # −0 is 0
            key = row.numpy().tobytes()
            if key not in self._places:
                self._places[key] = len(self._places)
                new.append(i)
            places.append(self._places[key])
        fresh = x.detach()[new]
        self.x = fresh.clone() if self.x is None else torch.cat([self.x, fresh])
        return places, fresh
