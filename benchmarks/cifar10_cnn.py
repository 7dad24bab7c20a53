"""The π-CNN on CIFAR-10 beside its finite π-net, a CNN in μP of comparable cost, and convolutional kernels.

    python benchmarks/cifar10_cnn.py [--train-size 4000] [--epochs 6] [--models limit limit-relu finite-pi mu]

All networks have one shape: a 5 × 5 stride-2 input layer, two 3 × 3 layers with 2 × 2 averages of φ before each,
RMSNorm, an average over positions, a readout. They see the same images in the same order, with flips and shifts by up
to 4 pixels, and train by one rule; test images are not used to choose anything. Kernels see images shrunk to 8 × 8,
without augmentation. Writes docs/figures/cifar10_cnn.png (accuracy over seconds) and cifar10_cnn_features.png
(filters of the first layer, and the principal components of the features of each layer, before and after).
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

import mupi
from mupi.data import Dataset, load
from mupi.experiments.training.augmentation import Augmentation
from mupi.kernels import ConvNNGP, ConvNTK, centred_alignment
from mupi.nets import MuCNN

FIGURES = Path(__file__).parent.parent / "docs" / "figures"
CENTRED = mupi.NormalizedPolynomial.with_weights(0.0, 0.25, 0.5)
# ReLU's weights on degrees 0, 1, 2, which are all that its kernel has at degree 2.
RELU = mupi.NormalizedPolynomial.with_weights(1 / (2 * math.pi), 1 / 4, 1 / (4 * math.pi))


@dataclass(frozen=True)
class Config:
    """What to measure.

    Attributes:
        models: limit, limit-relu, finite-pi, mu, kernels, timing.
        train_size: Training images, the first of the set.
        test_size: Test images, the first of the set; for the kernels at most `kernel_test`.
        epochs: Passes.
        rank: r.
        directions: Directions of degree 2.
        width: Of the finite π-net.
        mu_width: Of the network in μP, whose cost grows as its square.
        lr: Learning rate at the start; a cosine to 0, after 50 steps of warm-up.
        momentum: μ.
        clip: Largest norm of each parameter's gradient.
        batch: Images a step.
        kernel_train: Training images of the kernels.
        kernel_test: Test images of the kernels.
        seed: Of networks, order and augmentation.
    """

    models: tuple[str, ...] = ("limit", "limit-relu", "finite-pi", "mu", "kernels", "timing")
    train_size: int = 4000
    test_size: int = 2000
    epochs: int = 6
    rank: int = 32
    directions: int = 16
    width: int = 256
    mu_width: int = 64
    lr: float = 0.5
    momentum: float = 0.9
    clip: float = 1.0
    batch: int = 64
    kernel_train: int = 300
    kernel_test: int = 300
    seed: int = 0


def build(model: str, config: Config) -> nn.Module:
    """A network before training; those of one activation start as the same function but for their width."""
    generator = torch.Generator().manual_seed(config.seed)
    shape, activation = (3, 32, 32), RELU if model == "limit-relu" else CENTRED
    if model == "mu":
        return MuCNN(shape, 10, config.mu_width, activation=activation, generator=generator)
    hermite = mupi.Hermite(2, subspace=config.directions, renew_every=2**20, window=1024)
    features = mupi.Random(config.width) if model == "finite-pi" else hermite
    return mupi.PiCNN(shape, 10, config.rank, features=features, activation=activation, generator=generator)


def train(net: nn.Module, data: Dataset, config: Config, progress: Progress, label: str) -> list[tuple[float, float]]:
    """(Processor seconds so far, test accuracy) after each epoch."""
    generator = torch.Generator().manual_seed(config.seed + 1)
    augmentation = Augmentation(flip=True, shift=4, image_shape=data.image_shape)
    optimizer = mupi.SGD(net.parameter_groups(config.lr), clip=config.clip, momentum=config.momentum)
    steps = config.epochs * (len(data.train_x) // config.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 50) * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2
    )
    task, curve, seconds = progress.add_task(label, total=steps), [], 0.0
    for epoch in range(config.epochs):
        start = time.process_time()
        views = augmentation.draw(len(data.train_x), generator)
        for batch in torch.randperm(len(data.train_x), generator=generator).split(config.batch):
            if len(batch) < config.batch:
                continue
            loss = cross_entropy(net(views(data.train_x[batch], batch)), data.train_y[batch])
            if not math.isfinite(loss.item()):
                raise FloatingPointError(f"{label}: the loss became {loss.item()} in epoch {epoch + 1}")
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.advance(task)
        seconds += time.process_time() - start
        curve.append((seconds, accuracy(net, data)))
        progress.console.print(f"{label}: epoch {epoch + 1}, {seconds:.0f} s, {curve[-1][1]:.2%}", highlight=False)
    return curve


@torch.no_grad()
def accuracy(net: nn.Module, data: Dataset) -> float:
    """Share of test images classified right."""
    net.eval()
    right = sum(
        int((net(x).argmax(1) == y).sum()) for x, y in zip(data.test_x.split(200), data.test_y.split(200), strict=True)
    )
    net.train()
    return right / len(data.test_x)


def kernels(data: Dataset, config: Config, console: Console) -> None:
    """Kernel regression with the convolutional kernels, depth 3, on images shrunk to 8 × 8."""
    small = [avg_pool2d(x.reshape(-1, 3, 32, 32), 4).flatten(1) for x in (data.train_x, data.test_x)]
    x, y = small[0][: config.kernel_train], data.train_y[: config.kernel_train]
    xt, yt = small[1][: config.kernel_test], data.test_y[: config.kernel_test]
    for kind in (ConvNNGP, ConvNTK):
        for pooling in (False, True):
            start = time.process_time()
            score = mupi.KernelRegression(kind((3, 8, 8), 3, mupi.ReLU(), pooling), 1e-4).fit(x, y).score(xt, yt)
            name = f"{kind.__name__}{', pooled' if pooling else ''}"
            console.print(f"{name}: {score:.2%}, {time.process_time() - start:.0f} s", highlight=False)


def timing(config: Config, console: Console) -> None:
    """Milliseconds of processor time a step, and MB of parameters and buffers: limit, π-net and μ-net of width 512."""
    x, y = torch.randn(config.batch, 3, 32, 32), torch.randint(10, (config.batch,))
    wide = Config(**{**vars(config), "width": 512, "mu_width": 512})
    table = Table("batch " + str(config.batch), "ms a step", "MB stored")
    for model, label in (("limit", "π-limit"), ("finite-pi", "finite π-net, n = 512"), ("mu", "μP, n = 512")):
        net = build(model, wide)
        optimizer, times = mupi.SGD(net.parameter_groups(0.01), clip=1.0), []
        for _ in range(3):
            start = time.process_time()
            cross_entropy(net(x), y).backward()
            optimizer.step()
            times.append(time.process_time() - start)
        stored = sum(t.numel() * t.element_size() for t in (*net.parameters(), *net.buffers())) / 1e6
        table.add_row(label, f"{1e3 * sorted(times)[1]:.0f}", f"{stored:.1f}")
    console.print(table)


def plot_curves(curves: dict[str, list[tuple[float, float]]]) -> Figure:
    """Accuracy over seconds."""
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, curve in curves.items():
        axes.plot([s for s, _ in curve], [100 * a for _, a in curve], marker="o", markersize=3, label=label)
    axes.set(xlabel="processor seconds of training", ylabel="test accuracy, %", title="CIFAR-10, convolutional")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    return figure


@torch.no_grad()
def junctions(net: mupi.PiCNN, x: Tensor) -> list[Tensor]:
    """g of each layer averaged over positions, one row an image."""
    return [g.flatten(1, 2).mean(1) for g in net.eval().hidden(x)]


def plot_features(before: mupi.PiCNN, after: mupi.PiCNN, data: Dataset) -> Figure:
    """Filters of the first layer, and two principal components of each layer's ḡ, coloured by class."""
    x, y = data.test_x[:500], data.test_y[:500]
    pairs = [junctions(net, x) for net in (before, after)]
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes = figure.subplots(2, 1 + len(pairs[0]))
    for row, (net, layers, when) in enumerate(zip((before, after), pairs, ("before", "after"), strict=True)):
        # The rotation of r is arbitrary: the principal filters are not.
        weight = net.input.weight.detach().flatten(1)
        filters = torch.linalg.svd(weight, full_matrices=False).Vh[:16].reshape(-1, 3, 5, 5)
        filters = filters / filters.abs().amax((1, 2, 3), keepdim=True) / 2 + 0.5
        tiles = filters.reshape(4, 4, 3, 5, 5).permute(0, 3, 1, 4, 2)
        tiles = torch.nn.functional.pad(tiles, (0, 0, 0, 1, 0, 0, 0, 1), value=1.0).reshape(24, 24, 3)
        axes[row, 0].imshow(tiles.numpy())
        axes[row, 0].set(title=f"principal filters, {when}", xticks=[], yticks=[])
        for i, g in enumerate(layers):
            centred = g - g.mean(0)
            scores = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T
            axes[row, i + 1].scatter(*scores.T.numpy(), c=y.numpy(), cmap="tab10", s=5)
            axes[row, i + 1].set(title=f"g{'¹²³⁴⁵⁶⁷⁸⁹'[i]}, {when}", xticks=[], yticks=[])
    return figure


