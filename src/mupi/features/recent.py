"""The last atoms of a training run, in a ring."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mupi.distributed.alone import others_may_train
from mupi.distributed.together import Together
from mupi.features.expansion import Expansion
from mupi.optim import StepWatch, TakenStep
from mupi.torch_internals import will_execute

ALONG = 0.9
"""Cosine of the angle with the gradient from which on a step is taken for one along it."""


class RecentAtoms(nn.Module):
    """Keeps the last ``size`` atoms (a, b) = (−∂loss/∂output, g) of a layer, the initial ones (c·a, b) first of all.

    Consecutive atoms, because a weight is a sum with large cancellations: the function that a run of samples added
    has the relative error of the whole to within a factor of two or three, where a random sample of as many atoms
    does not cancel and shows a tenth of it. So atoms are in units of what their step added, as `StepWatch` sees it:
    times its learning rate and clipping factor, or what any other optimizer took along the gradient. Where that is
    not known they are the gradients as they came out of the backward pass, and `doubt` says so. Atoms whose gradient
    was thrown away without a step are made 0.

    The units are one number an atom beside the rows, until someone asks for these: of images each step replaces all
    rows, and a tenth of its time would go into multiplying them.
    """

    a: Float[Tensor, "size rank_out"]
    b: Float[Tensor, "size rank_in"]
    units: Float[Tensor, " size"]
    seen: Tensor

    def __init__(self, size: int, initial: Expansion):
        super().__init__()
        self.register_buffer("a", initial.a.new_zeros(size, initial.a.shape[1]))
        self.register_buffer("b", initial.b.new_zeros(size, initial.b.shape[1]))
        self.register_buffer("units", initial.a.new_ones(size), persistent=False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.append(initial.c[:, None] * initial.a, initial.b)
        self.step = StepWatch()
        self.forget_training()

    def forget_training(self) -> None:
        """Take the rows for what they should be, as when they have been loaded."""
        self.units.fill_(1)
        self.last_step: TakenStep | None = None
        self.in_doubt = 0  # how many atoms there were when one was last not brought to the units of its step
        self.forget_step()

    def forget_step(self) -> None:
        """Take the atoms as they are, as after the last step."""
        self.unsettled = 0  # atoms since the last step
        self.told = False  # whether a backward pass has been seen since, of no inputs perhaps
        self.step.take()

    def watch(
        self,
        g: Float[Tensor, "n rank_in"],
        out: Float[Tensor, "rows rank_out"],
        leaf: Tensor,
        spread: Callable[[Tensor], Tensor] | None = None,
        together: Together | None = None,
        held: Callable[[], Tensor] | None = None,
    ) -> None:
        """Have the backward pass through ``out`` append its atoms, if it accumulates a gradient in ``leaf``.

        Args:
            g: The layer's inputs, one row each.
            out: The layer's output, whose gradient is the atoms' a.
            leaf: The parameter that the backward pass must reach for the atoms to count.
            spread: From ∂loss/∂out to a row for each input, where these were pooled; None if they were not.
            together: The processes whose atoms they are, in the order of their rows in the whole batch; None for one.
            held: What the optimizer moves, asked after the pass, where that is not the leaf.
        """
        size = len(self.a)
        alone = together is None and not others_may_train()  # asked here: backward threads see no `by_itself`
        g, node = g.detach()[-size:], torch.autograd.graph.get_gradient_edge(leaf).node

        def keep(delta: Tensor | None) -> None:
            if delta is not None and _executes(node):  # gradcheck sends undefined gradients
                delta, b, unit = delta.detach() if spread is None else spread(delta.detach()), g, -1.0
                delta = delta[len(delta) - len(b) :]
                if together is not None:
                    counts = together.counts(b)
                    delta, b = together.last_rows((delta, b), counts, size)
                    unit /= together.size
                self.forget_dropped()
                self.append(delta, b, unit)
                self.unsettled += len(b)
                self.told = True
                self.step.wait(leaf if held is None else held(), alone)

        out.register_hook(keep)

    def settle(self, step_size: Tensor | float | None = None) -> None:
        """Multiply the atoms since the last step by what the step multiplied the gradient with.

        Args:
            step_size: That number, of a step by hand; None for that of the optimizer's.
        """
        step = self.step.take()
        if step_size is not None:
            step = TakenStep("by hand", step_size, 1.0)
        if step is not None:
            self.units[self._since_step()] *= step.size
        elif self.unsettled:
            self.in_doubt = int(self.seen)
        self.last_step = step
        self.forget_step()

    def forget_dropped(self) -> None:
        """Make atoms 0 whose gradient was thrown away without a step: an attack's, or one that overflowed."""
        if self.unsettled and self.step.dropped:
            self.a[self._since_step()] = 0  # not their units, as 0·∞ is none
            self.forget_step()

    def _since_step(self) -> Int[Tensor, " n"]:
        """The rows of the atoms since the last step."""
        size = len(self.a)
        return torch.arange(int(self.seen) - min(self.unsettled, size), int(self.seen)) % size

    @property
    def doubt(self) -> str:
        """What the atoms are not that they should be, in words; empty for nothing."""
        if self.in_doubt and int(self.seen) - self.in_doubt < len(self.a):
            return (
                "some atoms are gradients, in other units than the rest: of steps that no torch.optim.Optimizer took, "
                "that found no gradient before them, or that another than mupi.SGD took of several processes' mean; "
                "tell each such step by weight.settle(step_size)"
            )
        if self.last_step is not None and float(self.last_step.along) < ALONG:
            return (
                f"{self.last_step.optimizer} does not step along the gradient (the last time at a cosine of "
                f"{float(self.last_step.along):.2f}): the atoms are the part that is, the error is that of their sum"
            )
        return ""

    def append(self, a: Float[Tensor, "n rank_out"], b: Float[Tensor, "n rank_in"], unit: float = 1.0) -> None:
        """Add atoms ``unit``·(a, b); of more than fit, the last."""
        size = len(self.a)
        a, b = a[-size:], b[-size:]
        start = int(self.seen) % size
        head = min(len(a), size - start)
        for ring, rows in ((self.a, a), (self.b, b)):
            ring[start : start + head] = rows[:head]
            ring[: len(rows) - head] = rows[head:]
        self.units[start : start + head] = self.units[: len(a) - head] = unit
        self.seen += len(a)

    def expansion(self) -> Expansion:
        """The atoms in the ring, without a copy, in no order that matters."""
        self._multiply()
        b = self.inputs
        return Expansion(self.a.new_ones(len(b)), self.a[: len(b)], b)

    @property
    def inputs(self) -> Float[Tensor, "m rank_in"]:
        """The b of `expansion`."""
        return self.b[: min(int(self.seen), len(self.b))]

    @torch.no_grad()
    def _multiply(self) -> None:
        """Bring the rows to their units."""
        self.a *= self.units[:, None]
        self.units.fill_(1)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        self._multiply()
        super()._save_to_state_dict(destination, prefix, keep_vars)

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
