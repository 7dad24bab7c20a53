"""A weight matrix between two junctions as a finite sum of atoms, and its value on inputs by the exact kernel."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.features.gate import Gate, Neuron, dual, dual_00, gram, pulled_back

TILE_ENTRIES = 2**15
"""Entries of the largest batch × atoms block held at a time: 128 KB in float32, which stays in a core's cache."""


@takes_numpy
@dataclass(frozen=True)
class Expansion:
    """Atoms (c_m, a_m, b_m): g ↦ Σ_m c_m a_m κ_φ(b_m, g), with κ_φ(b, g) = E_z φ(⟨b, z⟩) φ(⟨g, z⟩), z ~ N(0, I_r).

    How the π-limit holds a weight (Yang, Santacroce & Hu 2022): their matrices A and B have the rows c_m a_m and b_m.

    >>> atoms = mupi.Expansion(torch.ones(2), torch.eye(2), torch.eye(2))
    >>> layer = mupi.PiLinear(2, 2, features=mupi.Atoms(), activation=mupi.Identity(), initial=atoms, bias=False)
    >>> layer(torch.tensor([[3.0, 4.0]])).tolist()  # for the identity κ(b, g) = ⟨b, g⟩
    [[3.0, 4.0]]
    """

    c: Float[Tensor, " m"]
    a: Float[Tensor, "m rank_out"]
    b: Float[Tensor, "m rank_in"]

    def __len__(self) -> int:
        return len(self.c)

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "Expansion":
        """The same atoms in a dtype, and on a device if one is given."""
        return Expansion(*(t.to(device=device, dtype=dtype) for t in (self.c, self.a, self.b)))


def exact_sum(
    activation: Neuron, blocks: Iterable[Expansion], g: Float[Tensor, "n rank_in"], rank_out: int
) -> Float[Tensor, "n rank_out"]:
    """Σ_m c_m a_m κ(b_m, g) over all blocks, without autograd."""
    out = g.new_zeros(len(g), rank_out)
    for rows, tile in _tiles(blocks, g):
        out[rows].addmm_(dual_00(activation, tile.b, g[rows]).mul_(tile.c), tile.a)
    return out


def differentiable_sum(
    activation: Neuron, blocks: Iterable[Expansion], g: Float[Tensor, "n rank_in"], rank_out: int
) -> Float[Tensor, "n rank_out"]:
    """`exact_sum` of operations that can be differentiated as often as κ; autograd keeps n × m numbers a block."""
    out = g.new_zeros(len(g), rank_out)
    for block in blocks:
        c, a, b = (t.to(g.dtype) for t in (block.c, block.a, block.b))
        out = out + dual(activation, b, g) @ (c[:, None] * a)
    return out


def exact_input_gradient(
    activation: Neuron,
    blocks: Iterable[Expansion],
    g: Float[Tensor, "n rank_in"],
    delta: Float[Tensor, "n rank_out"],
) -> Float[Tensor, "n rank_in"]:
    """(∂/∂g Σ_m c_m a_m κ(b_m, g))ᵀ δ.

    With δγ = δ (c∘A)ᵀ and ∂κ/∂g = E[φ'φ'] b + E[φφ''] g:  (δγ ∘ E φ'φ') B + Σ_m (δγ ∘ E φφ'')_m g.
    """
    along_b = torch.zeros_like(g)
    if isinstance(activation, Gate):
        for rows, tile in _tiles(blocks, g):
            along_b[rows] += pulled_back(activation, tile.b, g[rows], (delta[rows] @ tile.a.T).mul_(tile.c))
        return along_b
    along_g = g.new_zeros(len(g), 1)
    for rows, tile in _tiles(blocks, g):
        var_b, cov, var_g = gram(tile.b, g[rows])
        d_gamma = (delta[rows] @ tile.a.T).mul_(tile.c)
        dual_11, dual_02 = activation.dual_gradient(var_b, cov, var_g)
        along_b[rows].addmm_(dual_11 * d_gamma, tile.b)
        along_g[rows] += (dual_02 * d_gamma).sum(1, keepdim=True)
    return along_b + along_g * g


def kernel_norm_squared(
    kernel: Callable[[Tensor, Tensor], Tensor],
    a: Float[Tensor, "m rank_out"],
    b: Float[Tensor, "m rank_in"],
) -> Float[Tensor, ""]:
    """Σ_ij a_i·a_j k(b_i, b_j), in blocks of rows."""
    step = max(1, TILE_ENTRIES // max(1, len(b)))
    parts = [((a[i : i + step] @ a.T) * kernel(b[i : i + step], b)).sum() for i in range(0, len(b), step)]
    return torch.stack(parts).sum() if parts else a.new_zeros(())


def _tiles(blocks: Iterable[Expansion], g: Tensor) -> Iterator[tuple[slice, Expansion]]:
    """Blocks of rows of g and of atoms with at most `TILE_ENTRIES` pairs; half-precision atoms in g's dtype."""
    n = min(len(g), 1024)
    if n == 0:
        return
    width = max(64, TILE_ENTRIES // n)
    for block in blocks:
        for m in range(0, len(block), width):
            tile = Expansion(*(t[m : m + width].to(g.dtype) for t in (block.c, block.a, block.b)))
            for i in range(0, len(g), n):
                yield slice(i, i + n), tile
