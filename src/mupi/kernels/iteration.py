"""Preconditioned conjugate gradients on several right-hand sides: scipy's, with a measured residual, and a display."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import Progress
from torch import Tensor

from mupi.checks import fail
from mupi.kernels.preconditioner import Preconditioner
from mupi.kernels.ridge_system import OWNER, NotPositiveDefiniteError
from mupi.kernels.tiled_system import TiledSystem

SAFETY = 0.9
"""Of the tolerance, at which iterations end: the residual that they carry along drifts from the true one."""

Listener = Callable[[Tensor], None]


@dataclass(frozen=True)
class Reached:
    """Where iterations ended.

    Attributes:
        x: The solution.
        rest: b − A x, measured.
        rounded: What `TiledSystem.rest` says of roundings.
        size: Norm of the rest.
        iterations: How many there were.
    """

    x: Float[Tensor, "n columns"]
    rest: Float[Tensor, "n columns"]
    rounded: Float[Tensor, "2 columns"]
    size: float
    iterations: int


class Display:
    """One line of a progress display: tiles of a product, iterations, and the residual.

    Args:
        progress: The display; None for none.
        description: What the line begins with.
        tiles: Steps of a product.
        scale: The unit of the residuals that are shown.
    """

    def __init__(self, progress: Progress | None, description: str, tiles: int, scale: float):
        self.progress, self.scale = progress, scale
        self.task = None if progress is None else progress.add_task(description, total=tiles, status="")

    def step(self) -> None:
        """A tile is done."""
        if self.progress is not None and self.task is not None:
            self.progress.advance(self.task)

    def say(self, iteration: int, size: float) -> None:
        """A product begins."""
        if self.progress is not None and self.task is not None:
            status = f"iteration {iteration}, residual {size / self.scale:.1e}"
            self.progress.update(self.task, completed=0, status=status)


def iterate(
    system: TiledSystem,
    precondition: Preconditioner | None,
    b: Float[Tensor, "n columns"],
    tolerance: float,
    iterations: int,
    display: Display,
    start: Float[Tensor, "n columns"] | None = None,
    listener: Listener | None = None,
) -> Reached:
    """x with ‖b − A x‖ ≤ tolerance, or as near as iterations came.

    Conjugate gradients begin anew from what they have found as long as the measured residual, which rounding keeps from
    following the one that they carry along, halves at least.

    Args:
        system: The positive definite A.
        precondition: About its inverse; None for none.
        b: Right-hand sides.
        tolerance: For the norm of all columns together.
        iterations: How many there may be.
        display: Where it is shown.
        start: Where to begin, if that is nearer than 0.
        listener: Told x after each iteration.

    Raises:
        NotPositiveDefiniteError: If some xᵀ A x is not positive.
    """
    return system.led(lambda: _iterate(system, precondition, b, tolerance, iterations, display, start, listener))


def _iterate(
    system: TiledSystem,
    precondition: Preconditioner | None,
    b: Float[Tensor, "n columns"],
    tolerance: float,
    iterations: int,
    display: Display,
    start: Float[Tensor, "n columns"] | None,
    listener: Listener | None,
) -> Reached:
    """`iterate`, in the process that leads."""
    x, size = torch.zeros_like(b), float(torch.linalg.vector_norm(b))
    at = Reached(x, b, b.new_zeros(2, b.shape[1]), size, 0)
    if start is not None:
        display.say(0, size)
        from_start = _measured(system, b, start, 0, display)
        at = from_start if from_start.size < size else at
    while at.size > tolerance and at.iterations < iterations:
        count = iterations - at.iterations
        change, taken = _conjugate_gradients(system, precondition, at, SAFETY * tolerance, count, display, listener)
        base, at = at, _measured(system, b, at.x + change, at.iterations + taken, display)
        if at.size > base.size / 2:
            return replace(min(base, at, key=lambda reached: reached.size), iterations=at.iterations)
    return at


def _conjugate_gradients(
    system: TiledSystem,
    precondition: Preconditioner | None,
    base: Reached,
    tolerance: float,
    iterations: int,
    display: Display,
    listener: Listener | None,
) -> tuple[Float[Tensor, "n columns"], int]:
    """About A⁻¹ times what is left, all columns as one vector; and the iterations that it took."""
    taken, size = base.iterations, base.size

    def product(p: np.ndarray) -> np.ndarray:
        display.say(taken + 1, size)
        q = system.product(_columns(p, base.rest), display.step).cpu().numpy().ravel()
        if not p @ q > 0:
            fail(
                f"{OWNER}(ridge=...)",
                f"large enough that k(X, X) + λI is positive definite in {system.X.dtype}",
                f"one at which some xᵀ (k(X, X) + λI) x is {p @ q:.3g}",
                "use a larger ridge" + (", or X.double()" if system.X.dtype != torch.float64 else ""),
                error=NotPositiveDefiniteError,
            )
        return q

    def preconditioned(r: np.ndarray) -> np.ndarray:
        nonlocal size
        size = float(np.linalg.norm(r))
        return r if precondition is None else precondition(_columns(r, base.rest)).cpu().numpy().ravel()

    def listen(found: np.ndarray) -> None:
        nonlocal taken
        taken += 1
        if listener is not None:
            listener(base.x + _columns(found, base.rest))

    from scipy.sparse.linalg import LinearOperator, cg  # would slow `import mupi` down

    operator: Any = LinearOperator  # of which a checker knows the arguments of subclasses only
    of_system, of_near = (
        operator((base.rest.numel(),) * 2, matvec=matvec, dtype=np.float64) for matvec in (product, preconditioned)
    )
    found, _ = cg(
        of_system, base.rest.cpu().numpy().ravel(), rtol=0.0, atol=tolerance, maxiter=iterations, M=of_near,
        callback=listen,
    )  # fmt: skip
    display.say(taken, size)
    return _columns(found, base.rest), taken - base.iterations


def _measured(system: TiledSystem, b: Tensor, x: Tensor, iterations: int, display: Display) -> Reached:
    rest, rounded = system.rest(b, x, display.step)
    return Reached(x, rest, rounded, float(torch.linalg.vector_norm(rest)), iterations)


def _columns(vector: np.ndarray, like: Tensor) -> Tensor:
    """One vector as columns."""
    return torch.from_numpy(vector).reshape(like.shape).to(like.device)
