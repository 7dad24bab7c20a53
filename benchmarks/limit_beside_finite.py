"""Why a convolutional π-limit may learn less than its finite π-net at equal rates: one network, several metrics.

    python benchmarks/limit_beside_finite.py --data-dir DIR

For a polynomial φ of degree 2 the finite π-net of width n is the limit whose weights move by HᵀH/n times their gradient
(`HermiteWeight.neurons`; a test holds it), so that all widths cost what the limit does. Metrics of each layer:

limit   the gradient itself, n = ∞;
fixed   HᵀH/n with the n neurons drawn once: the finite network;
fresh   HᵀH/n drawn anew at each step: the finite network's noise, with the limit's mean.

The finite network also starts elsewhere: at HᵀH/n times the limit's initial weights. What each of the two does:

start   the finite network's initial weights, and the limit's steps;
steps   the limit's initial weights, and the finite network's steps;
noise   the limit with Gaussian noise in its initial weights C of the size that n neurons bring: |c|/√n in each entry of
        a column c.

With `--rank 64 --fast` all are of that rank, in compiled loops and bfloat16 products. Each run is kept in
runs/limit-beside-finite/ as it ends; called again, those that are missing are made, then figure and table. Held-out
training images are looked at, no test images.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
import tyro
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import cross_entropy

from cifar10_cnn import Config, Training, images
from mupi.compilers import fuse
from mupi.data import Dataset
from mupi.features import HermiteWeight, whitened_gaussian
from mupi.figures.style import MARKERS, shade
from mupi.kernels import centered_alignment
from mupi.nets import PiNetwork, evaluating
from mupi.training.atomic import write_figure, write_json

NETWORK = Config(
    rank=16, pools=(2, 2), input_stride=2, train_size=20_000, validation=2_000, epochs=6, batch=64,
    lr=4.0, lr_first=0.5, lr_last=2.0,
)  # fmt: skip
LOOKS = 8  # in each epoch, at how far a step moves what is measured
PROBE = 256  # held-out images that it is measured on

STARTS = ("fixed", "start")  # at the finite network's initial weights
STEPS = ("fixed", "steps", "fresh")  # by a finite network's metric


@dataclass(frozen=True)
class Case:
    """A network and its training.

    Attributes:
        kind: Its metric, as above.
        width: n, where that is not ∞.
        quadratic: Weight of q² in the kernel.
        rate: Multiplier of all learning rates.
        seed: Of network, order and augmentation, and of the neurons.
    """

    kind: str
    width: int | None
    quadratic: float
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """How its line is called."""
        kernel = "" if self.quadratic == NETWORK.quadratic else f", q/4 + {self.quadratic:g} q²"
        if self.kind == "noise":
            return f"limit, noise of {self.width} neurons at the start"
        beside = {"fresh": ", fresh at each step", "start": ", its start alone", "steps": ", its steps alone"}
        return ("limit" if self.kind == "limit" else f"n = {self.width}{beside.get(self.kind, '')}") + kernel


@dataclass(frozen=True)
class Run:
    """What came of a case, by epoch."""

    case: Case
    epochs: list[dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        rank: r of all.
        quadratic: Weights of q² in the kernel, beside 1/4 of q; other than 1 for the limit and the finite networks.
        fast: Compile, and take products of training in bfloat16.
        widths: Of finite networks.
        rates: Multipliers of all learning rates.
        fresh: Widths whose neurons are drawn anew at each step.
        start: Widths of which the initial weights are taken alone.
        steps: Widths of which the steps are taken alone.
        noise: Widths whose size of noise the limit's initial weights are given.
        seeds: Of each.
        epochs: Passes.
        device: cpu or cuda.
        data_dir: Where CIFAR-10 is; None for the usual places.
        out: Where runs are kept.
        figure: What is drawn.
    """

    rank: int = NETWORK.rank
    quadratic: tuple[float, ...] = (NETWORK.quadratic,)
    fast: bool = False
    widths: tuple[int, ...] = (32, 128, 512)
    rates: tuple[float, ...] = (0.25, 1.0, 4.0, 16.0)
    fresh: tuple[int, ...] = (32,)
    start: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    noise: tuple[int, ...] = ()
    seeds: int = 2
    epochs: int = NETWORK.epochs
    device: str = "cpu"
    data_dir: Path | None = None
    out: Path = Path("runs/limit-beside-finite")
    figure: Path = Path("runs/limit-beside-finite/limit_beside_finite.png")

    def cases(self) -> Iterator[Case]:
        """What is to be run, those first that say most."""
        widths = dict(fixed=self.widths, fresh=self.fresh, start=self.start, steps=self.steps, noise=self.noise)
        kinds = [("limit", None), *((kind, n) for kind, several in widths.items() for n in several)]
        rates = sorted(self.rates, key=lambda rate: abs(rate - 1))
        for seed, rate, quadratic, (kind, width) in product(range(self.seeds), rates, self.quadratic, kinds):
            if quadratic == NETWORK.quadratic or kind in ("limit", "fixed"):
                yield Case(kind, width, quadratic, rate, seed)

    def file(self, case: Case) -> Path:
        """Where a run is kept."""
        network = f"{case.kind}-{case.width or 'inf'}-rank{self.rank}-quadratic{case.quadratic:g}"
        training = f"rate{case.rate:g}-seed{case.seed}-epochs{self.epochs}{'-fast' * self.fast}"
        return self.out / f"{network}-{training}.json"

    def config(self, case: Case) -> Config:
        """Of a case's network."""
        sizes = dict(rank=self.rank, quadratic=case.quadratic, epochs=self.epochs, device=self.device)
        return replace(NETWORK, lr=NETWORK.lr * case.rate, seed=case.seed, **sizes)


