"""CIFAR-10 at the π-limit paper's scale on one CUDA device, each training step replayed as a CUDA graph.

    python benchmarks/cifar10_cuda.py --data-dir DIR [--seeds 0 1 2] [--activation relu] [--flip] [--epochs 40]

r = 400, L = 2, degree ≤ 2 in full (80,601 features a layer), batch 32, lr 1, learning rate and clip × 0.15 after
four fifths of the epochs. At small batches an accelerator waits for Python; a graph spares it that.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch.nn.functional import cross_entropy

import mupi
from captured_step import CapturedStep
from mupi.data import load


@dataclass(frozen=True)
class Config:
    """What to run.

    Attributes:
        data_dir: Where CIFAR-10 is; None for the usual places.
        seeds: One run each.
        activation: relu, or quadratic: kernel |b||g|(q/4 + q²/4), for which degree 2 is exact.
        weight_decay: 6e-5 was used for relu, 1e-4 for quadratic.
        label_smoothing: Share of each label that is spread over all classes.
        flip: Whether each image is flipped with probability ½ in every epoch.
        epochs: Passes over the images.
    """

    data_dir: Path | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    activation: str = "quadratic"
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    flip: bool = False
    epochs: int = 40


ACTIVATIONS = {
    "relu": mupi.ReLU(),
    "quadratic": mupi.NormalizedPolynomial.with_weights(0, 0.25, 0.25),
}
BATCH = 32
EAGER_STEPS = 2  # at the start of every epoch, in which layers may look at their inputs


def run(config: Config, seed: int) -> None:
    """Train once, and print the test accuracy of every epoch."""
    data = load("cifar10", config.data_dir)
    x, y, test_x, test_y = (t.cuda() for t in (data.train_x, data.train_y, data.test_x, data.test_y))
    net = mupi.PiMLP(
        x.shape[1],
        10,
        rank=400,
        depth=2,
        features=mupi.Hermite(2, window=1024),
        activation=ACTIVATIONS[config.activation],
        readout_std=1 / 400,
        generator=torch.Generator().manual_seed(seed),
    ).cuda()
    mupi.factor_gradients(net)
    groups = net.parameter_groups(lr=1.0, first=0.1, last=4.0, bias=0.5, weight_decay=config.weight_decay)
    optimizer = mupi.SGD(groups, clip=0.4)
    shown, labels = torch.zeros(BATCH, x.shape[1], device="cuda"), torch.zeros(BATCH, dtype=torch.long, device="cuda")

    def step() -> None:
        cross_entropy(net(shown), labels, label_smoothing=config.label_smoothing).backward()
        optimizer.step()

    replayed = CapturedStep(step, optimizer)
    order, flips = torch.Generator().manual_seed(1000 + seed), torch.Generator(device="cuda").manual_seed(seed)
    for epoch in range(config.epochs):
        if epoch == config.epochs * 4 // 5:
            for group in optimizer.param_groups:
                group["lr"], group["clip"] = 0.15 * group["lr"], 0.15 * group["clip"]
        start = time.perf_counter()
        images = x
        if config.flip:
            flipped = x.reshape(-1, 3, 32, 32).flip(3).flatten(1)
            images = torch.where(torch.rand(len(x), 1, generator=flips, device="cuda") < 0.5, flipped, x)
        net.train()
        for i, batch in enumerate(torch.randperm(len(x), generator=order).cuda().split(BATCH)):
            if len(batch) < BATCH:
                continue  # the captured step has room for whole batches
            shown.copy_(images[batch])
            labels.copy_(y[batch])
            (step if i < EAGER_STEPS else replayed)()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        net.eval()
        with torch.no_grad():
            parts = zip(test_x.split(1000), test_y.split(1000), strict=True)
            right = sum(int((net(a).argmax(1) == b).sum()) for a, b in parts)
        print(f"seed {seed} epoch {epoch + 1} test {right / len(test_x):.2%} {seconds:.2f} s", flush=True)


if __name__ == "__main__":
    chosen = tyro.cli(Config, description=__doc__)
    for number in chosen.seeds:
        run(chosen, number)
