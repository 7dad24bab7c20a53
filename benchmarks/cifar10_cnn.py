"""One convolutional, residual or attention network on CIFAR-10, with flips and shifts, on a CPU or a CUDA device.

    python benchmarks/cifar10_cnn.py --device cuda --data-dir DIR

Writes runs/cnn/NAME.json after each epoch, and beside it a checkpoint: called again it goes on, or finds the run
finished. Test images choose nothing: rates were chosen on a CPU, by held-out training images and at smaller sizes
(`mupi.commands.train.architectures`). `cifar10_cnn_figures.py` draws what several runs have written. Others:

    --width 512; --model mu --width 128
    --model resnet --input-stride 2 --lr 16 --lr-first .125 --lr-last .5 [--branch-scale 1]
    --model transformer --lr 1 --lr-first 1 --lr-last 2 --depth 4 [--branch-scale 1]

cnn, resnet and transformer are π-limits, and with `--width` their finite π-nets; mu is the finite cnn in μP.
All networks have the activation with kernel |b||g|(q/4 + q²), of which degree 2 in all directions is exact. On CUDA
a step is captured as a graph, and images are moved and mirrored on the device, an epoch at a time.
"""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
import tyro
from torch import Tensor
from torch.nn.functional import cross_entropy

import mupi
from mupi.data import Dataset, load
from mupi.kernels import centered_alignment
from mupi.nets import MuCNN, PiNetwork, evaluating
from mupi.training.atomic import replacing, write_json
from mupi.training.augmentation import Augmentation, Seen, Views, unchanged
from mupi.training.examples import Examples
from mupi.training.loop import train_epochs
from mupi.training.procedure import Procedure
from mupi.training.state import TrainingState

STEPS_OF_A_RATE = 50  # the cosine goes in stairs, since each rate is recorded by itself
SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Config:
    """What to train.

    Attributes:
        model: cnn, resnet and transformer are π-networks; mu is the cnn in μP.
        name: Of the run's files; None for model, width and seed.
        out: Their folder.
        device: cpu or cuda.
        data_dir: Where CIFAR-10 is; None for the usual places.
        train_size: How many images to train on, the first of a random order that is always the same.
        validation: Test on this many of the remaining training images instead; 0 for the test images.
        epochs: Passes.
        batch: Images a step.
        rank: r.
        directions: Directions of degree 2; 0 for all.
        quadratic: Weight of q² in the kernel, beside 1/4 of q.
        width: n of a finite network; None for the limit, which mu does not have.
        pools: Of the convolutional networks, the averages of φ before each convolution.
        blocks: Of the resnet, branches in each stage.
        depth: Of the transformer, blocks.
        patch: Of the transformer, side of a patch.
        heads: Of the transformer.
        branch_scale: Of resnet and transformer; None for 1/√L.
        input_kernel: Side of the first layer's filters.
        input_stride: Every how many pixels there is a position.
        subtract_mean: Whether g is centred before each normalisation, in all but the transformer.
        lr: Largest learning rate; a cosine from there to 0.
        lr_first: Multiplier for the first layer.
        lr_last: Multiplier for the readout.
        warm_up: Epochs in which it rises linearly.
        momentum: μ.
        clip: Largest norm of each parameter's gradient.
        weight_decay: Of all parameters.
        seed: Of network, order and augmentation.
    """

    model: Literal["cnn", "resnet", "transformer", "mu"] = "cnn"
    name: str | None = None
    out: Path = Path("runs/cnn")
    device: str = "cpu"
    data_dir: Path | None = None
    train_size: int = 50_000
    validation: int = 0
    epochs: int = 25
    batch: int = 128
    rank: int = 64
    directions: int = 0
    quadratic: float = 1.0
    width: int | None = None
    pools: tuple[int, ...] = (2, 1, 2, 1)
    blocks: tuple[int, ...] = (2, 2, 2)
    depth: int = 4
    patch: int = 4
    heads: int = 4
    branch_scale: float | None = None
    input_kernel: int = 5
    input_stride: int = 1
    subtract_mean: bool = True
    lr: float = 8.0
    lr_first: float = 0.25
    lr_last: float = 1.0
    warm_up: float = 0.5
    momentum: float = 0.9
    clip: float = 1.0
    weight_decay: float = 0.0
    seed: int = 0

    @property
    def file(self) -> Path:
        """Where results are written."""
        name = self.name or f"{self.model}-{self.width or 'limit'}-seed{self.seed}"
        return self.out / f"{name}.json"

    def plain(self) -> dict[str, Any]:
        """What the numbers depend on."""
        left_out = ("name", "out", "data_dir")
        return {key: value for key, value in asdict(self).items() if key not in left_out}