class Metrics:
    """What each weight's gradient is multiplied by before a step, if not by one; sets the initial weights."""

    def __init__(self, net: PiNetwork, case: Case):
        self.weights = [layer.weight for layer in net.pi_layers if isinstance(layer.weight, HermiteWeight)]
        self.case = case
        self.generator = torch.Generator().manual_seed(10_000 + case.seed)
        self.fixed = [self._draw(weight) for weight in self.weights] if case.kind in ("fixed", "start", "steps") else []
        self.gains: list[list[float]] = [[] for _ in self.weights]
        self.largest = 0.0  # √⟨G, MG⟩ so far, the norm that a finite network clips by
        if case.kind in STARTS:
            for weight, metric in zip(self.weights, self.fixed, strict=True):
                weight.weight.data = metric @ weight.weight.data
        if case.kind == "noise":
            for weight in self.weights:
                self._disturb(weight.weight)

    @property
    def width(self) -> int:
        """n."""
        assert self.case.width is not None
        return self.case.width

    def _draw(self, weight: HermiteWeight) -> Tensor:
        neurons = weight.neurons(whitened_gaussian(self.width, weight.rank_in, self.generator).to(weight.weight))
        return neurons.T @ neurons / self.width

    def _disturb(self, c: Tensor) -> None:
        drawn = torch.randn(c.shape, generator=self.generator).to(c)
        c.data = c.data + drawn * c.data.norm(dim=0) / self.width**0.5

    @torch.no_grad()
    def apply(self, *_: Any) -> None:
        """To the gradients, as an optimizer's hook; keeps ⟨G, MG⟩/|G|² of each weight, 1 in the limit."""
        metrics: list[Tensor] | list[None] = [None] * len(self.weights)
        if self.case.kind in STEPS:
            metrics = self.fixed or [self._draw(weight) for weight in self.weights]
        for weight, metric, gains in zip(self.weights, metrics, self.gains, strict=True):
            gradient = weight.weight.grad
            assert gradient is not None
            moved = gradient if metric is None else metric @ gradient
            explained, square = float((gradient * moved).sum()), float(gradient.square().sum())
            gains.append(explained / max(square, 1e-30))
            self.largest = max(self.largest, max(explained, 0.0) ** 0.5)
            weight.weight.grad = moved


@torch.no_grad()
def seen(net: PiNetwork, x: Tensor) -> list[Tensor]:
    """Directions of each junction, and outputs."""
    with evaluating(net):
        return [torch.nn.functional.normalize(g, dim=-1) for g in net.hidden(x)] + [net(x)]


def moved(before: Sequence[Tensor], after: Sequence[Tensor]) -> list[float]:
    """How far each has moved, root mean square over everything but the last axis."""
    return [float((b - a).square().sum(-1).mean().sqrt()) for a, b in zip(before, after, strict=True)]


@torch.no_grad()
def look(net: PiNetwork, data: Dataset) -> dict[str, float]:
    """Loss and accuracy on held-out images; alignment and effective rank of the last feature kernel on some of them."""
    with evaluating(net):
        f = torch.cat([net(x) for x in data.test_x.split(500)])
        K = net.feature_kernel(data.test_x[:PROBE], data.test_x[:PROBE])
    y = data.test_y
    same = (y[:PROBE, None] == y[:PROBE]).to(K.dtype)
    center = torch.eye(PROBE, device=K.device) - 1 / PROBE
    λ = torch.linalg.eigvalsh((center @ K @ center).double().cpu()).clamp_min(0)
    return dict(
        loss=float(cross_entropy(f, y)),
        accuracy=float((f.argmax(1) == y).float().mean()),
        alignment=float(centered_alignment(K, same)),
        effective_rank=float(λ.sum() ** 2 / λ.square().sum()),
    )


