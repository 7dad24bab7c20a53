"""A weight matrix whose gradient stays in factors, so that a step is one rank-batch update in place."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.optim.factored import FactoredParameter, Step


class MatrixParameter(FactoredParameter):
    """W of shape (inputs, rank_out) in x ↦ x W, with gradient Σ_i x_i δ_iᵀ.

    The gradient of a batch of 8 has as many entries as W but rank 8: writing it, measuring it and adding it are four
    passes over memory where one is enough. The result is that of an ordinary parameter up to rounding.
    """

    def squared_norm(self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m inputs"]) -> Float[Tensor, ""]:
        """Σ_ij δ_i·δ_j x_i·x_j."""
        return ((delta @ delta.T) * (x @ x.T)).sum()

    def descend(
        self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m inputs"], step: Step, state: dict
    ) -> None:
        """W ← (1 − lr·weight_decay) W − lr·factor·xᵀδ, and with momentum the same through a velocity."""
        if step.factor is not None:
            delta = delta * step.factor
        if step.momentum:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(self.data)
            velocity = state["momentum_buffer"].addmm_(x.T, delta, beta=step.momentum)
            velocity.add_(self.data, alpha=step.weight_decay)
            self.add_(velocity, alpha=-step.lr)
        else:
            self.addmm_(x.T, delta, beta=1 - step.lr * step.weight_decay, alpha=-step.lr)


def matmul(x: Float[Tensor, "n inputs"], weight: Float[Tensor, "inputs rank_out"]) -> Float[Tensor, "n rank_out"]:
    """X W, for an ordinary W and for a `MatrixParameter`."""
    if not isinstance(weight, MatrixParameter):
        return x @ weight
    out = FactoredMatmul.apply(x, weight.trigger if weight.requires_grad else weight.trigger.detach(), weight)
    assert isinstance(out, Tensor)
    return out


class FactoredMatmul(torch.autograd.Function):
    """x W, handing (δ, x) to the parameter instead of multiplying them out."""

    @staticmethod
    def forward(ctx, x: Tensor, trigger: Tensor, weight: MatrixParameter) -> Tensor:
        """Multiply."""
        ctx.weight = weight
        w = weight.detach()  # shares the version counter, which tells when a step came between
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, delta: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        """δ Wᵀ, and the factors."""
        x, w = ctx.saved_tensors
        if ctx.needs_input_grad[1]:
            ctx.weight.record(delta.detach(), x.detach())
        d_x = delta @ w.T if ctx.needs_input_grad[0] else None
        return d_x, torch.zeros(0) if ctx.needs_input_grad[1] else None, None


class MatrixModule(nn.Module):
    """A module that multiplies its inputs by ``weight``, of shape (inputs, rank_out), with `matmul`."""

    weight: nn.Parameter


def factor_gradients(module: nn.Module) -> nn.Module:
    """Keep the gradients of a module's first layer and constant-memory weights as factors; return the module.

    For speed: build the optimiser, which must then be `mupi.SGD`, after this. Values and state dict stay as they are.
    """
    for child in module.modules():
        if isinstance(child, MatrixModule):
            child.weight = MatrixParameter(child.weight.data, child.weight.requires_grad)
    return module
