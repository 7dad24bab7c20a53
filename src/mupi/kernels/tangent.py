"""`EmpiricalNTK`: the tangent kernel of a finite network, which tends to `NTK` as its width grows."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vjp, vmap

from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.kernels.atom_tangents import AtomGradients, AtomWeight, atom_weights, moved, shared
from mupi.kernels.linearized import first_order
from mupi.kernels.memory import available_memory, require_memory
from mupi.kernels.samplewise import FAILURES, check_numbers, check_samplewise, first_line, own_state
from mupi.kernels.tiles import row_blocks

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator


@takes_numpy
class EmpiricalNTK:
    """Θ(x, x') = (1/k) Σ_{o ≤ k} Σ_p η_p ∂f_o(x)/∂p ∂f_o(x')/∂p of a finite network with k outputs.

    The mean over outputs, for all of which the limit is the same; `by_output` has that of each, `full` all pairs of
    outputs too, and `operator` the matrix of `full` by its products only. The sum is over the trainable parameters, at
    their values when called; one that several modules share is one parameter, with the gradient of all its uses.
    Gradients are taken sample by sample (`torch.func`) and held for two blocks of samples at a time. Buffers stay as
    they are.

    Of a π-network, before, in and after training, it is what one step of SGD does: f changes by
    −η Σ_i Θ(x, x_i) ∂loss/∂f(x_i) + O(η²), with the rates η·η_p of ``net.parameter_groups``. With `mupi.Hermite` and
    `mupi.RandomFeatures` the matrices C on their features are parameters like others (that directions are renewed is no
    part of it); with `mupi.Atoms` a weight is a
    measure, and its part is Σ ⟨∂f_o(x)/∂C(g), ∂f_o(x')/∂C(g')⟩ κ_φ(g, g'): see `mupi.kernels.atom_tangents`.

    >>> net = torch.nn.Linear(2, 1, bias=False)  # f = ⟨w, x⟩ has the kernel ⟨x, x'⟩
    >>> mupi.EmpiricalNTK(net)(torch.eye(2), torch.tensor([[3.0, 4.0]]))
    tensor([[3.],
            [4.]])

    Args:
        net: The network, from (batch, …), numbers or tokens, to (batch,) or (batch, …) of k entries a sample. Samples
            must not depend on each other, as they do in batch normalisation that trains, nor outputs on draws, as with
            dropout; and its layers must allow `torch.func` transforms.
        lr: η_p by parameter name, as learning-rate multipliers, 1 for names left out; or parameter groups with an
            "lr" each, such as ``net.parameter_groups(1.0, first=0.1)`` or an optimizer's, 0 for parameters in none.
        block: How many samples' gradients a block holds.

    Raises:
        ValueError: For a name in ``lr`` that no trainable parameter has, a multiplier that is negative or not finite,
            or a block that is not a positive integer.
    """

    def __init__(
        self, net: nn.Module, lr: Mapping[str, float] | Sequence[Mapping[str, Any]] | None = None, block: int = 32
    ):
        positive_int("EmpiricalNTK(block=...)", block)
        self.net = net
        self.lr = dict(lr or {}) if isinstance(lr, Mapping) or lr is None else by_name(net, lr)
        self.block = block
        known = {*self._parameters(), *self._atoms()}
        if unknown := sorted(set(self.lr) - known):
            fail("EmpiricalNTK(lr=...)", f"given for names among {sorted(known)}", unknown)
        for name, value in self.lr.items():
            non_negative(f"EmpiricalNTK(lr={{{name!r}: ...}})", value)

    def __call__(self, x1: Num[Tensor, "n ..."], x2: Num[Tensor, "m ..."] | None = None) -> Float[Tensor, "n m"]:
        """Θ of every sample of ``x1`` with every one of ``x2``, by default ``x1``; without autograd.

        Raises:
            ValueError: If samples are not finite or not what the network takes, or it does not take each by itself,
                has no trainable parameter, or does not allow the transforms.
        """
        x2 = x1 if x2 is None else x2
        outputs = self._check(x1, x2)
        out = torch.zeros(len(x1), len(x2), dtype=self._dtype(), device=x1.device)
        for o in range(outputs):
            self._add(out, x1, x2, slice(o, o + 1))
        return out / max(1, outputs)

    def by_output(self, x1: Num[Tensor, "n ..."], x2: Num[Tensor, "m ..."] | None = None) -> Float[Tensor, "k n m"]:
        """Σ_p η_p ∂f_o(x)/∂p ∂f_o(x')/∂p for each output o, of which a call is the mean.

        Raises:
            ValueError: As in a call.
        """
        x2 = x1 if x2 is None else x2
        outputs = self._check(x1, x2)
        out = torch.zeros(outputs, len(x1), len(x2), dtype=self._dtype(), device=x1.device)
        for o, part in enumerate(out):
            self._add(part, x1, x2, slice(o, o + 1))
        return out

    def full(self, x1: Num[Tensor, "n ..."], x2: Num[Tensor, "m ..."] | None = None) -> Float[Tensor, "n k m k"]:
        """Σ_p η_p ∂f_o(x)/∂p ∂f_o'(x')/∂p for all pairs of outputs; at infinite width 0 where they differ.

        Raises:
            ValueError: As in a call, and if memory does not suffice.
        """
        x2 = x1 if x2 is None else x2
        outputs, dtype = self._check(x1, x2), self._dtype()
        needed = len(x1) * len(x2) * outputs**2 * dtype.itemsize
        require_memory("EmpiricalNTK.full(x1)", needed, available_memory(x1.device), "use EmpiricalNTK.operator")
        out = torch.zeros(len(x1) * outputs, len(x2) * outputs, dtype=dtype, device=x1.device)
        if outputs:
            self._add(out, x1, x2, slice(0, outputs))
        return out.reshape(len(x1), outputs, len(x2), outputs)

    def operator(self, x: Num[Tensor, "n ..."]) -> "LinearOperator":
        """The matrix of `full` of some samples with themselves, (n·k, n·k), by its products J diag(η) Jᵀ v.

        A product costs two passes through the network, forward and backward, a block of samples at a time; the matrix
        is never held. For `scipy.sparse.linalg`: ``eigsh``, ``cg``, ….

        Raises:
            ValueError: As in a call.
        """
        from scipy.sparse.linalg import LinearOperator  # would slow `import mupi` down

        if self._atoms():
            got = "mupi.Atoms, whose weights have no gradients to add up"
            fail("EmpiricalNTK.operator", "asked for of a network of matrices", got, "use EmpiricalNTK.full")
        outputs, dtype = self._check(x, x), self._dtype()
        parameters = self._parameters()
        blocks = list(row_blocks(len(x), 1, entries=self.block))

        def product(v: np.ndarray) -> np.ndarray:
            cotangents = torch.from_numpy(np.ascontiguousarray(v)).to(x.device, dtype).reshape(len(x), -1)
            descent = {name: torch.zeros_like(p) for name, p in parameters.items()}
            for rows in blocks:
                pull_back = vjp(lambda p, rows=rows: self._values(p, x[rows]), parameters)[1]
                (parts,) = pull_back(cotangents[rows])
                for name, part in parts.items():
                    descent[name] += self.lr.get(name, 1.0) * part
            state = own_state(self.net)
            fixed = {name: torch.zeros_like(value) for name, value in state.items()}
            pushed = [
                first_order(self.net, {**state, **parameters}, {**fixed, **descent}, (x[rows],))[1] for rows in blocks
            ]
            return torch.cat([part.flatten() for part in pushed]).cpu().numpy()

        size = len(x) * outputs
        return cast(Any, LinearOperator)((size, size), matvec=product, rmatvec=product, dtype=np.dtype(f"{dtype}"[6:]))

    def _check(self, x1: Tensor, x2: Tensor) -> int:
        """Refuse what cannot be; returns the number of outputs, 0 without samples."""
        check_numbers("EmpiricalNTK(x1)", x1)
        check_numbers("EmpiricalNTK(x2)", x2)
        if x2.shape[1:] != x1.shape[1:] or x2.dtype != x1.dtype:
            got = f"{x2.dtype} of shape {tuple(x2.shape)}"
            fail("EmpiricalNTK(x2)", f"{x1.dtype} of shape (m, …) with samples as of x1, {tuple(x1.shape[1:])}", got)
        if not self._parameters() and not self._atoms():
            fail("EmpiricalNTK(net=...)", "a network with trainable parameters", "one whose parameters are all frozen")
        if not len(x1) or not len(x2):
            return 0
        return [check_samplewise("EmpiricalNTK", self.net, x).numel() for x in ((x1,) if x2 is x1 else (x1, x2))][0]

    def _dtype(self) -> torch.dtype:
        """Of the kernel."""
        parameters = [*self._parameters().values(), *(weight.like for weight in self._atoms().values())]
        return reduce(torch.promote_types, (p.dtype for p in parameters))

    def _add(self, out: Float[Tensor, "rows columns"], x1: Tensor, x2: Tensor, outputs: slice) -> None:
        """Add products of gradients of some outputs, rows and columns sample by sample."""
        k = outputs.stop - outputs.start
        for rows, left in self._gradients(x1, outputs):
            for columns, right in self._gradients(x2, outputs):
                at = slice(rows.start * k, rows.stop * k), slice(columns.start * k, columns.stop * k)
                for name, part in left.items():
                    other, lr = right[name], self.lr.get(name, 1.0)
                    if isinstance(part, AtomGradients):
                        assert isinstance(other, AtomGradients)
                        out[at].add_(shared(part, other), alpha=lr)
                    else:
                        assert isinstance(other, Tensor)
                        out[at].addmm_(part, other.T, alpha=lr)

    def _parameters(self) -> dict[str, Tensor]:
        atoms = self._atoms()
        named = self.net.named_parameters()
        return {name: p.detach() for name, p in named if p.requires_grad and name not in atoms}

    def _atoms(self) -> dict[str, AtomWeight]:
        return atom_weights(self.net)

    def _values(self, parameters: dict[str, Tensor], x: Num[Tensor, "n ..."]) -> Float[Tensor, "n outputs"]:
        """f at other parameters."""
        return functional_call(self.net, {**own_state(self.net), **parameters}, (x,)).reshape(len(x), -1)

    def _gradients(
        self, x: Num[Tensor, "n ..."], outputs: slice
    ) -> Iterator[tuple[slice, dict[str, Float[Tensor, "rows size"] | AtomGradients]]]:
        """∂f_o/∂p for blocks of samples: a row for each sample and output, outputs of a sample together."""
        k = outputs.stop - outputs.start
        weights, parameters = self._atoms(), self._parameters()
        fixed = self._no_moves(x, weights)

        def values(
            parameters: dict[str, Tensor], moves: dict[str, list[Tensor]], sample: Num[Tensor, "..."]
        ) -> tuple[Tensor, dict[str, list[Tensor]]]:
            seen: dict[str, list[Tensor]] = {}
            with moved(weights, moves, seen):
                out = self._values(parameters, sample[None])[0, outputs]
            return out[0] if k == 1 else out, seen

        transform = grad if k == 1 else jacrev
        jacobian = vmap(transform(values, argnums=(0, 1), has_aux=True), (None, None, 0))
        for rows in row_blocks(len(x), k, entries=self.block):
            n = len(x[rows])
            try:
                with torch.no_grad(), warnings.catch_warnings():
                    # torch's own, about an operation that it does not batch.
                    warnings.filterwarnings("ignore", "There is a performance drop")
                    (gradients, deltas), seen = jacobian(parameters, fixed, x[rows])
            except torch.OutOfMemoryError:
                raise
            except FAILURES as error:
                got = f"one in which they raise {first_line(error)}"
                fail("EmpiricalNTK(net=...)", "a network that allows vmap and grad of torch.func", got)
            found: dict[str, Tensor | AtomGradients] = {name: g.reshape(n * k, -1) for name, g in gradients.items()}
            for name, weight in weights.items():
                if not seen[name]:
                    continue  # it has no part in the outputs
                # Outputs of a sample, then its positions, those of one call after those of another.
                delta = torch.cat([d.reshape(n, k, -1, weight.rank_out) for d in deltas[name]], 2)
                g = torch.cat([g.reshape(n, -1, weight.rank_in) for g in seen[name]], 1)
                found[name] = AtomGradients(weight, g, delta)
            yield rows, found

    @torch.no_grad()
    def _no_moves(self, x: Num[Tensor, "n ..."], weights: dict[str, AtomWeight]) -> dict[str, list[Tensor]]:
        """Zeros like what the weights of atoms return for one sample, call by call."""
        seen: dict[str, list[Tensor]] = {}
        if weights and len(x):
            with moved(weights, None, seen):
                self._values(self._parameters(), x[:1])
        return {name: [torch.zeros_like(out) for out in outs] for name, outs in seen.items()}


def by_name(net: nn.Module, groups: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The learning rate of each trainable parameter in parameter groups; 0 of those in none."""
    if not all(isinstance(group, Mapping) and "params" in group and "lr" in group for group in groups):
        fail("EmpiricalNTK(lr=...)", 'rates by name, or parameter groups with "params" and "lr"', list(groups))
    rates = {id(p): float(group["lr"]) for group in groups for p in group["params"]}
    return {name: rates.get(id(p), 0.0) for name, p in net.named_parameters() if p.requires_grad}
