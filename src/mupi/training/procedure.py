"""How a training step is taken of a batch: the loss, in how many parts, in which precision."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mupi.distributed.processes import ALONE, Processes

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of outputs and targets of a batch: the mean over its examples."""

OF_A_COMMAND = "the checkpoint is from before; start anew with a lower --lr or --clip"


@dataclass(frozen=True)
class Procedure:
    """How the steps of a run are taken.

    Attributes:
        batch_size: Examples a step.
        loss: The mean over a batch of what is minimized.
        accumulate: In how many parts a batch goes through the network, one after the other.
        autocast: The dtype of `torch.autocast` around network and loss; None for none.
        labels: Whether targets are classes, whose right answers are counted.
        replays: Whether steps may be replayed as a CUDA graph; see `mupi.training.replayed_step`.
        advice: What to do once the loss is not finite.
        processes: Those that take each step together.
        run: What the forward passes of training go through, where it is not the network itself: its wrapper.
    """

    batch_size: int
    loss: Loss
    accumulate: int = 1
    autocast: torch.dtype | None = None
    labels: bool = True
    replays: bool = True
    advice: str = OF_A_COMMAND
    processes: Processes = ALONE
    run: nn.Module | None = None

    def precision(self, device: torch.device) -> AbstractContextManager:
        """The context of forward passes."""
        return nullcontext() if self.autocast is None else torch.autocast(device.type, dtype=self.autocast)

    def mean_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The loss of a process's rows: 0 where it has none."""
        return self.loss(outputs, y) if len(y) else outputs.sum() * 0

    @property
    def pieces(self) -> int:
        """Of how many parts of a batch the losses' mean is to be that of the batch."""
        return self.accumulate * (1 if self.processes.together is None else self.processes.together.size)

    def parts(self, batch: Tensor) -> list[Tensor]:
        """The examples of a batch, those that go through the network together."""
        return list(batch.split(max(1, self.batch_size // self.accumulate)))
