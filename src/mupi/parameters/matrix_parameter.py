"""A weight matrix whose gradient stays in factors, so that a step is one rank-batch update in place."""

from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.checks import is_eager
from mupi.distributed.alone import others_may_train
from mupi.distributed.joint_module import JointModule
from mupi.distributed.together import Together
from mupi.parameters.factored import FactoredGradient, FactoredParameter, Step, asked_for
from mupi.parameters.precision import own_precision
from mupi.torch_internals import has_hooks


class MatrixParameter(FactoredParameter):
    """W of shape (inputs, rank_out) in x ↦ x W, with gradient Σ_i x_i δ_iᵀ.

    The gradient of a batch of 8 has as many entries as W but rank 8: writing it, measuring it and adding it are four
    passes over memory where one is enough. The result is that of an ordinary parameter up to rounding.
    """

    together: Together | None = None
    """The processes whose rows its gradient is of, where these are sent to each other; see `mupi.distributed.join`."""

    def squared_norm(self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m inputs"]) -> Float[Tensor, ""]:
        """Σ_ij δ_i·δ_j x_i·x_j."""
        with own_precision(x.device):
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
    """X W, for an ordinary W and for a `MatrixParameter`.

    In autocast the product is one of the lower precision, and what is added to it one of the weight's.
    """
    if not isinstance(weight, MatrixParameter) or not _keeps_factors(x, weight):
        return (x @ weight).to(weight.dtype)
    with own_precision(x.device):
        out = FactoredMatmul.apply(x.to(weight.dtype), weight)
    assert isinstance(out, Tensor)
    return out


def _keeps_factors(x: Tensor, weight: MatrixParameter) -> bool:
    """Whether this use of the weight may have its gradient in factors; else it has the ordinary one.

    Transforms, compilers and hooks want to compute with gradients, and processes that train together to reduce them.
    """
    if not (weight.requires_grad and torch.is_grad_enabled()):
        return False
    if not is_eager(x) or has_hooks(weight):
        if weight.together is not None:
            refuse_dense()
        return False
    return weight.together is not None or not others_may_train()


class FactoredMatmul(torch.autograd.Function):
    """x W, with the gradient of W in factors (δ, x) where it is only to be added to ``W.grad``.

    Multiplied out, as for any tensor, where `torch.autograd.grad` asks for it or it is to be differentiated again.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: MatrixParameter) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx, delta: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        """δ Wᵀ, and xᵀδ or its factors."""
        x, weight = ctx.saved_tensors
        with own_precision(delta.device):
            d_x = delta @ weight.T if ctx.needs_input_grad[0] else None
            asked = asked_for(ctx, 1)
            if asked == "nothing":
                return d_x, None
            together = weight.together
            if asked == "sum" and not torch.is_grad_enabled():
                rows = delta.detach(), x.detach()
                if together is not None:
                    counts = together.counts(x)
                    rows = together.rows(rows[0] / together.size, counts), together.rows(rows[1], counts)
                return d_x, FactoredGradient(weight.shape, [rows])
            if together is not None:
                refuse_dense()
            return d_x, x.T @ delta


def refuse_dense() -> NoReturn:
    """Say that no wrapper would reduce an ordinary gradient of such a weight.

    Raises:
        RuntimeError: Always.
    """
    raise RuntimeError(
        "gradients kept as factors in several processes must be of eager passes that add to `grad`, without "
        "torch.compile, torch.func, create_graph, torch.autograd.grad or hooks on the weight: leave out "
        "`mupi.factor_gradients`"
    )


class MatrixModule(JointModule):
    """A module that multiplies its inputs by ``weight``, of shape (inputs, rank_out), with `matmul`."""

    weight: nn.Parameter

    def join(self, together: Together) -> None:
        """See `JointModule`."""
        super().join(together)
        if isinstance(self.weight, MatrixParameter):
            self.weight.together = together

    def reduced_here(self) -> list[nn.Parameter]:
        """The weight whose gradient is kept as factors, which processes send each other."""
        return [self.weight] if isinstance(self.weight, MatrixParameter) else []


def factor_gradients(module: nn.Module) -> nn.Module:
    """Keep the gradients of a module's first layer and constant-memory weights as factors; return the module.

    For speed: build the optimiser, which must then be `mupi.SGD`, after this. Values and state dict stay as they are.
    Where factors would not do, gradients are the ordinary ones: with ``create_graph``, in `torch.autograd.grad` and
    `torch.func`, under hooks on the weight, in a compiled network, and in a process group of several processes, where
    `DistributedDataParallel` averages them; under `mupi.distributed.data_parallel` processes send each other the
    factors. In autocast these layers compute in the dtype of their weight.

    >>> net = mupi.factor_gradients(mupi.PiMLP(64, 10, rank=20, features=mupi.Hermite(2)))
    >>> net(torch.randn(3, 64)).sum().backward()
    >>> type(net.readout.weight.weight.grad).__name__
    'FactoredGradient'
    """
    for child in module.modules():
        if isinstance(child, MatrixModule):
            child.weight = MatrixParameter(child.weight.data, child.weight.requires_grad)
    return module
