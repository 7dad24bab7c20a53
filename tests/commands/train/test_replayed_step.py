"""Steps that are replayed are the steps that would have been taken one by one."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

import mupi
from assertions import assert_close
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import MuPerceptron
from mupi.commands.train.train import train_network
from mupi.features import Atoms, Hermite, HermiteWeight, RandomFeatures
from mupi.nets import PiMLP
from mupi.training.replayed_step import EAGER_STEPS, ReplayedStep, replayable

IMAGES, BATCH, CLASSES = 64, 4, 3
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Training:
    """A small network, its optimiser, and a step on images of given numbers."""

    def __init__(self, features: mupi.Hermite):
        g = torch.Generator().manual_seed(0)
        self.x = torch.randn(IMAGES, 5, generator=g, dtype=torch.float64)
        self.y = torch.randint(CLASSES, (IMAGES,), generator=g)
        self.net = PiMLP(5, CLASSES, 6, 1, features=features, readout_std=0.1, generator=g, dtype=torch.float64)
        self.optimizer = mupi.SGD(self.net.parameter_groups(0.5), clip=0.5)
        self.looked: list[bool] = []

    def step(self, images: torch.Tensor) -> None:
        self.looked.append(self.net.training)
        cross_entropy(self.net(self.x[images]), self.y[images]).backward()
        self.optimizer.step()

    def unseen(self, step: Callable[[], None]) -> Callable[[], None]:
        """In place of a graph: steps in which, as in a replay, no layer looks at its inputs."""

        def replay() -> None:
            self.net.eval()
            for weight in self.weights():
                vars(weight)["_in_training"] = lambda g: False
            step()
            for weight in self.weights():
                del vars(weight)["_in_training"]
            self.net.train()

        replay()
        return replay

    def weights(self) -> list[HermiteWeight]:
        return [m for m in self.net.modules() if isinstance(m, HermiteWeight)]

    def batches(self, steps: int) -> list[torch.Tensor]:
        g = torch.Generator().manual_seed(1)
        return [torch.randint(IMAGES, (BATCH,), generator=g) for _ in range(steps)]


def test_replayed_steps_are_taken_on_the_batches_given_and_with_the_rates_of_the_moment():
    replayed, plain = Training(mupi.Hermite(2)), Training(mupi.Hermite(2))
    take = ReplayedStep(replayed.step, replayed.net, replayed.optimizer, replayed.unseen)
    for i, batch in enumerate(plain.batches(3 * EAGER_STEPS)):
        if i == 2 * EAGER_STEPS:
            for training in (replayed, plain):
                training.optimizer.param_groups[0]["lr"] *= 0.1
        # A batch of another size must not be squeezed into the buffers of the others.
        batch = batch[:1] if i in (2, 2 * EAGER_STEPS + 7) else batch
        take(batch)
        plain.step(batch)
    assert replayed.looked.count(False) == 2 * EAGER_STEPS - 1
    for a, b in zip(replayed.net.parameters(), plain.net.parameters(), strict=True):
        assert_close(a, b)
    for a, b in zip(replayed.weights(), plain.weights(), strict=True):
        assert a.inputs_seen == b.inputs_seen


def test_directions_are_renewed_after_the_same_number_of_inputs_and_from_fresh_ones():
    features = mupi.Hermite(2, subspace=2, renew_every=48 * BATCH, window=EAGER_STEPS * BATCH)
    replayed, plain = Training(features), Training(features)
    take = ReplayedStep(replayed.step, replayed.net, replayed.optimizer, replayed.unseen)
    for batch in plain.batches(150):
        take(batch)
        plain.step(batch)
    assert 28 < replayed.looked.count(False) < 60
    for a, b in zip(replayed.weights(), plain.weights(), strict=True):
        assert a.inputs_seen == b.inputs_seen
        assert a.tracker is not None and b.tracker is not None
        assert a.tracker.next_renewal == b.tracker.next_renewal
        # All that a renewal saw had been looked at, so that nothing differs at all.
        assert_close(a.tracker.moment, b.tracker.moment)
        assert_close(a.weight, b.weight)


def test_on_the_cpu_nothing_is_replayed():
    assert not replayable(Training(mupi.Hermite(2)).net)


@needs_gpu
@pytest.mark.parametrize(
    "kind",
    [
        dict(features=Hermite(3, subspace=3)),
        dict(features=Hermite(2), flip=True, shift=1, momentum=0.9),
        dict(features=RandomFeatures(32)),
        dict(features=Atoms()),
        dict(kind=MuPerceptron, width=32),
    ],
    ids=str,
)
def test_an_accelerator_gives_the_numbers_of_the_cpu(small: TrainConfig, kind: dict):
    run = small.changed(**kind, batch_size=2, epochs=2)
    found = {device: train_network(run.changed(device=device, name=device)) for device in ("cpu", "cuda")}
    for on_cpu, on_cuda in zip(found["cpu"], found["cuda"], strict=True):
        assert on_cuda.train_loss == pytest.approx(on_cpu.train_loss, rel=2e-3)
        assert on_cuda.train_accuracy == pytest.approx(on_cpu.train_accuracy, abs=0.03)
        assert on_cuda.test_loss == pytest.approx(on_cpu.test_loss, rel=2e-3)
