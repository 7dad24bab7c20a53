"""A trained network as a function of raw rows, and what a user of it has to know."""

from typing import Any

import torch
from torch import Tensor, nn

from mupi.data.own.columns import Category, Columns
from mupi.data.own.meaning import Images, Meaning, StandardPixels
from mupi.data.targets import Numbers


class OfRaw(nn.Module):
    """From images as they are, or codes of a table's rows, to logits or to numbers in their own units.

    Args:
        net: The network of standardized inputs.
        meaning: Of its inputs and outputs.
        checked: Whether pixels out of range are refused.
    """

    def __init__(self, net: nn.Module, meaning: Meaning, checked: bool = True):
        super().__init__()
        self.net = net
        inputs = meaning.inputs
        self.inputs = StandardPixels(inputs, checked) if isinstance(inputs, Images) else inputs.module()
        self.numbers = meaning.targets if isinstance(meaning.targets, Numbers) else None

    def answers(self, outputs: Tensor) -> Tensor:
        """Logits (batch, classes) as they are; numbers, float64 (batch, 1)."""
        return outputs if self.numbers is None else self.numbers.mean + self.numbers.std * outputs.double()

    def forward(self, raw: Tensor) -> Tensor:
        """See `answers`."""
        return self.answers(self.net(self.inputs(raw)))


def about(meaning: Meaning) -> dict[str, Any]:
    """What a file's user has to know, as JSON has it."""
    inputs, targets = meaning.inputs, meaning.targets
    numbers = isinstance(targets, Numbers)
    known: dict[str, Any] = {"dataset": meaning.name}
    if isinstance(inputs, Images):
        known["input"] = {
            "shape": ["batch", *inputs.shape],
            "dtype": "float32",
            "smallest": None if inputs.pixels.largest is None else 0,
            "largest": inputs.pixels.largest,
        }
        known |= {"mean": inputs.pixels.mean, "std": inputs.pixels.std}
    else:
        words = [
            {"words": c.words} if isinstance(c, Category) else {"mean": c.mean, "std": c.std} for c in inputs.columns
        ]
        known["input"] = {
            "shape": ["batch", len(inputs.columns)],
            "dtype": "float64",
            "columns": [{"name": name, **one} for name, one in zip(inputs.names, words, strict=True)],
            "missing": "NaN",
        }
    return known | {
        "target": meaning.target,
        "output": "numbers" if numbers else "logits",
        "classes": [] if numbers else targets.names,
    }


def examples(meaning: Meaning, n: int) -> Tensor:
    """Raw rows to try a network on: around the means, each word in turn, and one with nothing but missing entries."""
    draw = torch.Generator().manual_seed(0)
    if isinstance(meaning.inputs, Columns):
        columns = [
            torch.arange(n).double() % len(one.words)
            if isinstance(one, Category)
            else one.mean + one.std * torch.randn(n, generator=draw, dtype=torch.float64)
            for one in meaning.inputs.columns
        ]
        rows = torch.stack(columns, 1)
        rows[0] = torch.nan
        return rows
    shape, pixels = (n, *meaning.inputs.shape), meaning.inputs.pixels
    if pixels.largest is not None:
        return torch.randint(pixels.largest + 1, shape, generator=draw).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (pixels.mean, pixels.std))
    return mean + std * torch.randn(shape, generator=draw)
