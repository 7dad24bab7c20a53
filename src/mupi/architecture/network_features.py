"""Random features of an architecture: what the readout of a finite network reads, whose kernel tends to its NNGP."""

from math import prod
from numbers import Real

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mupi.architecture.description import Description
from mupi.architecture.finite import FiniteNetwork
from mupi.architecture.finite_readout import last_hidden
from mupi.architecture.kernel import LimitKernel, kernel
from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.kernels.inner_products import check_sigma
from mupi.kernels.tiles import row_blocks
from mupi.parametrization import Roles

OWNER = "arch.random_features"


@takes_numpy
class NetworkFeatures:
    """ψ(x) = (σ_w x^L(x)/√n, σ_b): E⟨ψ(x), ψ(x')⟩ → ``arch.nngp(σ_w, σ_b)(x, x')`` as the width n grows.

    x^L is what the readout reads at the start, n random functions of x for every draw of the weights before it
    (Rahimi & Recht 2007); errors of the kernel fall as n^{−1/2}, and are a matter of chance: other draws have others. A
    network with one hidden layer has the mean exactly, a deeper one up to O(1/n).

    For tangent kernels there is no such map of moderate size: the tangent features of a network of width n are as many
    as its parameters, of order n². `mupi.kernels.NystromFeatures` takes them as any kernel.

    Args:
        net: The description.
        width: Width n of the finite network.
        sigma_w: σ_w of all weights; None for √2.
        sigma_b: σ_b of all biases; None for 0.
        output: For networks with an output at each position, as in ``arch.nngp``: "mean", or a position.
        generator: Draws the weights; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a network whose output is not that of one readout, or arguments out of their range.
    """

    @torch.no_grad()
    def __init__(
        self,
        net: Description,
        width: int,
        sigma_w: float | None = None,
        sigma_b: float | None = None,
        *,
        output: str | int | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        positive_int(f"{OWNER}(width=...)", width)
        for name, value in (("sigma_w", sigma_w), ("sigma_b", sigma_b)):
            if value is not None and (not isinstance(value, Real) or isinstance(value, bool)):
                fail(f"{OWNER}({name}=...)", "one number for all, or None", repr(value))
            check_sigma(f"{OWNER}({name}=...)", value or 0.0)
        _, place = last_hidden(net)
        if place != len(net) - 1:
            fail(f"{OWNER}", "read from a network that ends in its readout", f"one that ends in {net.nodes[-1]}")
        self.positions, self.output = net.output.positions, output
        count = prod(self.positions)
        is_place = isinstance(output, int) and not isinstance(output, bool) and -count <= output < count
        if (output is not None) if not self.positions else not (output == "mean" or is_place):
            must = f'"mean" or a position below {count}' if self.positions else "None for a network without positions"
            fail(f"{OWNER}(output=...)", must, repr(output))
        self.net, self.sigma_w, self.sigma_b = net, 2**0.5 if sigma_w is None else sigma_w, sigma_b or 0.0
        self.finite = FiniteNetwork(
            net, width, parametrization=Roles.standard(), sigma_w=self.sigma_w, sigma_b=self.sigma_b,
            generator=generator, dtype=dtype, device=device,
        ).eval().requires_grad_(False)  # fmt: skip
        self.has_bias = self.sigma_b > 0 and self.finite.readout.bias is not None
        self._entries = width * max(prod(shape.positions) for shape in net.shapes)

    def __call__(self, x: Shaped[Tensor, "m ..."]) -> Float[Tensor, "m features"]:
        """ψ of each sample, in blocks of rows.

        Args:
            x: Samples in the axes of the network's input, or flattened to rows.

        Raises:
            ValueError: For inputs that the network refuses.
        """
        return torch.cat([self._block(x[rows]) for rows in row_blocks(len(x), self._entries)])

    @property
    def kernel(self) -> LimitKernel:
        """What ⟨ψ, ψ'⟩ tends to, ``arch.nngp`` with the same arguments.

        Raises:
            ValueError: If it has no closed form.
        """
        return kernel(self.net, "nngp", self.sigma_w, self.sigma_b, output=self.output)

    def _block(self, x: Tensor) -> Tensor:
        readout = self.finite.readout
        psi = self.sigma_w * readout.features(self.finite.hidden(x)[-1])
        if self.positions:
            psi = psi.flatten(1, -2)
            psi = psi.mean(1) if isinstance(self.output, str) else psi[:, self.output]
        return torch.cat([psi, psi.new_full((len(psi), 1), self.sigma_b)], 1) if self.has_bias else psi
