"""The leading directions of recent inputs, found as training goes on."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Directions(nn.Module):
    """Which directions of R^r the inputs ḡ = g/|g| lie in.

    Keeps the last ``window`` inputs in a ring, and the running second moment E ḡ ḡᵀ in which every renewal has the
    weight of all before it together. A renewal is due after 128 inputs, then each time their number has doubled,
    but at the latest after ``renew_every`` more.
    """

    recent: Float[Tensor, "window r"]
    moment: Float[Tensor, "r r"]
    seen: Tensor
    next_renewal: Tensor

    first_renewal = 128

    def __init__(self, rank: int, window: int, renew_every: int, dtype: torch.dtype, device: torch.device):
        super().__init__()
        self.renew_every = renew_every
        self.register_buffer("recent", torch.zeros(window, rank, dtype=dtype, device=device))
        self.register_buffer("moment", torch.zeros(rank, rank, dtype=dtype, device=device))
        # Counters live on the CPU: they are read in every step, and must not make an accelerator wait.
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("next_renewal", torch.tensor(self.first_renewal))

    def observe(self, unit: Float[Tensor, "n r"]) -> None:
        """Remember inputs; of more than fit the window, the first."""
        window = len(self.recent)
        unit = unit[:window]
        start = int(self.seen) % window
        head = min(len(unit), window - start)
        self.recent[start : start + head] = unit[:head]
        self.recent[: len(unit) - head] = unit[head:]
        self.seen += len(unit)

    @property
    def due(self) -> bool:
        """Whether a renewal is due."""
        return bool(self.seen >= self.next_renewal)

    def renew(self, old: dict[int, Float[Tensor, "r _"]]) -> dict[int, Float[Tensor, "r _"]]:
        """New directions, for each degree as many as the old ones.

        They span the leading eigenvectors of the second moment, in the basis of that span nearest to the old
        directions (Procrustes), so that coefficients, and an optimiser's memory of them, keep their meaning.
        """
        count = min(int(self.seen), len(self.recent))
        inputs = self.recent[:count].double()
        new_moment = inputs.T @ inputs / max(count, 1)
        moment = (self.moment.double() + new_moment) / 2 if self.moment.any() else new_moment
        self.moment.copy_(moment)
        self.next_renewal.copy_(self.seen + torch.minimum(self.seen, torch.tensor(self.renew_every)))
        vectors = torch.linalg.eigh(moment).eigenvectors.flip(1)
        return {degree: _nearest_basis(vectors[:, : p.shape[1]], p) for degree, p in old.items()}

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.seen, self.next_renewal = self.seen.cpu(), self.next_renewal.cpu()
        return self


def _nearest_basis(span: Float[Tensor, "r p"], old: Float[Tensor, "r p"]) -> Float[Tensor, "r p"]:
    """The orthonormal basis of ``span`` nearest to ``old``: span · polar(spanᵀ old)."""
    left, _, right = torch.linalg.svd(span.T @ old.to(span))
    return (span @ (left @ right)).to(old)
