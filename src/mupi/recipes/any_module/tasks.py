"""Small tasks: a network of any width, what it is trained on, and how."""

import lzma
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mupi.checks import fail
from mupi.data import Dataset, load
from mupi.recipes.any_module.networks import (
    CausalConvolutions,
    ContextPerceptron,
    ConvolutionalNet,
    Gpt,
    Perceptron,
    PreactivationResNet,
    VisionTransformer,
)

IMAGES = 4096
"""Of CIFAR-10."""

WINDOWS = 8192
"""Pieces of a text."""

CONTEXT = 32
"""Characters of a piece."""

SHORT = 12
"""Characters that a perceptron reads."""


@dataclass(frozen=True, eq=False)
class Task:
    """A network of any width and its data.

    Attributes:
        make_model: From a width to a network.
        x: Training inputs.
        y: Targets.
        loss: Of outputs and targets.
    """

    make_model: Callable[[int], nn.Module]
    x: Tensor
    y: Tensor
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy


def each_position(f: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of (batch, positions, classes), the mean over all positions."""
    return cross_entropy(f.flatten(0, 1), y.flatten())


def image_task(network: str, dataset: str, data_dir: Path | None) -> Task:
    """An image classifier.

    Args:
        network: "mlp", "cnn", "cnn-norm", "resnet" or "vit".
        dataset: "digits" or "cifar10".
        data_dir: Where the files are.
    """
    data = _images(dataset, data_dir)
    shape, classes = data.image_shape, len(data.classes)
    x = data.train_x.unflatten(1, shape)
    match network:
        case "mlp":
            return Task(partial(Perceptron, data.train_x.shape[1], classes), data.train_x, data.train_y)
        case "cnn" | "cnn-norm":
            make = partial(ConvolutionalNet, shape[0], classes, norm=network == "cnn-norm")
            return Task(make, x, data.train_y)
        case "resnet":
            return Task(partial(PreactivationResNet, shape[0], classes), x, data.train_y)
        case _:
            return Task(partial(VisionTransformer, shape, shape[1] // 4, classes), x, data.train_y)


def text_task(network: str, path: Path | None) -> Task:
    """The next character of a text.

    Args:
        network: "mlp", "cnn" or "gpt".
        path: The text; None for Python's own documentation.
    """
    pieces, characters = text_pieces(path)
    if network == "mlp":
        return Task(partial(ContextPerceptron, characters, SHORT), pieces[:, :SHORT].contiguous(), pieces[:, SHORT])
    make = partial(CausalConvolutions, characters) if network == "cnn" else partial(Gpt, characters, CONTEXT)
    return Task(make, pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous(), each_position)


@lru_cache(maxsize=2)
def _images(dataset: str, data_dir: Path | None) -> Dataset:
    data = load(dataset, data_dir)
    return data if len(data.train_x) <= IMAGES else data.take(IMAGES, torch.Generator().manual_seed(0))


@lru_cache(maxsize=1)
def text_pieces(path: Path | None) -> tuple[Tensor, int]:
    """Evenly spaced pieces of a text, (pieces, context + 1) numbers of characters, and how many characters there are.

    Args:
        path: A file of text, also compressed by xz; None for what `help()` of Python says of its topics, which is
            English of half a million characters that is there without a download.

    Raises:
        ValueError: If it is shorter than the pieces.
    """
    if path is None:
        from pydoc_data.topics import topics

        text = "\n".join(topics[name] for name in sorted(topics))
    else:
        opened = lzma.open if path.suffix == ".xz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            text = file.read(20_000_000)
    # Without case and what is not ASCII: some sixty characters.
    codes = torch.frombuffer(bytearray(text.lower().encode("ascii", "ignore")), dtype=torch.uint8).long()
    if len(codes) < WINDOWS * (CONTEXT + 1):
        fail("--text", f"of at least {WINDOWS * (CONTEXT + 1):,} characters", len(codes))
    known = codes.unique()
    starts = torch.arange(WINDOWS) * (len(codes) - CONTEXT - 1) // (WINDOWS - 1)
    pieces = codes[starts[:, None] + torch.arange(CONTEXT + 1)]
    return torch.searchsorted(known, pieces), len(known)
