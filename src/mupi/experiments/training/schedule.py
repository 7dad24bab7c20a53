"""A learning rate that drops, and a clipping norm that drops with it."""

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class Drop(LRScheduler):
    """From one epoch on, learning rate and clipping norm are multiplied by a factor.

    The longest update is then factor² times as long as before: the convention of the code of Yang, Santacroce & Hu
    (2022). Call `step` after each epoch.

    Args:
        optimizer: A `mupi.SGD`, whose groups hold their clipping norm under ``"clip"``.
        after: How many epochs run at the full rate; None for all.
        factor: Of both.
    """

    def __init__(self, optimizer: Optimizer, after: int | None, factor: float):
        self.after = after
        self.factor = factor
        self.base_clips = [group["clip"] for group in optimizer.param_groups]
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The learning rate of each group in the coming epoch."""
        return [lr * self._current_factor() for lr in self.base_lrs]

    def step(self, epoch: int | None = None) -> None:
        """Set the rates and norms of the coming epoch."""
        super().step(epoch)
        for group, clip in zip(self.optimizer.param_groups, self.base_clips, strict=True):
            if clip is not None:
                group["clip"] = clip * self._current_factor()

    def _current_factor(self) -> float:
        return 1.0 if self.after is None or self.last_epoch < self.after else self.factor