def build(config: Config) -> PiNetwork | MuCNN:
    """The network before training, on the CPU."""
    generator = torch.Generator().manual_seed(config.seed)
    hermite = mupi.Hermite(2, subspace=config.directions or None, renew_every=2**12, window=1024)
    features = hermite if config.width is None else mupi.RandomFeatures(config.width)
    activation = mupi.NormalizedPolynomial.with_weights(0.0, 0.25, config.quadratic)
    first: dict[str, Any] = dict(
        input_kernel=config.input_kernel, input_stride=config.input_stride, subtract_mean=config.subtract_mean
    )
    common: dict[str, Any] = dict(features=features, activation=activation, generator=generator)
    match config.model:
        case "mu":
            if config.width is None:
                raise SystemExit("mu is a finite network; give its --width")
            return MuCNN(SHAPE, 10, config.width, config.pools, activation=activation, generator=generator, **first)
        case "resnet":
            return mupi.PiResNet(
                SHAPE, 10, config.rank, config.blocks, branch_scale=config.branch_scale, **common, **first
            )
        case "transformer":
            patches, scale = mupi.Patches(SHAPE, config.patch), config.branch_scale
            return mupi.PiTransformer(
                patches, 10, config.rank, config.depth, heads=config.heads, branch_scale=scale, **common
            )
        case _:
            return mupi.PiCNN(SHAPE, 10, config.rank, config.pools, **common, **first)


def images(config: Config) -> Dataset:
    """The images asked for, on the device."""
    data = load("cifar10", config.data_dir)
    order = torch.randperm(len(data.train_x), generator=torch.Generator().manual_seed(99))
    train, held = order[: config.train_size], order[config.train_size :][: config.validation]
    test = (data.train_x[held], data.train_y[held]) if config.validation else (data.test_x, data.test_y)
    chosen = Dataset(data.name, data.train_x[train], data.train_y[train], *test, data.image_shape, data.classes)
    return chosen.to(config.device)


