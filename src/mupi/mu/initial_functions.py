"""f_0 of infinitely wide networks: functions drawn from a Gaussian process, known where they were asked for."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.mu.rows import Rows

JITTER = 1e-10
"""Times the largest variance it is added to all, so that a matrix that is nearly singular can be factorized."""


class InitialFunctions:
    """Independent draws of f ~ GP(0, K), each output by itself, the same function however often it is asked for.

    With K = L Lᵀ of all inputs seen so far f = L z, z ~ N(0, 1); for new inputs L has new rows:
    L_21 = K_21 L_11^{−⊤}, L_22 L_22ᵀ = K_22 − L_21 L_21ᵀ. Time O(N³) for N inputs seen in all.

    Args:
        kernel: K, of inputs; one of networks with outputs at P positions has rows for each of these.
        positions: P, how many positions an input has outputs at.
        outputs: How many outputs there are.
        draws: How many functions.
        generator: Draws z; None for torch's own.
    """

    def __init__(
        self,
        kernel: Callable[[Tensor, Tensor], Tensor],
        positions: int,
        outputs: int,
        draws: int,
        generator: torch.Generator | None,
    ):
        self.kernel, self.positions, self.generator = kernel, positions, generator
        self.rows = Rows()
        self.factor = torch.zeros(0, 0, dtype=torch.float64)
        self.noise = torch.zeros(draws, 0, outputs, dtype=torch.float64)

    def __call__(self, x: Tensor) -> Float[Tensor, "draws columns outputs"]:
        """f(x), of which a column is an input, or one of its positions."""
        before = self.rows.x
        places, new = self.rows.find(x)
        if len(new):
            self._extend(before, new)
        columns = torch.tensor(places)[:, None] * self.positions + torch.arange(self.positions)
        return (self.factor @ self.noise)[:, columns.flatten()]

    def state_dict(self) -> dict[str, Any]:
        """Inputs seen, and what was drawn for them."""
        return {"x": self.rows.x, "factor": self.factor, "noise": self.noise}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.rows = Rows()
        if state["x"] is not None:
            self.rows.find(state["x"])
        self.factor, self.noise = state["factor"], state["noise"]

    @torch.no_grad()
    def _extend(self, before: Tensor | None, new: Tensor) -> None:
        size, (draws, _, outputs) = len(new) * self.positions, self.noise.shape
        own = self.kernel(new.double(), new.double()).double()
        jitter = JITTER * own.diagonal().max() * torch.eye(size, dtype=torch.float64)
        left = torch.zeros(size, 0, dtype=torch.float64)
        if before is not None:
            across = self.kernel(before.double(), new.double()).double()
            left = torch.linalg.solve_triangular(self.factor, across, upper=False).T
        right = torch.linalg.cholesky(own - left @ left.T + jitter)
        self.factor = torch.cat([torch.nn.functional.pad(self.factor, (0, size)), torch.cat([left, right], 1)])
        z = torch.randn(draws, size, outputs, dtype=torch.float64, generator=self.generator)
        self.noise = torch.cat([self.noise, z], 1)