def train(plan: Plan, case: Case, data: Dataset) -> list[dict[str, Any]]:
    """Everything that is measured, by epoch."""
    config = plan.config(case)
    training = Training(config, data)
    net = training.net
    assert isinstance(net, PiNetwork)
    if plan.fast:
        fuse(net)
    metrics = Metrics(net, case)
    training.optimizer.register_step_pre_hook(metrics.apply)
    epochs = []
    for epoch in range(config.epochs):
        training.epoch = epoch
        batches, _ = training.draw_epoch(len(data.train_x), config.batch, data.train_x.device)
        every = len(data.train_x) // config.batch // LOOKS
        right = total = count = 0.0
        steps: list[list[float]] = []
        start = time.perf_counter()
        net.train()
        for i, batch in enumerate(batches):
            looks = i % every == every // 2
            before = seen(net, data.test_x[:PROBE]) if looks else []
            x, y = training.examples.x[batch], data.train_y[batch]
            training.optimizer.zero_grad()
            with torch.autocast(data.train_x.device.type, torch.bfloat16, enabled=plan.fast):
                f = net(x)
            loss = cross_entropy(f, y)
            loss.backward()
            training.optimizer.step()
            if looks:
                steps.append(moved(before, seen(net, data.test_x[:PROBE])))
            right, total, count = (
                right + float((f.argmax(1) == y).sum()),
                total + float(loss.detach()) * len(y),
                count + len(y),
            )
        epochs.append(
            dict(
                train_loss=total / count,
                train_accuracy=right / count,
                step=torch.tensor(steps).mean(0).tolist(),
                gain=[fmean(gains) for gains in metrics.gains],
                largest_gradient=metrics.largest,
                seconds=time.perf_counter() - start,
                **look(net, data),
            )
        )
        metrics.gains = [[] for _ in metrics.gains]
        if epochs[-1]["loss"] != epochs[-1]["loss"]:
            break  # diverged
    return epochs


def table(runs: Sequence[Run]) -> dict[str, dict[float, list[Run]]]:
    """Runs by name and rate."""
    found: dict[str, dict[float, list[Run]]] = {}
    for run in runs:
        found.setdefault(run.case.name, {}).setdefault(run.case.rate, []).append(run)
    return {name: dict(sorted(by_rate.items())) for name, by_rate in found.items()}


def last(runs: Sequence[Run], key: str) -> list[float]:
    """A number of the last epoch."""
    return [run.epochs[-1][key] for run in runs]


def by_epoch(runs: Sequence[Run], number: Callable[[dict[str, Any]], float]) -> list[float]:
    """Its mean over runs, of which one that diverged has fewer epochs."""
    return [fmean(map(number, epochs)) for epochs in zip(*(run.epochs for run in runs), strict=False)]


def draw(found: dict[str, dict[float, list[Run]]], layers: int) -> Figure:
    """By epoch, at rate 1: held-out loss, how far a step moves outputs, and what share of it the gradient explains."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for i, (name, by_rate) in enumerate(found.items()):
        runs = by_rate.get(1.0, [])
        if not runs:
            continue
        color = "black" if name == "limit" else shade(i - 1, len(found) - 1)
        style = dict(color=color, marker=MARKERS[i], markersize=5, label=name)
        for axes, number in (
            (left, lambda epoch: epoch["loss"]),
            (middle, lambda epoch: epoch["step"][-1]),
            (right, lambda epoch: fmean(epoch["gain"][:layers])),
        ):
            found_by_epoch = by_epoch(runs, number)
            axes.plot(range(1, len(found_by_epoch) + 1), found_by_epoch, **style)
    left.set(xlabel="epoch", ylabel="held-out loss")
    middle.set(xlabel="epoch", ylabel="|change of f| in one step")
    right.set(xlabel="epoch", ylabel="⟨G, MG⟩ / |G|², mean over layers")
    left.legend(frameon=False, fontsize="small")
    return figure


def main(plan: Plan) -> None:
    """Make what is missing, draw and print."""
    torch.set_num_threads(1)
    data = images(replace(NETWORK, device=plan.device, data_dir=plan.data_dir))
    plan.out.mkdir(parents=True, exist_ok=True)
    runs: list[Run] = []
    for case in plan.cases():
        file = plan.file(case)
        if not file.exists():
            epochs = train(plan, case, data)
            write_json(file, dict(**asdict(case), epochs=epochs))
            shown = {key: round(epochs[-1][key], 4) for key in ("train_loss", "loss", "accuracy", "seconds")}
            print(case.name, f"rate {case.rate:g}, seed {case.seed}:", shown, flush=True)
        saved = json.loads(file.read_text())
        runs.append(Run(case, saved["epochs"]))
    found = table(runs)
    keys = ("train_loss", "loss", "accuracy", "alignment", "effective_rank")
    print("| | rate |", " | ".join(keys), "|")
    for name, by_rate in found.items():
        for rate, several in by_rate.items():
            cells = [f"{fmean(last(several, key)):.3f}" for key in keys]
            spread = f" ± {stdev(last(several, 'loss')):.3f}" if len(several) > 1 else ""
            print(f"| {name} | {rate:g} | {' | '.join(cells)} | loss{spread}")
    layers = len(runs[0].epochs[0]["gain"])
    plan.figure.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".png", ".svg"):
        write_figure(plan.figure.with_suffix(suffix), draw(found, layers))


if __name__ == "__main__":
    main(tyro.cli(Plan, description=__doc__))
