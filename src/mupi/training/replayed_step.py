"""A training step that a CUDA device replays as a graph, without waiting for Python."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from mupi.features import AtomWeight, HermiteWeight
from mupi.optim import SGD

EAGER_STEPS = 32  # in which layers look at their inputs: as many at first, and before each renewal of directions

Replay = Callable[[], None]


def replayable(net: nn.Module) -> bool:
    """Whether a step of mupi.SGD with this network can be replayed: on CUDA, and of the same shapes each time."""
    on_cuda = all(p.is_cuda for p in net.parameters())
    return on_cuda and not any(isinstance(module, AtomWeight) for module in net.modules())


class CudaGraphs:
    """Takes a step and records it as a CUDA graph; all its graphs share a stream and a pool of memory."""

    def __init__(self):
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def __call__(self, step: Callable[[], None]) -> Replay:
        """Take the step, and return what takes it again."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            step()  # this one is taken; the next is only recorded
        torch.cuda.current_stream().wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            step()
        return graph.replay


@cache
def cuda_graphs() -> CudaGraphs:
    """One for all runs of the process: each stream that multiplies matrices keeps 32 MB for it until the end."""
    return CudaGraphs()


class ReplayedStep:
    """A step that is recorded once for each set of learning rates, and then replayed.

    At small batches an accelerator waits for Python, which launches a hundred small kernels a step. A graph spares it
    that, but in a replay Python sees no values. So `mupi.Hermite` is told how many inputs went by unseen, and the
    steps before its directions are due to be renewed are taken one by one, as are the first `EAGER_STEPS`: directions
    are renewed after the same number of inputs as without graphs, from the last inputs that were looked at.

    Args:
        step: Forward pass, backward pass and the optimiser's step, of tensors such as indices of images. All else that
            it reads and writes is in place.
        net: The network; see `replayable`.
        optimizer: Whose rates are part of what is recorded.
        record: Takes a step and returns what takes it again; None for `cuda_graphs`.
    """

    def __init__(
        self,
        step: Callable[..., None],
        net: nn.Module,
        optimizer: SGD,
        record: Callable[[Callable[[], None]], Replay] | None = None,
    ):
        self.step, self.optimizer = step, optimizer
        self.inputs_a_step = {module: 0 for module in net.modules() if isinstance(module, HermiteWeight)}
        self.record = record or cuda_graphs()
        self.eager_steps = 0
        self.rates: list[tuple[float, float | None]] = []
        self.inputs: tuple[Tensor, ...] = ()
        self.replay: Replay | None = None

    def __call__(self, *inputs: Tensor) -> None:
        """Take a step; inputs of other shapes than the first ones are for steps that are not replayed."""
        if self.eager_steps < EAGER_STEPS or self._must_look() or not self._fit(inputs):
            self._look(inputs)
            return
        for static, given in zip(self.inputs, inputs, strict=True):
            static.copy_(given)
        rates = [(group["lr"], group["clip"]) for group in self.optimizer.param_groups]
        if self.replay is None or rates != self.rates:
            self._record(rates)
            return
        self.replay()
        for weight, inputs_a_step in self.inputs_a_step.items():
            weight.pass_by(inputs_a_step)

    def _look(self, inputs: tuple[Tensor, ...]) -> None:
        """A step in which layers look at their inputs."""
        before = self._seen()
        self.step(*inputs)
        if not self.inputs:
            self.inputs = tuple(t.clone() for t in inputs)
        for weight, seen in before.items():
            weight.settle()
            if self._fit(inputs):
                self.inputs_a_step[weight] = weight.inputs_seen - seen
        self.eager_steps += 1

    def _record(self, rates: list[tuple[float, float | None]]) -> None:
        """A step after which there is a graph of it."""
        before = self._seen()
        self.replay, self.rates = self.record(lambda: self.step(*self.inputs)), rates
        for weight, seen in before.items():
            weight.settle()
            # Whether the layers looked at the step that was taken is up to `record`.
            weight.pass_by(self.inputs_a_step[weight] - (weight.inputs_seen - seen))

    def _must_look(self) -> bool:
        """Whether directions are to be renewed soon."""
        return any(weight.renews_within(EAGER_STEPS * n) for weight, n in self.inputs_a_step.items())

    def _fit(self, inputs: tuple[Tensor, ...]) -> bool:
        """Whether these are of the shapes of the first ones."""
        return [t.shape for t in inputs] == [t.shape for t in self.inputs]

    def _seen(self) -> dict[HermiteWeight, int]:
        return {weight: weight.inputs_seen for weight in self.inputs_a_step}
