"""`Linearized`: a network to first order in its parameters, which trains as its tangent kernel says."""

import warnings
from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from mupi.arrays import takes_numpy
from mupi.checks import fail


@takes_numpy
class Linearized(nn.Module):
    """f(x; θ_0) + J(x)(θ − θ_0), with θ_0 the network's parameters when it was made (Lee et al. 2019).

    Its parameters are those of a copy of the network, ``net``, so that any optimizer trains it: gradient descent on
    the squared loss is `mupi.KernelDynamics` with the `mupi.EmpiricalNTK` of the network at θ_0. A forward pass costs
    about two of the network's.

    >>> net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> linear = Linearized(net)
    >>> bool((linear(torch.ones(2, 3)) == net(torch.ones(2, 3))).all())
    True

    Args:
        net: The network, whose layers must allow forward differentiation. It stays as it is.

    Raises:
        ValueError: If it has no parameters that are trained.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        if not any(p.requires_grad for p in net.parameters()):
            fail("Linearized(net)", "a network with trainable parameters", "one whose parameters are all frozen")
        self.net = deepcopy(net)
        self.start = deepcopy(net).requires_grad_(False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The network's outputs to first order."""
        start = dict(self.start.named_parameters())
        moved = {name: p - start[name] for name, p in self.net.named_parameters()}
        value, change = first_order(self.net, start, moved, inputs)
        return value + change


def first_order(
    net: nn.Module, parameters: Mapping[str, Tensor], along: Mapping[str, Tensor], inputs: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """A network's outputs, and their derivative along a direction in its parameters."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        # torch's own, when it first makes dual numbers.
        warnings.filterwarnings("ignore", ".*torch.jit.script.* is deprecated", DeprecationWarning)
        duals = {name: forward_ad.make_dual(p, along[name].to(p)) for name, p in parameters.items()}
        value, change = forward_ad.unpack_dual(functional_call(net, duals, inputs))
        return value, torch.zeros_like(value) if change is None else change
