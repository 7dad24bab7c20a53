"""Kernels of a finite network, which tend to `NTK` and `NNGP` as its width grows."""

from collections.abc import Iterator, Mapping
from functools import reduce

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.kernels.samplewise import FAILURES, check_numbers, check_samplewise, first_line, own_state
from mupi.kernels.tiles import row_blocks


@takes_numpy
class EmpiricalNTK:
    """Θ(x, x') = (1/k) Σ_{o ≤ k} Σ_p η_p ∂f_o(x)/∂p ∂f_o(x')/∂p of a finite network with k outputs.

    The mean over outputs, for all of which the limit is the same. The sum is over the trainable parameters, at
    their values when called; one that several modules share is one parameter, with the gradient of all its uses.
    Gradients are taken sample by sample (`torch.func`) and held for two blocks of samples at a time. Buffers stay as
    they are.

    >>> net = torch.nn.Linear(2, 1, bias=False)  # f = ⟨w, x⟩ has the kernel ⟨x, x'⟩
    >>> mupi.EmpiricalNTK(net)(torch.eye(2), torch.tensor([[3.0, 4.0]]))
    tensor([[3.],
            [4.]])

    Args:
        net: The network, from (batch, …), numbers or tokens, to (batch,) or (batch, …) of k entries a sample. Samples
            must not depend on each other, as they do in batch normalisation that trains, nor outputs on draws, as with
            dropout; and its layers must allow `torch.func` transforms.
        lr: η_p by parameter name, as learning-rate multipliers; 1 for names left out.
        block: How many samples' gradients a block holds.

    Raises:
        ValueError: For a name in ``lr`` that no trainable parameter has, a multiplier that is negative or not finite,
            or a block that is not a positive integer.
    """

    def __init__(self, net: nn.Module, lr: Mapping[str, float] | None = None, block: int = 32):
        positive_int("EmpiricalNTK(block=...)", block)
        self.net = net
        self.lr = dict(lr or {})
        self.block = block
        unknown = sorted(set(self.lr) - set(self._parameters()))
        if unknown:
            fail("EmpiricalNTK(lr=...)", f"given for names among {sorted(self._parameters())}", unknown)
        for name, value in self.lr.items():
            non_negative(f"EmpiricalNTK(lr={{{name!r}: ...}})", value)

    def __call__(self, x1: Num[Tensor, "n ..."], x2: Num[Tensor, "m ..."] | None = None) -> Float[Tensor, "n m"]:
        """Θ of every sample of ``x1`` with every one of ``x2``, by default ``x1``; without autograd.

        Raises:
            ValueError: If samples are not finite or not what the network takes, or it does not take each by itself,
                has no trainable parameter, or does not allow the transforms.
        """
        x2 = x1 if x2 is None else x2
        check_numbers("EmpiricalNTK(x1)", x1)
        check_numbers("EmpiricalNTK(x2)", x2)
        if x2.shape[1:] != x1.shape[1:] or x2.dtype != x1.dtype:
            got = f"{x2.dtype} of shape {tuple(x2.shape)}"
            fail("EmpiricalNTK(x2)", f"{x1.dtype} of shape (m, …) with samples as of x1, {tuple(x1.shape[1:])}", got)
        parameters = self._parameters()
        if not parameters:
            fail("EmpiricalNTK(net=...)", "a network with trainable parameters", "one whose parameters are all frozen")
        dtype = reduce(torch.promote_types, (p.dtype for p in parameters.values()))
        out = torch.zeros(len(x1), len(x2), dtype=dtype, device=x1.device)
        if not out.numel():
            return out
        outputs = [check_samplewise("EmpiricalNTK", self.net, x).numel() for x in ((x1,) if x2 is x1 else (x1, x2))][0]
        for o in range(outputs):
            for rows, left in self._gradients(x1, o):
                for columns, right in self._gradients(x2, o):
                    for name in left:
                        out[rows, columns].addmm_(left[name], right[name].T, alpha=self.lr.get(name, 1.0))
        return out / outputs

    def _parameters(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.net.named_parameters() if p.requires_grad}

    def _gradients(
        self, x: Num[Tensor, "n ..."], output: int
    ) -> Iterator[tuple[slice, dict[str, Float[Tensor, "block size"]]]]:
        """∂f_o/∂p for blocks of samples, one row a sample."""

        def value(parameters: dict[str, Tensor], sample: Num[Tensor, "..."]) -> Tensor:
            return functional_call(self.net, {**own_state(self.net), **parameters}, (sample[None],)).flatten()[output]

        jacobian = vmap(grad(value), (None, 0))
        for rows in row_blocks(len(x), 1, entries=self.block):
            try:
                gradients = jacobian(self._parameters(), x[rows])
            except torch.OutOfMemoryError:
                raise
            except FAILURES as error:
                got = f"one in which they raise {first_line(error)}"
                fail("EmpiricalNTK(net=...)", "a network that allows vmap and grad of torch.func", got)
            yield rows, {name: g.flatten(1) for name, g in gradients.items()}


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
