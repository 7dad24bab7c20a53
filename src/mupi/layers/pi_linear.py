"""`PiLinear`, the layer of every π-network, and π-initialisation."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, last_axis, non_negative, positive_int
from mupi.conventions import Conventional
from mupi.features import AveragePool, Expansion, Features, Weight
from mupi.layers.positions import pairwise


@takes_numpy
class PiLinear(Conventional):
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
        activation: Activation | Callable[[Tensor], Tensor],
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
        self.weight: Weight = features.weight(initial, as_activation(activation, "PiLinear(activation=...)"), generator)
        self.bias = nn.Parameter(initial.c.new_zeros(rank_out)) if bias and bias_scale else None

    def forward(
        self, g: Float[Tensor, "*batch rank_in"], pool: AveragePool | None = None
    ) -> Float[Tensor, "*pooled rank_out"]:
        """scale·(C ψ(g) + bias_scale·β); with ``pool``, of ψ(g) averaged over the last two axes before r."""
        last_axis("PiLinear.forward(g)", g, self.weight.rank_in, self.weight.dtype)
        out = self.weight(g) if pool is None else self.weight.pooled(g, pool)
        if self.bias is not None:
            out = out + self.bias_scale * self.bias
        return self.scale * out

    @property
    def width(self) -> int | None:
        """n of a finite network; None at infinite width."""
        return self.weight.width

    @property
    def rank(self) -> int:
        """r of the junction that it reads."""
        return self.weight.rank_in

    def features(self, g: Float[Tensor, "*batch rank_in"]) -> Float[Tensor, "*batch k"]:
        """What the weight reads: φ(h)/√n in a finite network; at infinite width g, which stands for all coordinates."""
        return self.weight.coordinates(g)

    def kernel(
        self, features1: Float[Tensor, "*batch1 k"], features2: Float[Tensor, "*batch2 k"]
    ) -> Float[Tensor, "*pairs"]:
        """E φ(h)φ(h') between `features`, of shape (*batch1, *batch2); over its neurons if it is finite."""
        return pairwise(self.weight.coordinate_kernel, features1, features2)

    def diagonal(self, features: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
        """E φ(h)² of each."""
        return self.weight.coordinate_diagonal(features.flatten(0, -2)).reshape(features.shape[:-1])

    @torch.no_grad()
    def read_alike(self, other: "PiLinear") -> None:
        """Take the neurons or the directions of another layer of the same junction; for a weight that is still 0."""
        for name, buffer in other.weight.named_buffers(recurse=False):
            self.weight.get_buffer(name).copy_(buffer)

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return {"scale": self.scale, "bias_scale": self.bias_scale if self.bias is not None else 0.0}

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        return f"scale={self.scale}, bias_scale={self.bias_scale}"


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
    rank_in: int, rank_out: int, std: float | None = None, generator: torch.Generator | None = None
) -> Expansion:
    """M_0 = rank_in atoms: c = 1, entries of a iid N(0, std²), rows of b uniform on the sphere; in float64.

    ``std`` None is 1/√rank_in, with which ⟨g_out, z⟩ keeps the variance E κ² of order one; 0 gives no atoms.
    """
    if std == 0:
        none = torch.zeros(0, dtype=torch.float64)
        return Expansion(none, none.reshape(0, rank_out), none.reshape(0, rank_in))
    a = torch.randn(rank_in, rank_out, dtype=torch.float64, generator=generator)
    b = torch.randn(rank_in, rank_in, dtype=torch.float64, generator=generator)
    c = torch.ones(rank_in, dtype=torch.float64)
    return Expansion(c, a * (rank_in**-0.5 if std is None else std), nn.functional.normalize(b))
