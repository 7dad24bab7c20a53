"""What the next step of an optimizer, whichever it is, makes of a parameter's gradient."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from mupi.compilers import outside_graphs
from mupi.optim.sgd import SGD
from mupi.parameters import FactoredParameter
from mupi.torch_internals import memory_of, version


@dataclass(frozen=True)
class TakenStep:
    """A step that an optimizer took: w ← w − size·gradient, and what else it did.

    Attributes:
        optimizer: The name of its class.
        size: What it multiplied the gradient with, as the backward passes had left it: before it was clipped, or a
            `torch.amp.GradScaler` unscaled it.
        along: The cosine of the angle between what it changed and −size·gradient. 1 for SGD, whose momentum and weight
            decay give the gradient of each step the same part in all that follows.
    """

    optimizer: str
    size: Tensor | float
    along: Tensor | float


class StepWatch:
    """Waits for the next step of a parameter.

    `mupi.SGD` and `torch.optim.SGD` say what they multiply gradients with; what was done to a gradient between its
    backward pass and the step is measured by its norm. Of any other optimizer's step it measures the part along the
    gradient, for which the parameter is copied before the step. A mean over several processes is not what one backward
    pass accumulates: there only `mupi.SGD` is understood. A step that is no `torch.optim.Optimizer`'s goes unseen.
    """

    def __init__(self):
        self.taken: TakenStep | None = None
        self._parameter: Tensor | None = None
        self._hook: Any = None
        self._norm: Tensor | None = None
        self._start: tuple[Tensor | None, Tensor, Tensor] | None = None
        self._arrived: tuple[int, int] | None = None  # what `_state` said of the gradient once it was accumulated
        self._in_closure = True  # whether the step began before there was a gradient
        self._alone = True
        self._untouched = False  # whether nothing changes gradients between backward passes and steps of mupi.SGD

    def wait(self, parameter: Tensor, alone: bool) -> None:
        """For the next step, after a backward pass that is about to come, or has.

        Args:
            parameter: What is stepped.
            alone: Whether no other process trains it: what a backward pass accumulates is then what is stepped along,
                and not one part of a mean.
        """
        if not HOOKS:
            HOOKS.append(register_optimizer_step_pre_hook(_before_step))
            HOOKS.append(register_optimizer_step_post_hook(_after_step))
        if self._parameter is not parameter:
            self._forget()
            self._parameter = parameter
        if self._hook is None and not isinstance(parameter, FactoredParameter):
            self._hook = parameter.register_post_accumulate_grad_hook(self._arrive)
        self._alone, self._arrived, self._in_closure = alone, None, True
        WAITING[id(self)] = self

    def take(self) -> TakenStep | None:
        """What has been seen since this was last asked, None for no step; then no step is waited for any more."""
        taken, self.taken, self._start, self._arrived = self.taken, None, None, None
        WAITING.pop(id(self), None)
        return taken

    @property
    def dropped(self) -> bool:
        """Whether there was a gradient, and it is gone without a step."""
        p = self._parameter
        if self._arrived is None or self.taken is not None or p is None:
            return False
        # Zeroed in place it is gone as well; an accelerator is waited for only where somebody has changed it.
        return p.grad is None or (self._arrived != _state(p.grad) and not bool(p.grad.any()))

    def before(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep what is to be compared with after a step of the optimizer."""
        p = self._parameter
        if p is None or p.grad is None:
            return
        self._in_closure, ours = False, isinstance(optimizer, SGD)
        if not self._alone or (ours and isinstance(p, FactoredParameter)):
            return
        if ours and self._untouched:
            if self._arrived != _state(p.grad):
                self._untouched, self._arrived = False, None  # from the next on they are measured
            return
        kept = None if ours or type(optimizer) is torch.optim.SGD else p.detach().clone()
        self._start = kept, p.grad, _norm(p.grad)

    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """Say what the step was, if it can be known."""
        p, name = self._parameter, type(optimizer).__name__
        assert p is not None
        if isinstance(optimizer, SGD):
            self.taken = self._after_ours(optimizer.step_size(p), name)
        else:
            self._untouched = False
            if self._start is not None and self._norm is not None:
                start, gradient, norm = self._start
                left = _quotient(norm, self._norm)
                if start is None:
                    group = next(group for group in optimizer.param_groups if any(p is q for q in group["params"]))
                    self.taken = TakenStep(name, left * (-group["lr"] if group["maximize"] else group["lr"]), 1.0)
                else:
                    change = start.sub_(p.detach())
                    part = (change * (gradient / norm)).sum(dtype=norm.dtype)
                    size, along = part / self._norm, part / _norm(change)
                    # 0/0 where there was no gradient, or no change
                    self.taken = TakenStep(name, torch.nan_to_num(size, 0.0), torch.nan_to_num(along, 1.0))
        self._start = None

    def _after_ours(self, size: Tensor | float | None, name: str) -> TakenStep | None:
        """Of a step of `mupi.SGD`, which knows how it clips, and not who has scaled or clipped before."""
        p = self._parameter
        if size is None:
            return None
        if self._untouched:
            return TakenStep(name, size, 1.0)
        if self._start is None:
            known = isinstance(p, FactoredParameter) or not self._alone or self._in_closure
            return TakenStep(name, size, 1.0) if known else None
        if self._norm is None:
            return None
        left = _quotient(self._start[2], self._norm)
        # A pass over each gradient is saved where nobody touches them. Who multiplies by 1 touches them too.
        self._untouched = self._arrived == _state(self._start[1]) and bool(left == 1)
        return TakenStep(name, left * size, 1.0)

    def _arrive(self, parameter: Tensor) -> None:
        """Once a backward pass has accumulated a gradient, and nothing has clipped it."""
        if parameter.grad is not None:
            self._arrived = _state(parameter.grad)
            self._norm = _norm(parameter.grad) if self._alone and not self._untouched else None

    def _forget(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._norm = self._start = self.taken = self._arrived = None
        self._untouched = False

    def __reduce__(self) -> tuple:
        """A copy waits for steps of its own."""
        return type(self), ()


WAITING: "WeakValueDictionary[int, StepWatch]" = WeakValueDictionary()
"""Those who have seen a backward pass and no step yet, by their id."""

HOOKS: list[Any] = []
"""Two of all optimizers of the process, once there is someone who waits."""


def _waiting_for(optimizer: torch.optim.Optimizer) -> list[StepWatch]:
    """Those who wait for one of the optimizer's parameters."""
    if not WAITING or (torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()):
        return []  # what a graph records has not happened: its numbers are not there yet
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    watches = [reference() for reference in WAITING.valuerefs()]  # a list, as other threads may add to them
    return [watch for watch in watches if watch is not None and id(watch._parameter) in own]


@outside_graphs
@torch.no_grad()
def _before_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    for watch in _waiting_for(optimizer):
        watch.before(optimizer)


@outside_graphs
@torch.no_grad()
def _after_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    for watch in _waiting_for(optimizer):
        watch.after(optimizer)


def _state(gradient: Tensor) -> tuple[int, int]:
    """What differs once somebody has changed a gradient, or put another in its place."""
    return memory_of(gradient), version(gradient)


def _quotient(after: Tensor, before: Tensor) -> Tensor:
    """What is left of a gradient's norm; 1 of one that is 0."""
    return torch.where(before > 0, after / before, 1.0)


def _norm(x: Tensor) -> Tensor:
    """In float64, in which squares of float32 do not overflow, nor do quotients of gradients scaled by 2^16."""
    return torch.linalg.vector_norm(x, dtype=torch.promote_types(x.dtype, torch.float64))
