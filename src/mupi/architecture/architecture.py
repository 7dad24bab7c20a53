"""`Architecture`: a description, and what can be read from it."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mupi.architecture.description import Description
from mupi.architecture.finite import FiniteNetwork
from mupi.architecture.kernel import LimitKernel, Setting, kernel
from mupi.architecture.program import ForwardProgram
from mupi.architecture.table import table


@dataclass(frozen=True)
class Architecture(Description):
    """A network as one description, from which everything else is read."""

    def __str__(self) -> str:
        return table(self)

    def finite(self, width: int, **options: Any) -> FiniteNetwork:
        """The finite network of width n, in any abc-parametrization.

        Args:
            width: The width n.
            options: Those of `FiniteNetwork`: ``parametrization``, scales and standard deviations, ``generator``, …
        """
        return FiniteNetwork(self, width, **options)

    def nngp(self, sigma_w: Setting = None, sigma_b: Setting = None, *, output: str | int | None = None) -> LimitKernel:
        """Its covariance at the start, as its width goes to ∞: see `mupi.architecture.kernel.kernel`.

        >>> from mupi.architecture.zoo import perceptron
        >>> arch = perceptron(8, 1, depth=2)
        >>> arch.nngp(sigma_w=2**0.5)(torch.randn(3, 8), torch.randn(5, 8)).shape
        torch.Size([3, 5])
        """
        return kernel(self, "nngp", sigma_w, sigma_b, output=output)

    def ntk(
        self,
        sigma_w: Setting = None,
        sigma_b: Setting = None,
        *,
        weight_lr: Setting = None,
        bias_lr: Setting = None,
        output: str | int | None = None,
    ) -> LimitKernel:
        """Its neural tangent kernel, as its width goes to ∞: see `mupi.architecture.kernel.kernel`."""
        return kernel(self, "ntk", sigma_w, sigma_b, weight_lr, bias_lr, output=output)

    def program(self, x: Tensor, **options: Any) -> ForwardProgram:
        """The Tensor Program of its forward pass, to run at a width, to take to its limit, and to explain.

        Args:
            x: Inputs of the network, one row each.
            options: Those of `ForwardProgram`: ``sigma_w``, ``sigma_b``, ``embed_std``.
        """
        return ForwardProgram(self, x, **options)
