"""The last atoms of a training run, in a ring."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.features.expansion import Expansion
from mupi.torch_internals import will_execute


class RecentAtoms(nn.Module):
    """Keeps the last ``size`` atoms (a, b) = (−∂loss/∂output, g) of a layer, the initial ones (c·a, b) first of all.

    Consecutive atoms, because a weight is a sum with large cancellations: the function that a run of samples added
    has the relative error of the whole to within a factor of two or three, where a random sample of as many atoms
    does not cancel and shows a tenth of it. Atoms carry the learning rate and clipping factor of their step where the
    optimiser tells them, as `mupi.SGD` does (`settle`), else the gradient as it came out of the backward pass.
    """

    a: Float[Tensor, "size rank_out"]
    b: Float[Tensor, "size rank_in"]
    seen: Tensor

    def __init__(self, size: int, initial: Expansion):
        super().__init__()
        self.register_buffer("a", initial.a.new_zeros(size, initial.a.shape[1]))
        self.register_buffer("b", initial.b.new_zeros(size, initial.b.shape[1]))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.append(initial.c[:, None] * initial.a, initial.b)
        self.forget_step()

    def forget_step(self) -> None:
        """Take the atoms as they are, as after the last step."""
        self.unsettled = 0  # atoms since the last step
        self.told = False  # whether a backward pass has been seen since, of no inputs perhaps

    def watch(
        self,
        g: Float[Tensor, "n rank_in"],
        out: Float[Tensor, "rows rank_out"],
        leaf: Tensor,
        spread: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Have the backward pass through ``out`` append its atoms, if it accumulates a gradient in ``leaf``.

        Args:
            g: Inputs.
            out: Output.
            leaf: The weight.
            spread: From ∂loss/∂out to a row for each input, where these were pooled; None if they were not.
        """
        size = len(self.a)
        g, node = g.detach()[-size:], torch.autograd.graph.get_gradient_edge(leaf).node

        def keep(delta: Tensor | None) -> None:
            if delta is not None and _executes(node):  # gradcheck sends undefined gradients
                delta = delta.detach() if spread is None else spread(delta.detach())
                self.append(-delta[-size:], g)
                self.unsettled += len(g)
                self.told = True

        out.register_hook(keep)

    def settle(self, step_size: Tensor | float) -> None:
        """Multiply the atoms since the last step by what the step multiplied the gradient with."""
        size = len(self.a)
        rows = torch.arange(int(self.seen) - min(self.unsettled, size), int(self.seen)) % size
        self.a[rows] *= step_size
        self.forget_step()

    def append(self, a: Float[Tensor, "n rank_out"], b: Float[Tensor, "n rank_in"]) -> None:
        """Add atoms; of more than fit, the last."""
        size = len(self.a)
        a, b = a[-size:], b[-size:]
        start = int(self.seen) % size
        head = min(len(a), size - start)
        for ring, rows in ((self.a, a), (self.b, b)):
            ring[start : start + head] = rows[:head]
            ring[: len(rows) - head] = rows[head:]
        self.seen += len(a)

    def expansion(self) -> Expansion:
        """The atoms in the ring, without a copy, in no order that matters."""
        used = min(int(self.seen), len(self.a))
        return Expansion(self.a.new_ones(used), self.a[:used], self.b[:used])

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.seen = self.seen.cpu()  # read in every step: must not make an accelerator wait
        return self


def _executes(node) -> bool:
    """Whether the backward pass in progress will run this node; not so for gradients of other tensors only."""
    try:
        return will_execute(node)
    except RuntimeError:  # `torch.autograd.grad` with the leaf itself among the inputs: nothing accumulates
        return False
