"""`Hermite`: κ_φ up to a degree as the feature map. The π-limit at constant memory, to a stated error."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, is_eager, positive_int
from mupi.compilers import outside_graphs
from mupi.distributed.alone import others_may_train
from mupi.distributed.sharded import overwrite, unsharded
from mupi.features.average_pool import AveragePool
from mupi.features.directions import Directions
from mupi.features.expansion import Expansion
from mupi.features.gate import Gate, Neuron
from mupi.features.recent import RecentAtoms
from mupi.features.symmetric import hermite_tensor, power_size, rotate, symmetric_power
from mupi.features.weight import Features, Weight
from mupi.parameters import FactoredGradient, MatrixModule, matmul
from mupi.torch_internals import in_process_group, sharded_parameter, version

MOST_FEATURES = 2_000_000


@takes_numpy
@dataclass(frozen=True)
class Hermite(Features):
    """κ_K(b, g) = Σ_{k≤K} c_k(|b|) c_k(|g|) ⟨P_kᵀ b̄, P_kᵀ ḡ⟩^k, with b̄ = b/|b| and c_k(s) = E φ(sz) h_k(z).

    Mehler's series of κ_φ (Mehler 1866), cut off. Degrees 0 and 1 are in full; degree k ≥ 2 in full (P_k = I) or in
    the ``subspace`` leading directions P_k of recent ḡ, renewed as training goes on. Degrees that φ does not have cost
    nothing. The layer's value and its gradient come from the same κ_K, so training is exact SGD of a well-defined
    network. For a polynomial φ of degree ≤ K without subspace it is the π-limit itself.

    >>> net = mupi.PiMLP(64, 10, rank=20, features=mupi.Hermite(2))
    >>> net.readout.weight.feature_map
    'Hermite of degrees 0, 1, 2'
    >>> net.readout.weight.weight.shape  # 1 + 20 + 210 monomials
    torch.Size([231, 10])

    Args:
        degree: K, the highest degree kept.
        subspace: Number of directions for each degree ≥ 2, or a mapping {degree: number} in which degrees that are
            not named are left out; None for all r.
        renew_every: Most inputs between two renewals of the directions.
        window: How many of the last atoms are kept, to find the directions and measure the error on.
    """

    degree: int = 2
    subspace: int | Mapping[int, int] | None = None
    renew_every: int = 2**16
    window: int = 4096

    def __post_init__(self):
        if not isinstance(self.degree, int) or not 0 <= self.degree <= 8:
            fail("Hermite(degree=...)", "an integer from 0 to 8", self.degree)
        if isinstance(self.subspace, Mapping):
            object.__setattr__(self, "subspace", dict(self.subspace))  # one that the caller does not change
            for degree, size in self.subspace.items():
                positive_int(f"Hermite(subspace={{{degree}: ...}})", size)
                if not 2 <= degree <= self.degree:
                    fail("Hermite(subspace=...)", f"about degrees 2 to {self.degree}", f"degree {degree}")
        elif self.subspace is not None:
            positive_int("Hermite(subspace=...)", self.subspace)
        for name in ("renew_every", "window"):
            positive_int(f"Hermite({name}=...)", getattr(self, name))

    def __hash__(self) -> int:
        """Of its arguments; that of a mapping, which has none, from its entries."""
        subspace = frozenset(self.subspace.items()) if isinstance(self.subspace, Mapping) else self.subspace
        return hash((self.degree, subspace, self.renew_every, self.window))

    def directions(self, degree: int, rank: int) -> int | None:
        """How many directions a degree keeps; None for all in full, 0 for none."""
        if degree < 2 or self.subspace is None:
            return None
        if isinstance(self.subspace, Mapping):
            return min(self.subspace.get(degree, 0), rank)
        return min(self.subspace, rank)

    def weight(
        self, initial: Expansion, activation: Neuron, generator: torch.Generator | None = None
    ) -> "HermiteWeight":
        """See `Features.weight`; the first directions are random, until data has been seen."""
        return HermiteWeight(self, initial, activation, generator)


class HermiteWeight(Weight, MatrixModule):
    """C ψ(g) with ψ(g) = (c_k(|g|) S_k(P_kᵀ ḡ))_k.

    ``weight`` is Cᵀ, of shape (features, r_out), an ordinary parameter; so it is stored because the rank-batch
    updates of SGD run several times faster along short rows.
    """

    def __init__(
        self,
        features: Hermite,
        initial: Expansion,
        activation: Neuron,
        generator: torch.Generator | None,
    ):
        super().__init__(initial.b.shape[1], initial.a.shape[1], activation)
        rank, like = self.rank_in, initial.b
        self.features = features
        self.sizes = self._chosen(like, generator)
        if sum(self.sizes.values()) > MOST_FEATURES:
            fail(
                "Hermite(degree=...)",
                f"such that there are at most {MOST_FEATURES:,} features",
                f"{sum(self.sizes.values()):,} at degree {features.degree} and rank {rank}",
                "give subspace={2: ..., 4: ...}",
            )
        self.recent = RecentAtoms(features.window, initial)
        self.tracker = None
        if self._projected():
            self.tracker = Directions(rank, int(self.recent.seen), features.renew_every, like)
        self.weight = nn.Parameter(like.new_zeros(sum(self.sizes.values()), self.rank_out))
        with torch.no_grad():
            for i in range(0, len(initial), 256):
                c, a, b = (t[i : i + 256] for t in (initial.c, initial.a, initial.b))
                self.weight.add_(self._features(b).T @ (c[:, None] * a))
        self._weight_version, self._renewal_version = version(self.weight), -1
        self._moved_unseen = False

    @property
    def _single(self) -> Activation:
        """φ."""
        assert not isinstance(self.activation, Gate), "a product of two is read by HermiteGateWeight"
        return self.activation

    def _chosen(self, like: Tensor, generator: torch.Generator | None) -> dict[Any, int]:
        """How many features there are of each degree; draws the first directions of those that have any."""
        sizes, φ = {}, self._single
        for k in range(self.features.degree + 1):
            p = self.features.directions(k, self.rank_in)
            if not φ.has_degree(k) or p == 0:
                continue
            if p is not None:
                start = torch.randn(self.rank_in, p, dtype=torch.float64, generator=generator)
                self.register_buffer(f"directions_{k}", torch.linalg.qr(start).Q.to(like).contiguous())
            sizes[k] = power_size(self.rank_in if p is None else p, k)
        return sizes

    def forward(self, g: Float[Tensor, "*batch rank_in"]) -> Float[Tensor, "*batch rank_out"]:
        """C ψ(g). In training it also looks at its inputs, for the directions and the error report."""
        rows = g.reshape(-1, self.rank_in)
        if self._looks():
            self._before(rows)
        out = matmul(self._features(rows), self.weight)
        if self._looks():
            self._after(rows, out)
        return out.reshape(*g.shape[:-1], self.rank_out)

    def pooled(
        self, g: Float[Tensor, "*batch height width rank_in"], pool: AveragePool
    ) -> Float[Tensor, "*batch rows columns rank_out"]:
        """C pool(ψ(g)); atoms are the positions before pooling, each with its share of the gradient."""
        rows = g.reshape(-1, self.rank_in)
        if self._looks():
            self._before(rows)
        psi = pool(self._features(rows).reshape(*g.shape[:-1], len(self.weight)))
        out = matmul(psi.flatten(0, -2), self.weight)
        shape = (*psi.shape[:-1], self.rank_out)
        if self._looks():
            # Spreading δ over all positions would cost more than the product; only the last are kept.
            positions = g.shape[-3] * g.shape[-2]
            last = -(-self.features.window // positions)

            def spread(delta: Tensor) -> Tensor:
                grids = delta.reshape(-1, *shape[-3:])[-last:]
                return pool.adjoint(grids).reshape(-1, self.rank_out)

            self._after(rows[-last * positions :], out, spread)
        return out.reshape(shape)

    def kernel(self, g1: Float[Tensor, "n rank_in"], g2: Float[Tensor, "m rank_in"]) -> Float[Tensor, "n m"]:
        """κ_K(g, g')."""
        (scale_1, unit_1), (scale_2, unit_2), φ = polar(g1), polar(g2), self._single
        total = g1.new_zeros(len(g1), len(g2))
        for k in self.sizes:
            cosine = self._project(unit_1, k) @ self._project(unit_2, k).T
            c_1, c_2 = φ.hermite(k, scale_1), φ.hermite(k, scale_2)
            total = total + c_1 * c_2.T * cosine**k
        return total

    def at_neurons(self, z: Float[Tensor, "n rank_in"]) -> Float[Tensor, "n rank_out"]:
        """w(z) = Σ_k ⟨C_k, H_k(P_kᵀ z)⟩ with the Hermite tensors 1, z, (zzᵀ − I)/√2, …"""
        return self.neurons(z) @ self.weight / len(z) ** 0.5

    def neurons(self, z: Float[Tensor, "n rank_in"]) -> Float[Tensor, "n features"]:
        """H, whose row is what a neuron of outgoing z sees of the features: φ_K(⟨z, g⟩) = ⟨H, ψ(g)⟩, φ cut off at K.

        So a finite π-net's layer (`mupi.RandomFeatures`, with its n rows z) is this one whose weight moves by HᵀH/n
        times its gradient; E HᵀH/n = I, and it has n eigenvalues that are not 0 at most, so that their mean is the
        number of features over n.
        """
        parts = [hermite_tensor(self._project(z, k), k) for k in self.sizes]
        return torch.cat(parts, 1) if parts else z[:, :0]

    def sample_atoms(self) -> Expansion:
        """The last atoms of the training, the initial ones first of all: see `RecentAtoms`.

        Warns where the weight has been trained since without leaving any, or they are not what steps added.
        """
        self.settle()
        if self._moved_unseen:
            warnings.warn(
                "the weight has changed since the atoms that its error is measured on: by steps in which a compiler in "
                "eval mode or torch.func hid the layer's inputs, or by hand; the error is that of the training before",
                stacklevel=2,
            )
        elif doubt := self.recent.doubt:
            warnings.warn(doubt, stacklevel=2)
        return self.recent.expansion()

    @property
    def feature_map(self) -> str:
        """Its degrees, and in how many directions each is."""
        projected = self._projected()
        degrees = [f"{k} in {projected[k].shape[1]} directions" if k in projected else str(k) for k in self.sizes]
        return f"Hermite of degrees {', '.join(degrees)}"

    @property
    def inputs_seen(self) -> int:
        """How many inputs training has shown the weight, the initial atoms included."""
        return int(self.recent.seen)

    def renews_within(self, inputs: int) -> bool:
        """Whether the directions are due to be renewed before so many more inputs."""
        return self.tracker is not None and self.tracker.due(self.recent.seen + inputs)

    def pass_by(self, inputs: int) -> None:
        """Count inputs that were trained on where Python sees no values, as in the replay of a CUDA graph."""
        self.recent.seen += inputs
        self._weight_version, self._moved_unseen = version(self._held), False

    @property
    def _held(self) -> Tensor:
        """The parameter that an optimizer holds: FSDP puts another in its place while the layer computes."""
        sharded = sharded_parameter(self, "weight")
        return self.weight if sharded is None else sharded

    @torch.no_grad()
    def renew_directions(self) -> None:
        """Look for the leading directions anew and carry the coefficients over; what leaves the span is lost.

        A pending gradient is one by these coefficients, and goes the same way.
        """
        if self.tracker is None:
            return
        old = self._projected()
        new = self.tracker.renew(polar(self.recent.inputs)[1], self.recent.seen, old)
        together, held = self.together(), self._held
        if together is None and others_may_train():
            warnings.warn(
                "directions of `mupi.Hermite` are renewed from the inputs of this process alone: where others train "
                "the same network, and gradients are reduced by hand, call mupi.distributed.join(net) first",
                stacklevel=2,
            )
        if together is not None:
            for tensor in (
                self.tracker.moment,
                *new.values(),
            ):  # of other machines than the first, which may round else
                together.from_first(tensor)
        carried: list[Tensor] = [held]
        if held.grad is not None and not isinstance(held.grad, FactoredGradient):
            carried.append(held.grad)
        for tensor in carried:
            whole = unsharded(tensor).clone() if tensor is not self.weight else tensor
            parts = dict(zip(self.sizes, whole.split(list(self.sizes.values())), strict=True))
            for k, p in new.items():
                parts[k].copy_(rotate(parts[k].T, k, p.T @ old[k]).T)
            if whole is not tensor:
                overwrite(tensor, whole)
            if tensor is held and held is not self.weight:
                self.weight.copy_(whole)
        for k, p in new.items():
            old[k].copy_(p)

    def _features(self, g: Float[Tensor, "n rank_in"]) -> Float[Tensor, "n features"]:
        scale, unit = polar(g)
        pieces = []
        for k in self.sizes:
            pieces += symmetric_power(self._project(unit, k), k, self._single.hermite(k, scale))
        return torch.cat(pieces, 1) if pieces else g[:, :0]

    def _project(self, unit: Tensor, degree: int) -> Tensor:
        """P_kᵀ of each row."""
        p = getattr(self, f"directions_{degree}", None)
        return unit if p is None else (unit @ p).to(unit.dtype)  # in autocast a product is not; its powers should be

    def _projected(self) -> dict[int, Tensor]:
        """P_k of the degrees that have one."""
        names = {k: f"directions_{k}" for k in self.sizes}
        return {k: getattr(self, name) for k, name in names.items() if hasattr(self, name)}

    def _looks(self) -> bool:
        """Whether this pass may be one of training, which it can be in eval mode too: as fine-tuning with fixed means.

        A compiler's graph of a network in eval mode stays in one piece, and leaves no atoms.
        """
        return self.training or (torch.is_grad_enabled() and not torch.compiler.is_compiling())

    # Compilers leave their graph for these two: directions that are never renewed would be a silent error.

    @outside_graphs
    def _before(self, g: Tensor) -> None:
        if self.training:
            self.together()  # also where gradients come later, as in a checkpointed pass
            self._refuse_hidden_weight(g)
        if self._in_training(g):
            self._after_step()

    def _refuse_hidden_weight(self, g: Tensor) -> None:
        """Refuse a wrapper that hides the parameter, so that directions would never be renewed.

        Raises:
            ValueError: If there is one.
        """
        plain = isinstance(self.weight, nn.Parameter) or self.tracker is None
        if not plain and in_process_group() and torch.is_grad_enabled() and is_eager(g):
            fail(
                "FullyShardedDataParallel(net)",
                "of networks without directions that are renewed",
                "one with `mupi.Hermite(subspace=...)`",
                "use torch.distributed.fsdp.fully_shard(net)",
            )

    @outside_graphs
    def _after(self, g: Tensor, out: Tensor, spread: Callable[[Tensor], Tensor] | None = None) -> None:
        if self._in_training(g) and self.weight.requires_grad:
            self.recent.watch(g, out, self.weight, spread, self.together(), lambda: self._held)

    def _in_training(self, g: Tensor) -> bool:
        """Whether this pass trains the module; weights that are no parameter come from `functional_call`."""
        return torch.is_grad_enabled() and is_eager(g) and isinstance(self.weight, nn.Parameter)

    def settle(self, step_size: Tensor | float | None = None) -> None:
        """Bring the recent atoms to the units of the step that has been taken with them, if one has.

        Steps of a `torch.optim.Optimizer` are seen by themselves. To be called, with their size, after steps by hand.

        Args:
            step_size: What a step by hand multiplied the gradient with.
        """
        if step_size is not None or version(self._held) != self._weight_version:
            # Steps in which a compiler or `torch.func` hid the layer's inputs leave no atoms to measure an error on.
            self._moved_unseen = not self.recent.told
            self.recent.settle(step_size)
            self._weight_version = version(self._held)
        else:
            self.recent.forget_dropped()

    def _after_step(self) -> None:
        """Right after an optimiser's step, renew the directions when due; not in eval mode, which changes no function.

        Only there no earlier forward pass can still want the old coefficients for its backward pass. A gradient that
        is pending all the same (torch's optimisers leave it) goes along; one that is kept as factors is waited for.
        """
        self.settle()
        waits = isinstance(self._held.grad, FactoredGradient)
        if self.training and not waits and version(self._held) != self._renewal_version:
            if self.tracker is not None and self.tracker.due(self.recent.seen):
                self.renew_directions()
            self._weight_version = self._renewal_version = version(self._held)

    def __getstate__(self) -> dict:
        """Settled, for copies and pickles, of which no optimiser has taken a step."""
        self.settle()
        return self.__dict__.copy()

    def __setstate__(self, state: dict) -> None:
        """The copied weight counts its changes anew."""
        super().__setstate__(state)
        renewed = self._renewal_version == self._weight_version
        self._weight_version = version(self._held)
        self._renewal_version = self._weight_version if renewed else -1

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        self.settle()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        """As of torch; the atoms that are loaded are those of the weight that is."""
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self.recent.forget_training()
        self._weight_version, self._moved_unseen = version(self._held), False


def polar(g: Float[Tensor, "n r"]) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n r"]]:
    """|g| and g/|g|, with |g| held above the root of the smallest normal number.

    At g = 0 the direction is then 0 and its derivative finite, so that c_1(|g|) g/|g| keeps its slope E φ'(0).
    """
    scale = g.square().sum(-1, keepdim=True).clamp_min(torch.finfo(g.dtype).tiny).sqrt()
    return scale, g / scale
