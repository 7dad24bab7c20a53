"""`EmpiricalNNGP`: inner products of a finite network's last features, which tend to E φφ as its width grows."""

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.kernels.samplewise import check_numbers, check_samplewise
from mupi.kernels.tiles import row_blocks


@takes_numpy
class EmpiricalNNGP:
    """⟨φ(h(x)), φ(h(x'))⟩/n of the last hidden layer of a finite network of width n.

    This tends to E φ(u)φ(v): σ_w² times it plus σ_b² to `NNGP`.

    >>> net = mupi.MLP(3, 1, width=64)
    >>> x = torch.randn(4, 3)
    >>> mupi.EmpiricalNNGP(net, net.layers[-1])(x, x).shape
    torch.Size([4, 4])

    Args:
        net: The network, on (batch, …), numbers or tokens. Samples must not depend on each other, nor outputs on draws.
        readout: The submodule of ``net`` whose input is φ(h), (batch, n), called once in a forward pass.

    Raises:
        ValueError: If ``readout`` is no submodule of ``net``.
    """

    def __init__(self, net: nn.Module, readout: nn.Module):
        if all(module is not readout for module in net.modules()):
            fail("EmpiricalNNGP(readout=...)", "a submodule of net", type(readout).__name__)
        self.net = net
        self.readout = readout

    def __call__(self, x1: Num[Tensor, "n ..."], x2: Num[Tensor, "m ..."] | None = None) -> Float[Tensor, "n m"]:
        """The kernel of every sample of ``x1`` with every one of ``x2``, by default ``x1``; differentiable.

        Raises:
            ValueError: As `features`.
        """
        first = self.features(x1)
        second = first if x2 is None else self.features(x2)
        return first @ second.T / first.shape[1]

    def features(self, x: Num[Tensor, "n ..."]) -> Float[Tensor, "n width"]:
        """φ(h(x)), the readout's input, in blocks of rows.

        Raises:
            ValueError: If samples are not finite or not what the network takes, it does not take each by itself, or the
                readout does not take one matrix (batch, n) in each forward pass.
        """
        check_numbers("EmpiricalNNGP(x)", x)
        if len(x):
            check_samplewise("EmpiricalNNGP", self.net, x)
        features: list[Tensor] = []
        seen: list[tuple] = []
        handle = self.readout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
        try:
            for rows in row_blocks(len(x), x[:1].numel()):
                seen.clear()
                self.net(x[rows])
                shapes = [[tuple(v.shape) for v in inputs if isinstance(v, Tensor)] for inputs in seen]
                if len(shapes) != 1 or len(shapes[0]) != 1 or len(shapes[0][0]) != 2 or shapes[0][0][0] != len(x[rows]):
                    must = f"a module that takes one matrix, here ({len(x[rows])}, n), once in a forward pass"
                    fail("EmpiricalNNGP(readout=...)", must, f"{len(shapes)} calls with shapes {shapes}")
                features.append(seen[0][0])
        finally:
            handle.remove()
        return torch.cat(features)
