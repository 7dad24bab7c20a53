"""An operation of your own, from outside of mupi: what it is to each reading, and a module that uses it.

``python examples/your_own_operation.py`` mixes two layers, √(1 − s)·x + √s·y, which keeps variances: a residual sum
that does not grow with depth. Its rules are some ten lines; then a module that uses it has every reading.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

import mupi
from mupi.architecture import Operation, Shape, Step, finite, kernel, pi, program
from mupi.architecture.trace import translates


@torch.library.custom_op("example::mix", mutates_args=())
def mix(x: torch.Tensor, y: torch.Tensor, share: float) -> torch.Tensor:
    """√(1 − share)·x + √share·y."""
    return (1 - share) ** 0.5 * x + share**0.5 * y


@mix.register_fake
def _(x, y, share):
    return torch.empty_like(x)


# The operation as data, and the shape of what comes out.


@dataclass(frozen=True)
class Mix(Operation):
    """√(1 − share)·x + √share·y."""

    share: float

    reads = 2

    def shape(self, *inputs: Shape) -> Shape:
        """That of both."""
        x, y = inputs
        self.needs(x == y, f"two values of shape {x}", y)
        return x

    @property
    def factors(self) -> tuple[float, float]:
        """Of x and of y."""
        return (1 - self.share) ** 0.5, self.share**0.5


# How it is found in a module, and what it is to each reading: a rule each, in the reading's own terms.


@translates(torch.ops.example.mix)
def _(step, x, y, share):
    return step.apply(Mix(share), x, y)


@finite.register(Mix)
def _(operation, place, x, y):
    a, b = operation.factors
    return lambda x, y: a * x + b * y


@kernel.register(Mix)
def _(operation, shapes, out):
    a, b = operation.factors
    return kernel.Linear(((0, kernel.Times(a)), (1, kernel.Times(b))))


@pi.register(Mix)
def _(operation, plan, place, x, y):
    a, b = operation.factors
    return plan.join(x, y), Step(lambda x, y: a * x + b * y)


@program.register(Mix)
def _(operation, write, x, y):
    a, b = operation.factors
    return replace(x, vector=a * x.vector + b * y.vector)


class Net(nn.Module):
    """Layers that are mixed with what came before them."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.out = nn.Linear(8, width), nn.Linear(width, 1)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, x):
        """Its output."""
        x = self.first(x)
        for layer in self.layers:
            x = mix(x, layer(torch.relu(x)), 0.3)
        return self.out(torch.relu(x))


def main():
    """Print the architecture, and its covariance at the start by three readings; train its π-limit."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 8, dtype=torch.float64, generator=generator)
    arch = mupi.trace(Net, x)
    print(arch)
    print("\nNNGP\n", arch.nngp()(x))
    lines = arch.program(x)
    print("\nTensor Program in the limit\n", lines.covariance(lines.limit()))
    root = mupi.Roles.ntk()
    networks = (
        arch.finite(1024, parametrization=root, sigma_w=2**0.5, generator=generator, dtype=x.dtype) for _ in range(10)
    )
    print("\nTen networks of width 1,024\n", 2 * sum(net.feature_kernel(x, x) for net in networks).detach() / 10)
    net = arch.pi(rank=16, generator=generator, dtype=x.dtype)
    optimizer = mupi.SGD(net.parameter_groups(lr=0.1))
    for step in range(101):
        loss = (net(x)[:, 0] - torch.tensor([1.0, -1.0, 1.0], dtype=x.dtype)).square().mean()
        if step % 50 == 0:
            print(f"\nπ-limit, loss after {step} steps: {loss.item():.4f}", end="")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print()


if __name__ == "__main__":
    main()