class Training(TrainingState):
    """A network in training, its order and views drawn on the device: by the number of the epoch only, in place."""

    def __init__(self, config: Config, data: Dataset):
        self.config, self.data = config, data
        net = build(config).to(config.device)
        groups = net.parameter_groups(
            config.lr, first=config.lr_first, last=config.lr_last, weight_decay=config.weight_decay
        )
        optimizer = mupi.SGD(groups, clip=config.clip, momentum=config.momentum)
        super().__init__(net, optimizer, None, None, torch.Generator(), torch.Generator())
        self.full_rates = [group["lr"] for group in optimizer.param_groups]
        self.examples = Examples(torch.empty_like(data.train_x), data.train_y)

    def draw_epoch(self, n: int, batch_size: int, device: torch.device) -> tuple[Iterator[Tensor], Seen]:
        """The batches, whose images are then `examples`; what is left over of them is not trained on."""
        generator = torch.Generator(device).manual_seed(1000 * self.config.seed + self.epoch)
        augmentation = Augmentation(flip=True, shift=4, image_shape=self.data.image_shape)
        flipped = torch.rand(n, generator=generator, device=device) < 0.5
        offsets = torch.randint(-4, 5, (n, 2), generator=generator, device=device)
        views = Views(augmentation, flipped, offsets)
        for part in torch.arange(n, device=device).split(5000):
            self.examples.x[part] = views(self.data.train_x[part], part)
        order = torch.randperm(n, generator=generator, device=device)
        return self.at_their_rates(order[: n - n % batch_size].split(batch_size)), unchanged

    def at_their_rates(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Before each the rate is set: a linear rise, then a cosine to 0 at the last step; in stairs."""
        steps = len(batches)
        for i, batch in enumerate(batches):
            if i % STEPS_OF_A_RATE == 0:
                middle = (self.epoch * steps + i + min(STEPS_OF_A_RATE, steps - i) / 2) / steps
                rise = min(1.0, middle / self.config.warm_up) if self.config.warm_up else 1.0
                factor = rise * (1 + math.cos(math.pi * middle / self.config.epochs)) / 2
                for group, rate in zip(self.optimizer.param_groups, self.full_rates, strict=True):
                    group["lr"] = rate * factor
            yield batch

    @torch.no_grad()
    def accuracy(self) -> float:
        """Share of the test images classified right."""
        with evaluating(self.net):
            parts = zip(self.data.test_x.split(500), self.data.test_y.split(500), strict=True)
            right = torch.stack([(self.net(x).argmax(1) == y).sum() for x, y in parts]).sum()
        return int(right) / len(self.data.test_x)


@torch.no_grad()
def look_at_features(net: PiNetwork, data: Dataset) -> dict[str, Any]:
    """Alignment of the last feature kernel with the classes, and each layer's errors."""
    x, y = data.test_x[:300], data.test_y[:300]
    alignment = centered_alignment(net.eval().feature_kernel(x, x), (y[:, None] == y).to(x.dtype))
    errors = [asdict(error) for error in net.error_report(data.test_x[:16])]
    return dict(alignment=float(alignment), errors=errors)


def main(config: Config) -> None:
    """Train, or go on training, and write down what came of it."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")  # TF32 on CUDA
    cuda = torch.device(config.device).type == "cuda"
    checkpoint, results = config.file.with_suffix(".pt"), {}
    plain = json.loads(json.dumps(config.plain()))
    if config.file.exists():
        results = json.loads(config.file.read_text())
        if results["config"] != plain:
            raise SystemExit(f"{config.file} is of another configuration; give another --name")
        if len(results["epochs"]) == config.epochs:
            raise SystemExit(f"{config.file} is finished")
    training = Training(config, images(config))
    net, data = training.net, training.data
    if results:
        saved = torch.load(checkpoint, map_location=config.device)
        net.load_state_dict(saved["net"])
        training.optimizer.load_state_dict(saved["optimizer"])
        results = saved["results"]
    else:
        name = torch.cuda.get_device_name() if cuda else "cpu, one thread"
        results = dict(config=plain, device=name, torch=str(torch.__version__), epochs=[])
        results["parameters"] = sum(p.numel() for p in net.parameters())
        if isinstance(net, PiNetwork):
            results["before"] = look_at_features(net, data)
    training.epoch = len(results["epochs"])
    config.out.mkdir(parents=True, exist_ok=True)
    net.train()
    start = time.perf_counter()

    def begin() -> None:
        nonlocal start
        start = time.perf_counter()

    def measure() -> dict[str, float]:
        if cuda:
            torch.cuda.synchronize()
        seconds, tally = time.perf_counter() - start, training.tally
        return dict(
            train_loss=tally.mean_loss,
            train_accuracy=tally.accuracy,
            epoch=training.epoch + 1,
            seconds=seconds,
            test_accuracy=training.accuracy(),
        )

    def finish(epoch: dict[str, float]) -> None:
        results["epochs"].append(epoch)
        print(config.file.stem, *(f"{key} {value:.4g}" for key, value in epoch.items()), flush=True)
        if training.epoch == config.epochs:
            if isinstance(net, PiNetwork):
                results["after"] = look_at_features(net, data)
            if cuda:
                results["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        saved = dict(net=net.state_dict(), optimizer=training.optimizer.state_dict(), results=results)
        with replacing(checkpoint) as partial:
            torch.save(saved, partial)
        write_json(config.file, results)

    def stop() -> NoReturn:
        raise SystemExit(f"interrupted in epoch {training.epoch + 1}; the same command goes on from its start")

    train_epochs(
        training,
        config.epochs,
        training.examples,
        Procedure(config.batch, cross_entropy, advice="use a smaller --lr"),
        begin=begin,
        after_steps=lambda tally, steps: None,
        measure=measure,
        finish=finish,
        stop=stop,
    )


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
