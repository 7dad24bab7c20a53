"""The leading directions of recent inputs, renewed as training goes on."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Directions(nn.Module):
    """When to look for the leading directions of a layer's inputs, and what they are.

    A renewal is due after 128 inputs, then each time their number has doubled, but at the latest after
    ``renew_every`` more. It takes the second moment of ḡ = g/|g| over the recent inputs, averaged half and half with
    that of the renewal before.
    """

    moment: Float[Tensor, "r r"]
    next_renewal: Tensor

    def __init__(self, rank: int, seen: int, renew_every: int, like: Tensor):
        super().__init__()
        self.renew_every = renew_every
        self.register_buffer("moment", like.new_zeros(rank, rank))
        self.register_buffer("next_renewal", torch.tensor(seen + 128))

    def due(self, seen: Tensor) -> bool:
        """Whether a renewal is due after ``seen`` inputs."""
        return bool(seen >= self.next_renewal)

    def renew(
        self, unit: Float[Tensor, "n r"], seen: Tensor, old: dict[int, Float[Tensor, "r _"]]
    ) -> dict[int, Float[Tensor, "r _"]]:
        """New directions, for each degree as many as the old ones.

        They span the leading eigenvectors of the second moment, in the basis of that span nearest to the old
        directions (Procrustes), so that coefficients, and an optimiser's memory of them, keep their meaning.
        """
        unit = unit.double()
        new_moment = unit.T @ unit / max(len(unit), 1)
        moment = (self.moment.double() + new_moment) / 2 if self.moment.any() else new_moment
        self.moment.copy_(moment)
        self.next_renewal.copy_(seen + seen.clamp(max=self.renew_every))
        vectors = torch.linalg.eigh(moment).eigenvectors.flip(1)
        return {degree: _nearest_basis(vectors[:, : p.shape[1]], p) for degree, p in old.items()}

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.next_renewal = self.next_renewal.cpu()  # read in every step: must not make an accelerator wait
        return self


def _nearest_basis(span: Float[Tensor, "r p"], old: Float[Tensor, "r p"]) -> Float[Tensor, "r p"]:
    """The orthonormal basis of ``span`` nearest to ``old``: span · polar(spanᵀ old)."""
    left, _, right = torch.linalg.svd(span.T @ old.to(span))
    return (span @ (left @ right)).to(old)