def main(config: Config) -> None:
    """Train those asked for, and print and plot what came of it."""
    torch.set_num_threads(1)
    console, curves, trained = Console(), {}, {}
    data = load("cifar10")
    data = Dataset(
        data.name, data.train_x[: config.train_size], data.train_y[: config.train_size],
        data.test_x[: config.test_size], data.test_y[: config.test_size], data.image_shape, data.classes,
    )  # fmt: skip
    if "timing" in config.models:
        timing(config, console)
    with Progress(console=console) as progress:
        for model in config.models:
            if model not in ("kernels", "timing"):
                trained[model] = build(model, config)
                curves[model] = train(trained[model], data, config, progress, model)
    FIGURES.mkdir(exist_ok=True)
    if curves:
        plot_curves(curves).savefig(FIGURES / "cifar10_cnn.png", dpi=150)
    if "limit" in trained:
        x, same = data.test_x[:500], (data.test_y[:500, None] == data.test_y[:500]).double()
        start = build("limit", config)
        plot_features(start, trained["limit"], data).savefig(FIGURES / "cifar10_cnn_features.png", dpi=150)
        for when, net in (("before", start), ("after", trained["limit"])):
            with torch.no_grad():
                alignment = float(centred_alignment(net.eval().feature_kernel(x, x), same))
            console.print(f"alignment of the last feature kernel with the classes, {when}: {alignment:.3f}")
        for error in trained["limit"].error_report(data.test_x[:16]):
            console.print(f"error of {error.layer}: {error.output:.4f} / {error.gradient:.4f}", highlight=False)
    if "kernels" in config.models:
        kernels(data, config, console)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
