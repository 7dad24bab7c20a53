"""A training step as a CUDA graph: at small batches an accelerator waits for Python, which this spares it."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mupi.optim import SGD


class CapturedStep:
    """One step of SGD on the batch mean of the cross-entropy, recorded once and replayed.

    The graph holds the learning rates as numbers; when a schedule changes them, it is recorded anew. Layers do not
    watch their inputs while it is recorded or replayed: take some steps of every epoch without it.

    Args:
        net: On a CUDA device.
        optimizer: Its optimiser.
        batch_size: Of every batch.
        d_in: Input dimension.
    """

    def __init__(self, net: nn.Module, optimizer: SGD, batch_size: int, d_in: int):
        self.net = net
        self.optimizer = optimizer
        device = next(net.parameters()).device
        self.x = torch.zeros(batch_size, d_in, device=device)
        self.y = torch.zeros(batch_size, dtype=torch.long, device=device)
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.long, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.recorded_for: list | None = None

    def __call__(self, x: Float[Tensor, "batch d"], y: Int64[Tensor, " batch"]) -> None:
        """Take a step; `loss` and `correct` grow by the batch's sums."""
        self.x.copy_(x)
        self.y.copy_(y)
        rates = [(group["lr"], group["clip"], group["weight_decay"]) for group in self.optimizer.param_groups]
        if rates != self.recorded_for:
            self._record()
            self.recorded_for = rates
        else:
            assert self.graph is not None
            self.graph.replay()

    def take_sums(self) -> tuple[float, int]:
        """Loss and number of right answers since the last call."""
        sums = float(self.loss), int(self.correct)
        self.loss.zero_()
        self.correct.zero_()
        return sums

    def _record(self) -> None:
        """Take the step at hand eagerly, on a side stream as graphs want it, then record the next."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self._step()

    def _step(self) -> None:
        self.optimizer.zero_grad()
        logits = self.net(self.x)
        loss = cross_entropy(logits, self.y)
        loss.backward()
        self.optimizer.step()
        self.loss += loss.detach() * len(self.y)
        self.correct += (logits.argmax(1) == self.y).sum()
