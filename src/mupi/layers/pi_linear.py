"""`PiLinear`, the layer of every π-network, and π-initialisation."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, last_axis, non_negative, positive_int
from mupi.conventions import Conventional
from mupi.features import AveragePool, Expansion, Features, Gate, Neuron, Weight
from mupi.layers.reads_junction import ReadsJunction


@takes_numpy
class PiLinear(ReadsJunction, Conventional):
    """g ↦ scale·(C ψ(g) + bias_scale·β): an infinitely wide weight matrix applied to φ of a layer.

    A *junction* is a place of the network where infinitely many pre-activations stand: between the weights that write
    them and those that read φ of them. In the π-limit (Yang, Santacroce & Hu 2022) all of it is a vector g ∈ R^r, the
    junction's rank, by which neuron z has the pre-activation ⟨g, z⟩, z ~ N(0, I_r); so networks pass on g, not
    activations, and φ is the business of the weight that reads. This one reads φ(⟨g, z⟩) and writes the next junction,
    exactly Σ_m c_m a_m κ_φ(b_m, g). Tensors have shape (..., r); leading axes (batch, positions, …) share the weight.
    Adding outputs of equal rank is a residual sum. See also docs/notation.md.

    >>> layer = mupi.PiLinear(8, 5, features=mupi.Hermite(2), activation=torch.relu)
    >>> layer(torch.randn(3, 8)).shape  # from one junction to the next
    torch.Size([3, 5])

    Args:
        rank_in: r of the junction that it reads.
        rank_out: r of the junction that it writes, or the number of outputs of a readout.
        features: The feature map ψ: `mupi.Atoms`, `mupi.Hermite` or `mupi.RandomFeatures`.
        activation: φ, an `Activation` or any callable.
        bias: Whether there is a bias β, initially 0.
        scale: Multiplier of the output.
        bias_scale: Multiplier of β; 0 leaves the bias out.
        initial: The initial sum of atoms; None for π-initialisation.
        init_std: Standard deviation of a's entries in π-initialisation; None for 1/√rank_in, 0 for no initial atoms.
        generator: Draws the initial atoms and whatever is random in the feature map; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.
    """

    def __init__(
        self,
        rank_in: int,
        rank_out: int,
        *,
        features: Features,
        activation: Neuron | Callable[[Tensor], Tensor],
        bias: bool = True,
        scale: float = 1.0,
        bias_scale: float = 1.0,
        initial: Expansion | None = None,
        init_std: float | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        positive_int("PiLinear(rank_in=...)", rank_in)
        positive_int("PiLinear(rank_out=...)", rank_out)
        check_options("PiLinear", features, scale, bias_scale, init_std)
        if initial is None:
            initial = pi_initialization(rank_in, rank_out, init_std, generator)
        check_ranks("PiLinear", initial, rank_in, rank_out)
        initial = initial.to(dtype or torch.get_default_dtype(), device)
        self.scale = scale
        self.bias_scale = bias_scale
        self.weight: Weight = features.weight(initial, neuron(activation, "PiLinear(activation=...)"), generator)
        self.bias = nn.Parameter(initial.c.new_zeros(rank_out)) if bias and bias_scale else None

    def forward(
        self, g: Float[Tensor, "*batch rank_in"], pool: AveragePool | Callable[[Tensor], Tensor] | None = None
    ) -> Float[Tensor, "*pooled rank_out"]:
        """scale·(C pool(ψ(g)) + bias_scale·β).

        Args:
            g: The junction at each position.
            pool: The average over blocks of the last two axes before r, or any linear map between positions, which
                commutes with C; None for none.
        """
        last_axis("PiLinear.forward(g)", g, self.weight.rank_in, self.weight.dtype)
        if isinstance(pool, AveragePool):
            out = self.weight.pooled(g, pool)
        else:
            out = self.weight(g) if pool is None else pool(self.weight(g))
        if self.bias is not None:
            out = out + self.bias_scale * self.bias
        return self.scale * out

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return {"scale": self.scale, "bias_scale": self.bias_scale if self.bias is not None else 0.0}

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        return f"scale={self.scale}, bias_scale={self.bias_scale}"


def neuron(activation: Neuron | Callable[[Tensor], Tensor], argument: str) -> Neuron:
    """`mupi.activations.as_activation`, which leaves a product of two as it is."""
    return activation if isinstance(activation, Gate) else as_activation(activation, argument)


def check_options(layer: str, features: Features, scale: float, bias_scale: float, init_std: float | None) -> None:
    """Raise ``ValueError`` for an argument that no π-layer takes."""
    non_negative(f"{layer}(scale=...)", scale)
    non_negative(f"{layer}(bias_scale=...)", bias_scale)
    if init_std is not None:
        non_negative(f"{layer}(init_std=...)", init_std)
    if not isinstance(features, Features):
        fail(
            f"{layer}(features=...)",
            "a feature map",
            repr(features),
            "pass mupi.Atoms(), mupi.Hermite(degree=2) or mupi.RandomFeatures(width=...)",
        )


def check_ranks(layer: str, initial: Expansion, rank_in: int, rank_out: int) -> None:
    """Raise ``ValueError`` for initial atoms of other ranks."""
    if initial.b.shape[1] != rank_in or initial.a.shape[1] != rank_out:
        fail(
            f"{layer}(initial=...)",
            f"atoms of ranks {rank_in} → {rank_out}",
            f"ranks {initial.b.shape[1]} → {initial.a.shape[1]}",
        )


def pi_initialization(
    rank_in: int | Sequence[int], rank_out: int, std: float | None = None, generator: torch.Generator | None = None
) -> Expansion:
    """M_0 = rank_in atoms: c = 1, entries of a iid N(0, std²), rows of b uniform on the sphere; in float64.

    ``std`` None is 1/√rank_in, with which ⟨g_out, z⟩ keeps the variance E κ² of order one; 0 gives no atoms. Of two
    ranks, of a layer that reads a product, the first is the number of atoms, and b is on a sphere in each.
    """
    ranks = [rank_in] if isinstance(rank_in, int) else list(rank_in)
    if std == 0:
        none = torch.zeros(0, dtype=torch.float64)
        return Expansion(none, none.reshape(0, rank_out), none.reshape(0, sum(ranks)))
    m = ranks[0]
    a = torch.randn(m, rank_out, dtype=torch.float64, generator=generator)
    b = [torch.randn(m, rank, dtype=torch.float64, generator=generator) for rank in ranks]
    c = torch.ones(m, dtype=torch.float64)
    return Expansion(c, a * (m**-0.5 if std is None else std), torch.cat([nn.functional.normalize(x) for x in b], 1))
