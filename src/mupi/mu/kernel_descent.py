"""Training in the kernel regime: gradient descent of f with the tangent kernel."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.mu.initial_functions import InitialFunctions
from mupi.mu.losses import Loss
from mupi.mu.optimizers import SGD
from mupi.mu.rows import Rows


class KernelDescent:
    """f_t(x) = f_0(x) + Σ_i Θ(x, x_i) A_i over all inputs of steps so far (Jacot et al. 2018; Yang & Hu 2021).

    SGD's step moves A at the inputs of its batch by −η χ, χ = ∂L/∂f there; with momentum v ← μ v + χ, A ← A − η v, or
    A ← A − η (χ + μ v) if it is Nesterov's. A column is an input, or one of its positions where f has outputs at these.

    Args:
        kernel: Θ, the tangent kernel of training inputs.
        shape: Of outputs of one input, (*positions, outputs).
        optimizer: Its rate η and momentum μ; multipliers are in Θ.
        start: f_0, of several functions; None for f_0 = 0.
        dtype: Of outputs, as the loss gets them.
    """

    def __init__(
        self,
        kernel: Callable[[Tensor, Tensor], Tensor],
        shape: tuple[int, ...],
        optimizer: SGD,
        start: InitialFunctions | None,
        dtype: torch.dtype,
    ):
        self.kernel, self.shape, self.optimizer, self.start, self.dtype = kernel, shape, optimizer, start, dtype
        self.positions = torch.Size(shape[:-1]).numel()
        self.rows = Rows()
        draws = 1 if start is None else len(start.noise)
        self.A: Float[Tensor, "draws columns outputs"] = torch.zeros(draws, 0, shape[-1], dtype=torch.float64)
        self.velocity = self.A
        self._kept: list[tuple[Tensor, int, Tensor]] = []

    def outputs(self, x: Tensor) -> Float[Tensor, "draws batch *axes"]:
        """f_t(x); one draw if f_0 = 0."""
        f = torch.zeros(len(self.A), len(x) * self.positions, self.shape[-1], dtype=torch.float64)
        if self.start is not None:
            f = f + self.start(x)
        if self.rows.x is not None:
            f = f + self._across(x) @ self.A
        return f.unflatten(1, (len(x), *self.shape[:-1])).to(self.dtype)

    def step(self, x: Tensor, y: Tensor, loss: Loss) -> Float[Tensor, "draws batch *axes"]:
        """Take a step; returns the outputs before it.

        Raises:
            ValueError: If f, or the loss's gradient, is no number any more.
        """
        places, new = self.rows.find(x)
        more = (0, 0, 0, len(new) * self.positions)
        self.A, self.velocity = (torch.nn.functional.pad(v, more) for v in (self.A, self.velocity))
        f = self.outputs(x)
        if not f.isfinite().all():
            fail("MuLimit.fit: f in the kernel regime", "finite", "NaN or infinity", "take a smaller lr")
        χ = torch.stack([torch.func.grad(loss)(one, y) for one in f]).double().flatten(1, -2)
        if not χ.isfinite().all():
            fail("MuLimit(loss=...)", "of a finite gradient", "NaN or infinity", "mind where it is not smooth")
        columns = torch.tensor(places)[:, None] * self.positions + torch.arange(self.positions)
        gradient = torch.zeros_like(self.A).index_add(1, columns.flatten(), χ)
        velocity, μ, η = gradient + self.optimizer.momentum * self.velocity, self.optimizer.momentum, self.optimizer.lr
        along = gradient + μ * velocity if self.optimizer.nesterov else velocity
        self.A, self.velocity = self.A - η * along, velocity
        return f

    def state_dict(self) -> dict[str, Any]:
        """Everything from which training goes on."""
        start = None if self.start is None else self.start.state_dict()
        return {"x": self.rows.x, "A": self.A, "velocity": self.velocity, "start": start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave.

        Raises:
            ValueError: If that is of another number of draws.
        """
        if len(state["A"]) != len(self.A):
            fail("load_state_dict(state)", f"of {len(self.A)} functions f_0", len(state["A"]))
        self.rows = Rows()
        if state["x"] is not None:
            self.rows.find(state["x"])
        self.A, self.velocity, self._kept = state["A"], state["velocity"], []
        if self.start is not None:
            self.start.load_state_dict(state["start"])

    def _across(self, x: Tensor) -> Float[Tensor, "columns known"]:
        """Θ of inputs and those of steps so far; two are kept, of a training's inputs and those that it follows."""
        assert self.rows.x is not None
        for known, count, Θ in self._kept:
            if count == len(self.rows) and known.shape == x.shape and torch.equal(known, x):
                return Θ
        with torch.no_grad():
            Θ = self.kernel(x.double(), self.rows.x.double()).double()
        self._kept = [*self._kept[-1:], (x.clone(), len(self.rows), Θ)]
        return Θ
