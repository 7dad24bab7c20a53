"""What a feature map has to provide: a weight matrix between two junctions."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.conventions import Conventional, function
from mupi.distributed.sharded import first_parameter
from mupi.features.average_pool import AveragePool
from mupi.features.expansion import Expansion
from mupi.features.gate import Gate, Neuron, dual, dual_diagonal


class Weight(Conventional, ABC):
    """A weight matrix of a π-network between junctions of ranks r_in and r_out, acting as g ↦ C ψ(g).

    In coordinates: the layer before has pre-activations ⟨g, z⟩ and the layer after ⟨g_out, z'⟩.

    >>> weight = mupi.PiLinear(4, 3, features=mupi.Hermite(2), activation=mupi.ReLU()).weight
    >>> isinstance(weight, mupi.Weight), weight.rank_in, weight.rank_out
    (True, 4, 3)
    """

    def __init__(self, rank_in: int, rank_out: int, activation: Neuron):
        super().__init__()
        self.rank_in = rank_in
        self.rank_out = rank_out
        self.activation = activation

    @abstractmethod
    def forward(self, g: Float[Tensor, "*batch rank_in"]) -> Float[Tensor, "*batch rank_out"]:
        """C ψ(g)."""

    def pooled(
        self, g: Float[Tensor, "*batch height width rank_in"], pool: AveragePool
    ) -> Float[Tensor, "*batch rows columns rank_out"]:
        """C pool(ψ(g)), which is pool(C ψ(g)); constant memory pools first, where the product then costs less."""
        return pool(self(g))

    @abstractmethod
    def kernel(self, g1: Float[Tensor, "n rank_in"], g2: Float[Tensor, "m rank_in"]) -> Float[Tensor, "n m"]:
        """⟨ψ(g), ψ(g')⟩, which training sees: κ_φ(g, g') or an approximation of it."""

    def feature_kernel(self, g1: Float[Tensor, "n rank_in"], g2: Float[Tensor, "m rank_in"]) -> Float[Tensor, "n m"]:
        """E φ(h)φ(h') over the coordinates h, h' of the layer's pre-activations: κ_φ(g, g') at infinite width."""
        return dual(self.activation, g2, g1)

    @property
    def width(self) -> int | None:
        """n of a finite network's layer; None at infinite width."""
        return None

    def coordinates(self, g: Float[Tensor, "*batch rank_in"]) -> Float[Tensor, "*batch k"]:
        """What C reads: φ(h)/√n over the coordinates h of a finite layer; at infinite width g, which stands for all."""
        return g

    def coordinate_kernel(self, u1: Float[Tensor, "n k"], u2: Float[Tensor, "m k"]) -> Float[Tensor, "n m"]:
        """E φ(h)φ(h') of what `coordinates` gives; in a finite layer the mean over its neurons."""
        return self.feature_kernel(u1, u2)

    def coordinate_diagonal(self, u: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """E φ(h)² of what `coordinates` gives."""
        return dual_diagonal(self.activation, u)

    @abstractmethod
    def at_neurons(self, z: Float[Tensor, "n rank_in"]) -> Float[Tensor, "n rank_out"]:
        """The weight of the finite network whose neuron α has pre-activation ⟨g, z_α⟩: rows w(z_α)/√n.

        w(z) is the function with E_z w(z) φ(⟨g, z⟩) = C ψ(g); the finite network's layer is φ(g zᵀ) W/√n.

        Raises:
            ValueError: If the weight is that of a finite network already.
        """

    @property
    @abstractmethod
    def feature_map(self) -> str:
        """ψ in words, with all that decides it but what tensors say."""

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        like, φ = next(self.parameters()), self.activation
        said: dict[str, Any] = {"features": self.feature_map}
        if isinstance(φ, Gate):
            return said | {"activation": function(φ.first, like), "gate": function(φ.second, like)}
        return said | {"activation": function(φ, like)}

    @property
    def dtype(self) -> torch.dtype:
        """The floating dtype of inputs and outputs."""
        return first_parameter(self).dtype

    @property
    def num_atoms(self) -> int:
        """How many atoms are stored; 0 for a feature map of constant memory."""
        return 0

    def sample_atoms(self) -> Expansion | None:
        """Atoms on which to measure the error of the feature map, or None where there is no error."""
        return None

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        return f"rank_in={self.rank_in}, rank_out={self.rank_out}, activation={self.activation}"


class Features(ABC):
    """A choice of feature map ψ with κ_φ(b, g) = ⟨ψ(b), ψ(g)⟩, exactly or nearly.

    >>> isinstance(mupi.Hermite(2), mupi.Features), isinstance(mupi.Atoms(), mupi.Features)
    (True, True)
    """

    def at_junction(self, rank: int, generator: torch.Generator | None = None) -> "Features":
        """The same feature map for all weights that read one junction, as the blocks of a residual network do.

        Only a finite network's feature map depends on the junction, by its Ω̃.

        Args:
            rank: The junction's rank r.
            generator: Draws the junction's Ω̃.
        """
        return self

    @abstractmethod
    def weight(self, initial: Expansion, activation: Neuron, generator: torch.Generator | None = None) -> Weight:
        """A weight that starts as the given sum of atoms (with dtype and device of ``initial``).

        Args:
            initial: The sum of atoms; it may be empty, its shapes still tell the ranks.
            activation: The activation φ that the weight reads the junction through, or a product of two.
            generator: Randomness of the feature map itself, where it has any.
        """
