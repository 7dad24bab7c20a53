"""`RandomFeatures`: random features. The finite π-net of width n, exactly."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.features.average_pool import AveragePool
from mupi.features.expansion import Expansion
from mupi.features.gate import Neuron, outputs
from mupi.features.weight import Features, Weight
from mupi.parameters import MatrixModule, matmul


@takes_numpy
@dataclass(frozen=True)
class RandomFeatures(Features):
    """ψ(g) = φ(Ω̃ g)/√n with Ω̃ ∈ R^{n×r}, Ω̃ᵀΩ̃ = n I: the finite π-net of width n.

    Random features (Rahimi & Recht 2007) that are the network itself, trained by π-projected SGD (Yang, Santacroce &
    Hu 2022).

    Ω̃ is a Gaussian n × r matrix whitened. With hidden pre-activations Ω̃ g and hidden weights Ω̃ C/√n, SGD projected
    on the span of Ω̃ (π-projection) is plain SGD on C.

    >>> net = mupi.PiMLP(64, 10, rank=20, features=mupi.RandomFeatures(width=256))
    >>> net.readout.weight.omega.shape
    torch.Size([256, 20])

    Args:
        width: n, at least the rank.
    """

    width: int

    def __post_init__(self):
        positive_int("RandomFeatures(width=...)", self.width)

    def weight(
        self, initial: Expansion, activation: Neuron, generator: torch.Generator | None = None
    ) -> "RandomWeight":
        """See `Features.weight`; draws Ω̃."""
        return self.at_junction(initial.b.shape[1], generator).weight(initial, activation)

    def at_junction(self, rank: int, generator: torch.Generator | None = None) -> "RandomJunction":
        """See `Features.at_junction`; draws Ω̃."""
        return RandomJunction(whitened_gaussian(self.width, rank, generator))


@dataclass(frozen=True, eq=False)
class RandomJunction(Features):
    """`RandomFeatures` features of one junction: weights that read it share its Ω̃.

    Args:
        omega: Ω̃, one row a neuron.
    """

    omega: Float[Tensor, "n rank_in"]

    def weight(
        self, initial: Expansion, activation: Neuron, generator: torch.Generator | None = None
    ) -> "RandomWeight":
        """See `Features.weight`; nothing is left to draw."""
        omega = self.omega.to(initial.b)
        psi = outputs(activation, initial.b, omega) / len(omega) ** 0.5
        return RandomWeight(omega, psi.T @ (initial.c[:, None] * initial.a), activation)


class RandomWeight(Weight, MatrixModule):
    """C φ(Ω̃ g)/√n with Ω̃ fixed and Cᵀ, of shape (n, r_out), trained."""

    omega: Float[Tensor, "n rank_in"]

    def __init__(self, omega: Float[Tensor, "n rank_in"], weight: Float[Tensor, "n rank_out"], activation: Neuron):
        super().__init__(omega.shape[1], weight.shape[1], activation)
        self.register_buffer("omega", omega)
        self.weight = nn.Parameter(weight)

    def forward(self, g: Float[Tensor, "*batch rank_in"]) -> Float[Tensor, "*batch rank_out"]:
        """C φ(Ω̃ g)/√n."""
        rows = g.reshape(-1, self.rank_in)
        return matmul(self._features(rows), self.weight).reshape(*g.shape[:-1], self.rank_out)

    def pooled(
        self, g: Float[Tensor, "*batch height width rank_in"], pool: AveragePool
    ) -> Float[Tensor, "*batch rows columns rank_out"]:
        """C pool(φ(Ω̃ g))/√n."""
        psi = pool(self._features(g))
        return matmul(psi.reshape(-1, len(self.weight)), self.weight).reshape(*psi.shape[:-1], self.rank_out)

    def kernel(self, g1: Float[Tensor, "n rank_in"], g2: Float[Tensor, "m rank_in"]) -> Float[Tensor, "n m"]:
        """(1/n) Σ_α φ(⟨Ω̃_α, g⟩) φ(⟨Ω̃_α, g'⟩), the finite network's own kernel."""
        return self._features(g1) @ self._features(g2).T

    def feature_kernel(self, g1: Float[Tensor, "n rank_in"], g2: Float[Tensor, "m rank_in"]) -> Float[Tensor, "n m"]:
        """The average over the n coordinates."""
        return self.kernel(g1, g2)

    @property
    def width(self) -> int:
        """n."""
        return len(self.omega)

    def coordinates(self, g: Float[Tensor, "*batch rank_in"]) -> Float[Tensor, "*batch n"]:
        """φ(Ω̃ g)/√n."""
        return self._features(g)

    def coordinate_kernel(self, u1: Float[Tensor, "n k"], u2: Float[Tensor, "m k"]) -> Float[Tensor, "n m"]:
        """⟨u, u'⟩."""
        return u1 @ u2.T

    def coordinate_diagonal(self, u: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """|u|²."""
        return u.square().sum(1)

    def at_neurons(self, z: Float[Tensor, "n rank_in"]) -> Float[Tensor, "n rank_out"]:
        """Refused: see Raises.

        Raises:
            ValueError: Always; the weight is known at its own n neurons only.
        """
        fail(
            "features",
            "`Atoms` or `Hermite` to sample a finite network from",
            "`RandomFeatures`, which is finite already",
        )

    @property
    def feature_map(self) -> str:
        """With its width, under the name that state dicts of all versions have."""
        return f"Random(width={len(self.omega)})"

    def _features(self, g: Tensor) -> Tensor:
        return outputs(self.activation, g, self.omega) / len(self.omega) ** 0.5


def whitened_gaussian(n: int, rank: int, generator: torch.Generator | None = None) -> Float[Tensor, "n rank"]:
    """Ω̃ = Ω (ΩᵀΩ/n)^{−1/2} with Ω iid N(0, 1), in float64 on the CPU: the nearest matrix with Ω̃ᵀΩ̃ = n I.

    Raises:
        ValueError: If n < rank.
    """
    if n < rank:
        fail("width", f"at least the rank {rank}", n)
    omega = torch.randn(n, rank, dtype=torch.float64, generator=generator)
    left, _, right = torch.linalg.svd(omega, full_matrices=False)
    return left @ right * n**0.5
