"""SGD with clipping, weight decay and momentum, for ordinary parameters and for atoms."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative
from mupi.optim.clipping import clip_factor, gradient_norm, joint_norm
from mupi.optim.factored import FactoredParameter, Step


@takes_numpy
class SGD(torch.optim.Optimizer):
    """Stochastic gradient descent that also drives `mupi.Atoms`.

    With d the clipped gradient plus weight_decay·w:  v ← momentum·v + d,  w ← w − lr·v. On ordinary parameters this
    is `torch.nn.utils.clip_grad_norm_` followed by `torch.optim.SGD`. On a list of atoms w = Σ_m c_m a_m κ(b_m, ·)
    the same step is exact: the gradient is the list of atoms (δ_i, g_i) of the backward pass, its norm is
    (Σ_ij δ_i·δ_j κ(g_i, g_j))^{1/2}, and the velocity v lives on the coefficients.

    A step consumes the gradients: afterwards every ``grad`` is None, so a second step without a new backward pass
    changes nothing.

    Args:
        params: Parameters or groups, best from ``net.parameter_groups(...)``.
        lr: Learning rate η of the groups that name none.
        clip: Largest gradient norm; None for no clipping. Each group holds it under ``"clip"``, where a schedule
            may scale it along with ``"lr"``.
        clip_jointly: Whether one norm of all parameters is clipped (by the first group's ``"clip"``), rather than
            each parameter's own.
        momentum: μ ≥ 0.
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
        super().__init__(params, dict(lr=lr, clip=clip, momentum=momentum, weight_decay=weight_decay))
        self.clip_jointly = clip_jointly

    def add_param_group(self, param_group: dict) -> None:
        """As `torch.optim.Optimizer.add_param_group`, with the checks of this class."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for name in ("lr", "momentum", "weight_decay"):
            non_negative(f"SGD({name}=...)", group[name])
        if group["clip"] is not None:
            non_negative("SGD(clip=...)", group["clip"])
            if group["clip"] == 0:
                fail("SGD(clip=...)", "a number > 0, or None", 0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step; ``closure``, if given, recomputes and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        joint = self._joint_factor() if self.clip_jointly else None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                factor = joint
                if factor is None and group["clip"] is not None:
                    factor = clip_factor(gradient_norm(p), group["clip"])
                step = Step(group["lr"], group["weight_decay"], group["momentum"], factor)
                if isinstance(p, FactoredParameter):
                    p.descend(*p.grad.factors(), step, self.state[p])
                else:
                    _descend(p, step, self.state[p])
                # Layers that keep samples of their gradient read here what it was multiplied with.
                p.step_size = step.lr if factor is None else step.lr * factor
                p.grad = None
        return loss

    def _joint_factor(self) -> Float[Tensor, ""] | None:
        clip = self.param_groups[0]["clip"]
        if clip is None:
            return None
        return clip_factor(
            joint_norm(p for group in self.param_groups for p in group["params"] if p.grad is not None), clip
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
