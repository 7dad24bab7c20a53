"""A training step that a CUDA device replays as a graph, without waiting for Python."""

from collections.abc import Callable

import torch

import mupi


class CapturedStep:
    """A step on tensors that stay where they are, recorded once for each set of learning rates and replayed.

    Args:
        step: Forward pass, backward pass and the optimiser's step; all that it reads and writes is in place.
        optimizer: Whose rates are part of what is recorded.
    """

    def __init__(self, step: Callable[[], None], optimizer: mupi.SGD):
        self.step, self.optimizer = step, optimizer
        self.rates: list[tuple[float, float | None]] = []
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Take a step."""
        rates = [(group["lr"], group["clip"]) for group in self.optimizer.param_groups]
        if self.graph is not None and rates == self.rates:
            self.graph.replay()
            return
        self.rates, self.graph = rates, None
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.step()  # this one is taken; the next is only recorded
        torch.cuda.current_stream().wait_stream(self.stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=self.pool, stream=self.stream):
            self.step()
