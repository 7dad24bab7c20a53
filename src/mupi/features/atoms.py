"""`Atoms`: all of L²(γ) as the feature map. The π-limit exactly; memory grows by one atom per sample and step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail, is_eager
from mupi.compilers import outside_graphs
from mupi.conventions import KEY
from mupi.distributed.joint_module import JointModule
from mupi.distributed.states import is_collecting
from mupi.distributed.together import Together
from mupi.features.expansion import (
    Expansion,
    differentiable_sum,
    exact_input_gradient,
    exact_sum,
    kernel_norm_squared,
)
from mupi.features.gate import Neuron, outputs
from mupi.features.weight import Features, Weight
from mupi.parameters import AtomList, AtomParameter, FactoredGradient, GuardedCoefficients, asked_for, own_precision


@takes_numpy
@dataclass(frozen=True)
class Atoms(Features):
    """Keep every atom (c, a, b): the exact π-limit (Yang, Santacroce & Hu 2022).

    Memory is Ω(T) and time Ω(T²) in the number T of steps. Trained by `mupi.SGD` only.

    Gradients are lists of rows, complete whatever runs the backward passes: threads, checkpoints, passes inside of
    passes. Derivatives by inputs are right to any order, those after the first at the memory of batch × atoms. Their
    derivatives by the atoms are refused, as is whatever would take the parameter for a tensor: averages of models,
    flat vectors, shared memory, `DistributedDataParallel`. `mupi.distributed.data_parallel` trains them in several
    processes, each with its share of the atoms. In autocast the layers compute in their own dtype.

    >>> net = mupi.PiMLP(5, 2, rank=4, features=mupi.Atoms())
    >>> net(torch.randn(3, 5)).square().sum().backward()
    >>> before = net.num_atoms
    >>> mupi.SGD(net.parameters(), lr=0.1).step()
    >>> net.num_atoms - before  # three samples in each of two layers
    6

    Args:
        storage: dtype in which a and b are stored, for example ``torch.bfloat16``; None for the network's. The
            coefficients c keep the network's dtype.
    """

    storage: torch.dtype | None = None

    def __post_init__(self):
        if self.storage is not None and not self.storage.is_floating_point:
            fail("Atoms(storage=...)", "a floating dtype or None", self.storage)

    def weight(self, initial: Expansion, activation: Neuron, generator: torch.Generator | None = None) -> "AtomWeight":
        """See `Features.weight`; nothing here is random."""
        return AtomWeight(initial, activation, self.storage)


class Block:
    """Storage for some atoms, filled from the front."""

    def __init__(self, atoms: Expansion, used: int):
        self.atoms = atoms
        self.used = used

    def view(self) -> Expansion:
        """The atoms stored so far, without a copy."""
        atoms = self.atoms
        return Expansion(atoms.c[: self.used], atoms.a[: self.used], atoms.b[: self.used])

    @property
    def free(self) -> int:
        """How many more atoms fit."""
        return len(self.atoms) - self.used


class AtomWeight(Weight, AtomList, JointModule):
    """Σ_m c_m a_m κ_φ(b_m, g), with atoms in blocks that are never copied; each new block is 1/8 of all before it."""

    smallest_block = 256

    def __init__(self, initial: Expansion, activation: Neuron, storage: torch.dtype | None):
        super().__init__(initial.b.shape[1], initial.a.shape[1], activation)
        self.storage = storage
        self.like = torch.empty(0, dtype=initial.c.dtype, device=initial.c.device)
        self.blocks: list[Block] = []
        self.version = 0
        self.atoms = AtomParameter.of(self, self.like)
        self.append(initial.c, initial.a, initial.b)

    # In a compiler's graph the list of atoms would be that of the time of compilation.
    @outside_graphs
    def forward(self, g: Float[Tensor, "*batch rank_in"]) -> Float[Tensor, "*batch rank_out"]:
        """Σ_m c_m a_m κ_φ(b_m, g); in autocast, too, in the dtype of the atoms.

        Raises:
            TypeError: If `torch.func.functional_call` put something in the place of the atoms.
        """
        if not isinstance(self.atoms, AtomParameter) or self.atoms.atoms is not self:
            raise TypeError(
                "the atoms of `mupi.Atoms` must be the module's own in `functional_call`, whose transforms cannot "
                f"differentiate by them; got {type(self.atoms).__name__} from elsewhere; leave them out, or use "
                "constant-memory features such as `mupi.Hermite`"
            )
        if self.joined is None and self.together() is not None:
            self._refuse_shares("wrapped in DistributedDataParallel or FSDP")
        rows = g.reshape(-1, self.rank_in)
        with own_precision(g.device):
            if torch.is_autocast_enabled(g.device.type):
                rows = rows.to(self.dtype)
            if is_eager(rows):
                out = ExactSum.apply(rows, self.atoms, self)
                assert isinstance(out, Tensor)
            else:
                out = self.differentiable(rows)
        return out.reshape(*g.shape[:-1], self.rank_out)

    def differentiable(self, g: Float[Tensor, "n rank_in"]) -> Float[Tensor, "n rank_out"]:
        """The same, for transforms and to be differentiated twice; refuses to be differentiated by the atoms."""
        if self.joined is not None:
            self._refuse_shares("differentiated twice, or transformed")
        blocks = (
            Expansion(GuardedCoefficients.apply(block.c, self.atoms), block.a, block.b)  # pyright: ignore
            for block in self.expansion_blocks()
        )
        return differentiable_sum(self.activation, blocks, g, self.rank_out)

    def kernel(self, g1: Float[Tensor, "n rank_in"], g2: Float[Tensor, "m rank_in"]) -> Float[Tensor, "n m"]:
        """κ_φ(g, g')."""
        return self.feature_kernel(g1, g2)

    def at_neurons(self, z: Float[Tensor, "n rank_in"]) -> Float[Tensor, "n rank_out"]:
        """w(z) = Σ_m c_m a_m φ(⟨b_m, z⟩)."""
        if self.joined is not None:
            self._refuse_shares("sampled as a finite network")
        total = z.new_zeros(len(z), self.rank_out)
        for block in self.expansion_blocks():
            c, a, b = (t.to(z) for t in (block.c, block.a, block.b))
            for i in range(0, len(c), 4096):
                rows = slice(i, i + 4096)
                total.addmm_(outputs(self.activation, z, b[rows]), c[rows, None] * a[rows])
        return total / len(z) ** 0.5

    @property
    def feature_map(self) -> str:
        """All of them."""
        return "Atoms"

    @property
    def num_atoms(self) -> int:
        """How many atoms are stored."""
        return sum(block.used for block in self.blocks)

    def expansion_blocks(self) -> Iterator[Expansion]:
        """The stored atoms, block by block, without a copy."""
        return (block.view() for block in self.blocks)

    def expansion(self) -> Expansion:
        """All atoms, copied into one piece."""
        if self.joined is not None:
            self._refuse_shares("read as a whole")
        return self._own()

    def _own(self) -> Expansion:
        """Those of this process."""
        empty = self._empty(0)
        parts = [empty, *self.expansion_blocks()]
        return Expansion(*(torch.cat([getattr(p, name) for p in parts]) for name in ("c", "a", "b")))

    def sample_atoms(self) -> Expansion:
        """All atoms: the sum itself."""
        return self.expansion()

    @property
    def coefficients(self) -> Float[Tensor, " m"]:
        """See `AtomList`."""
        return torch.cat([self.like, *(block.view().c for block in self.blocks)])

    def set_coefficients(self, c: Float[Tensor, " m"]) -> None:
        """See `AtomList`."""
        start = 0
        for block in self.blocks:
            block.view().c.copy_(c[start : start + block.used])
            start += block.used
        self.version += 1

    def append(self, c: Float[Tensor, " m"], a: Float[Tensor, "m rank_out"], b: Float[Tensor, "m rank_in"]) -> None:
        """See `AtomList`."""
        self.version += 1
        done = 0
        while done < len(c):
            if not self.blocks or not self.blocks[-1].free:
                size = max(self.smallest_block, self.num_atoms // 8)
                self.blocks.append(Block(self._empty(max(size, len(c) - done)), 0))
            block = self.blocks[-1]
            take = min(block.free, len(c) - done)
            into, source = slice(block.used, block.used + take), slice(done, done + take)
            for stored, new in ((block.atoms.c, c), (block.atoms.a, a), (block.atoms.b, b)):
                stored[into] = new[source].detach()
            block.used += take
            done += take

    def squared_norm(self, a: Float[Tensor, "m rank_out"], b: Float[Tensor, "m rank_in"]) -> Float[Tensor, ""]:
        """See `AtomList`."""
        return kernel_norm_squared(self.kernel, a, b)

    def own(self, m: int) -> slice:
        """See `AtomList`."""
        return slice(None) if self.joined is None else self.joined.slice_of(m)

    def join(self, together: Together) -> None:
        """Keep this process's share of the first one's atoms, and compute only that from now on."""
        atoms, found = self._own(), torch.tensor([self.num_atoms], device=self.like.device)
        together.from_first(found)
        m = int(found)
        parts = (atoms.c, atoms.a, atoms.b) if together.rank == 0 else self._sized(m)
        for part in parts:
            together.from_first(part)
        super().join(together)
        rows = together.slice_of(m)
        self.blocks = []
        self.append(*(part[rows] for part in parts))

    def reduced_here(self) -> list[nn.Parameter]:
        """The atoms."""
        return [self.atoms]

    def shared_out(self) -> list[nn.Parameter]:
        """The atoms."""
        return [self.atoms]

    def _refuse_shares(self, use: str) -> NoReturn:
        """Say what has to be done for several processes.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            f"`mupi.Atoms` in several processes cannot be {use}: wrap the network by "
            "`mupi.distributed.data_parallel(net)` to train it, and load `mupi.distributed.state_dict(net)`, called in "
            "all processes, into a network of one process for all else"
        )

    def _sized(self, m: int) -> tuple[Tensor, Tensor, Tensor]:
        """Room for m atoms."""
        empty = self._empty(m)
        return empty.c, empty.a, empty.b

    def _empty(self, size: int) -> Expansion:
        dtype = self.storage or self.like.dtype
        with torch.inference_mode(False):  # where atoms are loaded in that mode, training goes on outside of it
            return Expansion(
                self.like.new_empty(size),
                self.like.new_empty(size, self.rank_out, dtype=dtype),
                self.like.new_empty(size, self.rank_in, dtype=dtype),
            )

    def _apply(self, fn, recurse=True):
        """Move the atoms along with `Module.to`; half-precision storage keeps its dtype."""
        super()._apply(fn, recurse)
        self.like = fn(self.like)
        for block in self.blocks:
            old = block.atoms
            a, b = ((fn(t) if self.storage is None else t.to(self.like.device)) for t in (old.a, old.b))
            block.atoms = Expansion(fn(old.c), a, b)
        return self

    def __setstate__(self, state: dict) -> None:
        """Processes send each other shared memory; but atoms that one of them appends are not the other's."""
        super().__setstate__(state)
        for block in self.blocks:
            if block.atoms.c.is_shared():
                block.atoms = Expansion(*(t.clone() for t in (block.atoms.c, block.atoms.a, block.atoms.b)))

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        together, sizes = self.joined, [len(block.atoms) for block in self.blocks]
        atoms = self._own()
        if together is not None:
            if not is_collecting():
                self._refuse_shares("saved by one of them")
            counts = together.counts(atoms.c)
            atoms = Expansion(*(together.in_first(part, counts) for part in (atoms.c, atoms.a, atoms.b)))
            sizes = [len(atoms)] * (len(atoms) > 0)
        for name in ("c", "a", "b"):
            destination[prefix + name] = getattr(atoms, name)
        # Sums go block by block: a resumed run rounds as a whole one does only if it has the same blocks.
        destination[prefix + "blocks"] = torch.tensor(sizes, dtype=torch.int64)
        destination[prefix + KEY] = self.get_extra_state()

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        self.check_conventions(state_dict, prefix)
        keys = [prefix + name for name in ("c", "a", "b")]
        absent = [key for key in keys if key not in state_dict]
        if absent:
            missing_keys.extend(absent)
            return
        c, a, b = (state_dict[key] for key in keys)
        m = len(c)
        if c.shape != (m,) or a.shape != (m, self.rank_out) or b.shape != (m, self.rank_in):
            error_msgs.append(
                f"size mismatch for {', '.join(keys)}: shapes (m,), (m, {self.rank_out}), (m, {self.rank_in}) fit; "
                f"the checkpoint has {tuple(c.shape)}, {tuple(a.shape)}, {tuple(b.shape)}"
            )
            return
        # Without it, of an earlier version: one block.
        blocks = state_dict.get(prefix + "blocks", torch.tensor([m] * (m > 0)))
        sizes = blocks.round().long().tolist()  # averages of state dicts make floats of them
        if min(sizes, default=1) < 1 or not sum(sizes[:-1]) <= m <= sum(sizes):
            error_msgs.append(f"{prefix}blocks must be sizes of blocks that {m} atoms fill; got {sizes}")
            return
        if self.joined is not None:
            rows = self.joined.slice_of(m)
            c, a, b, m = c[rows], a[rows], b[rows], rows.stop - rows.start
            sizes = [m] * (m > 0)
        self.blocks = []
        for size in sizes:
            block, start = Block(self._empty(size), 0), self.num_atoms
            self.blocks.append(block)
            block.used = min(size, m - start)
            for stored, saved in zip((block.atoms.c, block.atoms.a, block.atoms.b), (c, a, b), strict=True):
                stored[: block.used] = saved[start : start + block.used].detach()
        self.version += 1


class ExactSum(torch.autograd.Function):
    """`exact_sum` with `exact_input_gradient`; the atoms' gradient is the rows (δ, g).

    Of several processes each computes its atoms' share for the rows of all; what is summed goes to whose row it is.
    """

    @staticmethod
    def forward(ctx, g: Tensor, atoms: AtomParameter, weight: AtomWeight) -> Tensor:
        """Evaluate the sum tile by tile."""
        ctx.weight, ctx.version, ctx.together = weight, weight.version, weight.joined
        if ctx.together is not None:
            ctx.counts = ctx.together.counts(g)
            g = ctx.together.rows(g, ctx.counts)
        ctx.save_for_backward(g)
        out = exact_sum(weight.activation, weight.expansion_blocks(), g, weight.rank_out)
        return out if ctx.together is None else ctx.together.own_sum(out, ctx.counts)

    @staticmethod
    def backward(ctx, delta: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Recompute the kernel tile by tile; with ``create_graph``, all at once."""
        (g,) = ctx.saved_tensors
        weight: AtomWeight = ctx.weight
        if weight.version != ctx.version:
            raise RuntimeError("the atoms changed between this forward pass and its backward pass; run forward again")
        d_g, d_atoms, together = None, None, ctx.together
        if together is not None:
            if torch.is_grad_enabled():
                weight._refuse_shares("differentiated twice, or transformed")
            delta = together.rows(delta, ctx.counts)
        with own_precision(g.device):
            if ctx.needs_input_grad[0] and torch.is_grad_enabled():
                inputs = g.view_as(g)  # hooks on g are not for this
                (d_g,) = torch.autograd.grad(weight.differentiable(inputs), inputs, delta, create_graph=True)
            elif ctx.needs_input_grad[0]:
                d_g = exact_input_gradient(weight.activation, weight.expansion_blocks(), g, delta)
                if together is not None:
                    d_g = together.own_sum(d_g, ctx.counts)
        if asked_for(ctx, 1) != "nothing":
            # With create_graph the norm of this gradient, say, can be differentiated.
            if together is not None:
                delta = delta / together.size
            rows = (delta, g) if torch.is_grad_enabled() else (delta.detach(), g.detach())
            d_atoms = FactoredGradient(weight.atoms.shape, [rows])
        return d_g, d_atoms, None
