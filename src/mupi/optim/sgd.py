"""SGD with clipping, weight decay and momentum, for ordinary parameters and for atoms."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, is_eager, non_negative
from mupi.distributed.sharded import unsharded
from mupi.optim.clipping import bad_entries, clip_factor, finiteness, gradient_norm, joint_norm
from mupi.parameters.factored import FactoredGradient, FactoredParameter, Step


@takes_numpy
class SGD(torch.optim.Optimizer):
    """Stochastic gradient descent that also drives `mupi.Atoms`.

    With d the clipped gradient plus weight_decay·w:  v ← momentum·v + d,  w ← w − lr·v. On ordinary parameters this
    is `torch.nn.utils.clip_grad_norm_` followed by `torch.optim.SGD`. On a list of atoms w = Σ_m c_m a_m κ(b_m, ·)
    the same step is exact: the gradient is the list of atoms (δ_i, g_i) of the backward pass, its norm is
    (Σ_ij δ_i·δ_j κ(g_i, g_j))^{1/2}, and the velocity v lives on the coefficients.

    A step consumes the gradients: afterwards every ``grad`` is None, so a second step without a new backward pass
    changes nothing. A NaN or an infinity in any gradient is refused before anything has changed (but while a CUDA
    graph records or a compiler traces, where Python sees no values); this waits once a step for an accelerator.

    >>> net = mupi.PiMLP(64, 10, rank=20)
    >>> optimizer = mupi.SGD(net.parameter_groups(lr=0.5, last=2.0), clip=0.5, momentum=0.9)
    >>> net(torch.randn(3, 64)).square().sum().backward()
    >>> optimizer.step()  # and every grad is None again

    Args:
        params: Parameters or groups, best from ``net.parameter_groups(...)``.
        lr: Learning rate η of the groups that name none.
        clip: Largest gradient norm; None for no clipping. Each group holds it under ``"clip"``, where a schedule
            may scale it along with ``"lr"``.
        clip_jointly: Whether one norm of all parameters is clipped (by the first group's ``"clip"``), rather than
            each parameter's own.
        momentum: Momentum μ ≥ 0.
        weight_decay: Weight decay of the groups that name none.

    Raises:
        ValueError: For a negative or non-finite rate, decay, momentum or clip.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1.0,
        *,
        clip: float | None = None,
        clip_jointly: bool = False,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ):
        # All in the groups, which a state dict carries.
        defaults = dict(lr=lr, clip=clip, clip_jointly=clip_jointly, momentum=momentum, weight_decay=weight_decay)
        super().__init__(params, defaults)

    _sizes: Mapping[Tensor, Tensor | float] = MappingProxyType({})

    def step_size(self, parameter: Tensor) -> Tensor | float | None:
        """What the last step multiplied a parameter's gradient with: lr, times the clipping factor if it was clipped.

        None where the last step did not move it, or there was none since the optimiser was made, loaded or copied.
        """
        return self._sizes.get(parameter)

    @property
    def clip_jointly(self) -> bool:
        """Whether one norm of all parameters is clipped."""
        return self.param_groups[0]["clip_jointly"] and self.param_groups[0]["clip"] is not None

    def add_param_group(self, param_group: dict) -> None:
        """As `torch.optim.Optimizer.add_param_group`, with the checks of this class."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group.get("family", "SGDLike") != "SGDLike":
            fail("SGD(params)", "of groups whose rates are for SGD", f"groups for {group['family']}")
        for name in ("lr", "momentum", "weight_decay"):
            non_negative(f"SGD({name}=...)", group[name])
        if group["clip"] is not None:
            non_negative("SGD(clip=...)", group["clip"])
            if group["clip"] == 0:
                fail("SGD(clip=...)", "a number > 0, or None", 0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step; ``closure``, if given, recomputes and returns the loss.

        Raises:
            FloatingPointError: If a gradient has a NaN or an infinity, or a norm to clip by is none of its dtype's
                numbers; the parameters, their gradients and the optimiser are as before.
            ValueError: If a group's rate, decay, momentum or clip has been set to what is no finite number.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            _check_numbers(group)
        moving = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        # All norms before the first parameter moves.
        norms = self._norms(moving)
        if all(is_eager(p) for _, p in moving):
            _refuse_bad_gradients(moving, norms)
        clips = [(self.param_groups[0] if self.clip_jointly else group)["clip"] for group, _ in moving]
        factors = [None if n is None else clip_factor(n, clip) for n, clip in zip(norms, clips, strict=True)]
        for (group, p), factor in zip(moving, factors, strict=True):
            step = Step(group["lr"], group["weight_decay"], group["momentum"], factor)
            if isinstance(p, FactoredParameter) and isinstance(p.grad, FactoredGradient):
                p.descend(*p.grad.factors(), step, self.state[p])
            else:
                _descend(p, step, self.state[p])
            p.grad = None
        self._sizes = {
            p: group["lr"] if factor is None else group["lr"] * unsharded(factor)
            for (group, p), factor in zip(moving, factors, strict=True)
        }
        return loss

    def _norms(self, moving: Sequence[tuple[dict, Tensor]]) -> list[Float[Tensor, ""] | None]:
        """The norm that each parameter's gradient is clipped by; None for those that are not clipped."""
        if self.clip_jointly:
            return [joint_norm(p for _, p in moving)] * len(moving)
        return [None if group["clip"] is None else gradient_norm(p) for group, p in moving]

    def __setstate__(self, state: dict) -> None:
        """As of torch; states of earlier versions do not say how they were clipped."""
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("clip_jointly", self.defaults["clip_jointly"])


def _check_numbers(group: dict) -> None:
    """Refuse what a schedule, or a loaded state, may have made of a group's numbers."""
    for name in ("lr", "momentum", "weight_decay", "clip"):
        if group[name] is not None and not math.isfinite(group[name]):
            fail(f"SGD(...).param_groups[...]['{name}']", "a finite number", group[name])


def _refuse_bad_gradients(moving: Sequence[tuple[dict, Tensor]], norms: Sequence[Tensor | None]) -> None:
    """Raise ``FloatingPointError`` unless all gradients are finite, and all norms; waits once for accelerators."""
    probes = [finiteness(p) if n is None else n for (_, p), n in zip(moving, norms, strict=True)]
    if not probes or torch.isfinite(torch.stack([probe.double().to(probes[0].device) for probe in probes])).all():
        return
    for (group, p), n in zip(moving, norms, strict=True):
        what = f"of a parameter of shape {tuple(p.shape)}" + (f" in group {group['name']!r}" if "name" in group else "")
        if bad := bad_entries(p):
            raise FloatingPointError(
                f"`SGD.step()` must find finite gradients; got {bad} NaN or infinite entries in that {what}; "
                "no parameter was changed: lower the learning rate, or look where the loss is not smooth"
            )
        if n is not None and not torch.isfinite(n):
            raise FloatingPointError(
                f"`SGD.step()` must find gradients whose norm is a number of {n.dtype}; got that {what}; "
                "no parameter was changed: scale the loss down"
            )


def _descend(p: Tensor, step: Step, state: dict) -> None:
    """A step of an ordinary parameter, in place."""
    assert p.grad is not None
    factor = p.new_ones(()) if step.factor is None else step.factor
    if step.momentum:
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        velocity = state["momentum_buffer"].mul_(step.momentum).addcmul_(p.grad, factor)
        p.add_(velocity.add_(p, alpha=step.weight_decay), alpha=-step.lr)
    else:
        p.mul_(1 - step.lr * step.weight_decay).addcmul_(p.grad, factor, value=-step.lr)
