"""Few-shot adaptation by gradient descent on the cross-entropy of the support set, many tasks at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy, one_hot

from mupi.data.episodes import Episodes
from mupi.nets import MLP, LinearMuLimit, ScaledLinear

TASKS_A_BLOCK = 16
"""Of a kernel between the images of so many tasks all entries are computed, and those within a task kept."""


def task_kernel(
    kernel: Callable[[Tensor, Tensor], Tensor],
    x1: Float[Tensor, "tasks n d"],
    x2: Float[Tensor, "tasks m d"],
) -> Float[Tensor, "tasks n m"]:
    """The kernel between images of the same task, from one of matrices (n, d) and (m, d)."""
    parts = []
    for a, b in zip(x1.split(TASKS_A_BLOCK), x2.split(TASKS_A_BLOCK), strict=True):
        block = kernel(a.flatten(0, 1), b.flatten(0, 1)).view(len(a), a.shape[1], len(b), b.shape[1])
        parts.append(block.diagonal(dim1=0, dim2=2).permute(2, 0, 1))
    return torch.cat(parts)


def output_gradient(
    logits: Float[Tensor, "*tasks n ways"], labels: Int64[Tensor, " n"]
) -> Float[Tensor, "*tasks n ways"]:
    """δ = (softmax(f) − y)/n, the gradient of the mean cross-entropy."""
    return (logits.softmax(-1) - one_hot(labels, logits.shape[-1])) / len(labels)


def kernel_descent(
    support_kernel: Callable[[], Float[Tensor, "tasks support support"]],
    query_kernel: Float[Tensor, "tasks query support"],
    labels: Int64[Tensor, " support"],
    ways: int,
    steps: int,
    step_size: float,
) -> Float[Tensor, "tasks query ways"]:
    """Logits after gradient descent in function space from f = 0:  f_{t+1}(x) = f_t(x) − step_size Σ_i δ_i k(x_i, x).

    It is what a network of fixed last hidden representation does whose readout starts at 0 and adapts, k being its
    feature kernel; and, with the tangent kernel, what one in the kernel regime does. Since δ at f = 0 does not depend
    on the network, one step is linear in k, and the second-order meta-gradient is ordinary autograd through k. With
    more steps autograd goes through δ too.

    Args:
        support_kernel: Called for k between the images of the support sets, if there is more than one step.
        query_kernel: k between query and support images.
        labels: Labels of the support images.
        ways: Number of classes.
        steps: How many steps of gradient descent are taken.
        step_size: The size of these steps.
    """
    tasks, _, support = query_kernel.shape
    coefficients = query_kernel.new_zeros(tasks, support, ways)
    for step in range(steps):
        logits = coefficients if step == 0 else support_kernel() @ coefficients
        coefficients = coefficients - step_size * output_gradient(logits, labels)
    return query_kernel @ coefficients


@dataclass(frozen=True, eq=False)
class LinearLayers:
    """f(x) = c V h, h = a U x + b β: a linear network with one hidden layer, weights and multipliers apart.

    Gradient descent on n images changes U by a matrix of rank n, in the span of the images. So in each task it is
    followed by the coefficients of that change, and no task needs a U of its own.
    """

    u: Float[Tensor, "width d"]
    v: Float[Tensor, "ways width"]
    bias: Float[Tensor, " width"] | None
    a: float
    b: float
    c: float

    @classmethod
    def of(cls, net: LinearMuLimit | MLP) -> "LinearLayers":
        """Of the limit, or of a finite network with one hidden layer and φ = id."""
        first, readout = (cast(ScaledLinear, layer) for layer in net.layers)
        return cls(
            first.weight,
            readout.weight,
            first.bias,
            first.weight_multiplier,
            0.0 if first.bias is None else first.bias_multiplier,
            readout.weight_multiplier,
        )

    def hidden(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch width"]:
        """h."""
        h = self.a * (x @ self.u.T)
        return h if self.bias is None else h + self.b * self.bias

    def first_order_maml(self, episodes: Episodes, steps: int, step_size: float) -> Float[Tensor, "tasks query ways"]:
        """Logits of the query images after each task's own steps on all weights.

        The derivative with respect to U, V and β is that of first-order MAML: the change by the steps counts as
        constant (Finn, Abbeel & Levine 2017). With k(x, x') = a² x·x' + b² and δ_h = c δ V,

        h_{t+1}(x) = h_t(x) − step_size Σ_i δ_h,i k(x_i, x),  V_{t+1} = V_t − step_size c δᵀ h_t.
        """
        support, query = episodes.support, episodes.query
        with torch.no_grad():
            start = self.hidden(support)
            kernel = self.a**2 * support @ support.mT + self.b**2
            moved, v = torch.zeros_like(start), self.v.expand(len(support), -1, -1)
            for _ in range(steps):
                h = start + kernel @ moved
                δ = self.c * output_gradient(self.c * h @ v.mT, episodes.support_y)
                moved, v = moved - step_size * δ @ v, v - step_size * δ.mT @ h
            change = (self.a**2 * query @ support.mT + self.b**2) @ moved
            v_change = v - self.v
        return self.c * (self.hidden(query) + change) @ (self.v + v_change).mT


def maml(
    net: nn.Module, episodes: Episodes, steps: int, step_size: float, first_order: bool
) -> Float[Tensor, "tasks query ways"]:
    """Logits of the query images after each task's own steps of gradient descent on all parameters of any network.

    Args:
        net: Maps (n, d) to (n, ways).
        episodes: The tasks to adapt to.
        steps: How many steps of gradient descent are taken.
        step_size: The size of these steps.
        first_order: Whether the derivative takes the change by the steps as constant.
    """
    start: dict[str, Tensor] = {name: p for name, p in net.named_parameters() if p.requires_grad}

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return cross_entropy(functional_call(net, parameters, (x,)), episodes.support_y)

    def task(support: Tensor, query: Tensor) -> Tensor:
        parameters = start
        for _ in range(steps):
            gradients = grad(loss)(parameters, support)
            if first_order:
                gradients = {name: g.detach() for name, g in gradients.items()}
            parameters = {name: p - step_size * gradients[name] for name, p in parameters.items()}
        return functional_call(net, parameters, (query,))

    return vmap(task)(episodes.support, episodes.query)
