"""A learning rate that drops, and a clipping norm that drops with it; at the end the rate may fall to 0."""

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class DropAndAnneal(LRScheduler):
    """From one epoch on, learning rate and clipping norm are multiplied by a factor; in the last ones the rate falls.

    After the drop the longest update is factor² times as long as before: the convention of the code of Yang,
    Santacroce & Hu (2022). The last epochs multiply the rate alone by (i − ½)/n, i = n … 1: a straight line to 0. The
    norm stays, or weight decay, which shrinks with the rate only, would win over the clipped gradient. Call `step`
    after each epoch.

    Args:
        optimizer: A `mupi.SGD`, whose groups hold their clipping norm under ``"clip"``.
        after: How many epochs run at the full rate; None for all.
        factor: What both the rate and the clip are multiplied by at the drop.
        epochs: How many there are; needed to anneal.
        anneal: The number n of epochs to anneal over.
    """

    def __init__(self, optimizer: Optimizer, after: int | None, factor: float, *, epochs: int = 0, anneal: int = 0):
        self.after = after
        self.factor = factor
        self.epochs = epochs
        self.anneal = anneal
        self.base_clips = [group["clip"] for group in optimizer.param_groups]
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The learning rate of each group in the coming epoch."""
        left = self.epochs - self.last_epoch
        line = (left - 0.5) / self.anneal if 0 < left <= self.anneal else 1.0
        return [lr * self._drop() * line for lr in self.base_lrs]

    def step(self, epoch: int | None = None) -> None:
        """Set the rates and norms of the coming epoch."""
        super().step(epoch)
        for group, clip in zip(self.optimizer.param_groups, self.base_clips, strict=True):
            if clip is not None:
                group["clip"] = clip * self._drop()

    def _drop(self) -> float:
        return 1.0 if self.after is None or self.last_epoch < self.after else self.factor
