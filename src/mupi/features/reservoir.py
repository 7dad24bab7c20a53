"""A uniform random sample of a layer's atoms, to measure the error of its feature map on."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.features.expansion import Expansion


class Reservoir(nn.Module):
    """Keeps a few of the atoms (δ, g) of a training run, each equally likely (Vitter's algorithm R, by batches).

    The initial atoms are kept apart (all, or the first ``size``), since the initial function stays in the weight.
    Atoms carry −∂loss/∂output as it came out of the backward pass: learning rate and clipping, which the layer does
    not see, would weigh them by a factor that is the same for all atoms of a step.

    A sampled atom stands for seen/size atoms, and is weighted so.
    """

    initial_c: Float[Tensor, " initial"]
    initial_a: Float[Tensor, "initial rank_out"]
    initial_b: Float[Tensor, "initial rank_in"]
    a: Float[Tensor, "size rank_out"]
    b: Float[Tensor, "size rank_in"]
    seen: Tensor

    def __init__(self, size: int, initial: Expansion):
        super().__init__()
        self.size = size
        for name in ("c", "a", "b"):
            self.register_buffer(f"initial_{name}", getattr(initial, name)[:size].clone())
        self.register_buffer("a", initial.a.new_zeros(size, initial.a.shape[1]))
        self.register_buffer("b", initial.b.new_zeros(size, initial.b.shape[1]))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def watch(self, g: Float[Tensor, "n rank_in"], out: Float[Tensor, "n rank_out"]) -> None:
        """Have the backward pass through ``out`` offer its atoms, if any of this batch is drawn."""
        n, seen = len(g), int(self.seen)
        self.seen += n
        # Seeded by the count, so that the draw is reproducible, resumable and apart from the training's randomness.
        generator = torch.Generator().manual_seed(seen)
        index = torch.arange(seen, seen + n)
        slot = (torch.rand(n, generator=generator, dtype=torch.float64) * (index + 1)).long()
        slot = torch.where(index < self.size, index, slot)
        rows = (slot < self.size).nonzero().squeeze(1)
        if len(rows):
            slots, inputs = slot[rows], g.detach()[rows]
            out.register_hook(lambda delta: self._keep(slots, -delta.detach()[rows], inputs))

    def _keep(self, slots: Tensor, a: Tensor, b: Tensor) -> None:
        self.a[slots], self.b[slots] = a, b

    def expansion(self) -> Expansion:
        """The atoms kept so far."""
        used = min(int(self.seen), self.size)
        weight = self.a.new_full((used,), int(self.seen) / max(used, 1))
        return Expansion(
            torch.cat([self.initial_c, weight]),
            torch.cat([self.initial_a, self.a[:used]]),
            torch.cat([self.initial_b, self.b[:used]]),
        )

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.seen = self.seen.cpu()  # read in every step: must not make an accelerator wait
        return self
