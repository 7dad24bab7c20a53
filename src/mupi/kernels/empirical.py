"""Kernels of a finite network, which tend to `NTK` and `NNGP` as its width grows."""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.kernels.tiles import row_blocks


@takes_numpy
class EmpiricalNTK:
    """Θ(x, x') = (1/k) Σ_{o ≤ k} Σ_p η_p ∂f_o(x)/∂p ∂f_o(x')/∂p of a finite network with k outputs.

    The mean over outputs, for all of which the limit is the same. The sum is over the trainable parameters, at
    their values when called. Gradients are taken sample by sample (`torch.func`) and held for two blocks of
    samples at a time.

    Args:
        net: The network, from (batch, d) to (batch, k); samples must not depend on each other, and its layers must
            allow `torch.func` transforms.
        lr: η_p by parameter name, as learning-rate multipliers; 1 for names left out.
        block: How many samples' gradients a block holds.

    Raises:
        ValueError: For a name in ``lr`` that no trainable parameter has, or a block that is not a positive integer.
    """

    def __init__(self, net: nn.Module, lr: Mapping[str, float] | None = None, block: int = 32):
        positive_int("EmpiricalNTK(block=...)", block)
        self.net = net
        self.lr = dict(lr or {})
        self.block = block
        unknown = sorted(set(self.lr) - set(self._parameters()))
        if unknown:
            fail("EmpiricalNTK(lr=...)", f"given for names among {sorted(self._parameters())}", unknown)

    def __call__(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"] | None = None) -> Float[Tensor, "n m"]:
        """Θ of every row of ``x1`` with every row of ``x2``, by default ``x1``; without autograd."""
        x2 = x1 if x2 is None else x2
        out = x1.new_zeros(len(x1), len(x2))
        if not out.numel():
            return out
        with torch.no_grad():
            outputs = self.net(x1[:1]).shape[1]
        for o in range(outputs):
            for rows, left in self._gradients(x1, o):
                for columns, right in self._gradients(x2, o):
                    for name in left:
                        out[rows, columns].addmm_(left[name], right[name].T, alpha=self.lr.get(name, 1.0))
        return out / outputs

    def _parameters(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.net.named_parameters() if p.requires_grad}

    def _gradients(
        self, x: Float[Tensor, "n d"], output: int
    ) -> Iterator[tuple[slice, dict[str, Float[Tensor, "block size"]]]]:
        """∂f_o/∂p for blocks of samples, one row a sample."""

        def value(parameters: dict[str, Tensor], sample: Float[Tensor, " d"]) -> Tensor:
            return functional_call(self.net, parameters, (sample[None],))[0, output]

        jacobian = vmap(grad(value), (None, 0))
        for rows in row_blocks(len(x), 1, entries=self.block):
            gradients = jacobian(self._parameters(), x[rows])
            yield rows, {name: g.flatten(1) for name, g in gradients.items()}


@takes_numpy
class EmpiricalNNGP:
    """⟨φ(h(x)), φ(h(x'))⟩/n of the last hidden layer of a finite network of width n.

    This tends to E φ(u)φ(v): σ_w² times it plus σ_b² to `NNGP`.

    Args:
        net: The network, on (batch, d).
        readout: The submodule of ``net`` whose input is φ(h), (batch, n).

    Raises:
        ValueError: If ``readout`` is no submodule of ``net``.
    """

    def __init__(self, net: nn.Module, readout: nn.Module):
        if all(module is not readout for module in net.modules()):
            fail("EmpiricalNNGP(readout=...)", "a submodule of net", type(readout).__name__)
        self.net = net
        self.readout = readout

    def __call__(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"] | None = None) -> Float[Tensor, "n m"]:
        """The kernel of every row of ``x1`` with every row of ``x2``, by default ``x1``; differentiable."""
        first = self.features(x1)
        second = first if x2 is None else self.features(x2)
        return first @ second.T / first.shape[1]

    def features(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n width"]:
        """φ(h(x)), the readout's input, in blocks of rows."""
        seen: list[Tensor] = []
        handle = self.readout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            for rows in row_blocks(len(x), x.shape[1]):
                self.net(x[rows])
        finally:
            handle.remove()
        return torch.cat(seen)
