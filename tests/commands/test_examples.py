"""The examples that help ends with, run for real but for their sizes, in the order in which one needs another."""

import random
import shlex
from glob import glob
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderResult
from rich.table import Table

from mupi.cli import main
from mupi.command_list import COMMANDS, RECIPES
from mupi.commands.train.presets import DIGITS, PRESETS
from mupi.recipes.comparison import cifar10_parts
from omniglot_archives import write_archives

pytestmark = pytest.mark.slow

TINY = {
    "train --features atoms": "--rank 4 --epochs 1 --train-size 40 --name atoms",
    "train --network mup": "--width 8 --epochs 1 --train-size 40 --name b",
    "export runs/a --width": "--width 8",
    "coordcheck": "--min-width 8 --max-width 32 --seeds 2",
    "check": "--base-width 8 --widths 8 16 --seeds 2",
    "program dependence": "--widths 16 32 --draws 2",
    "program all": "--widths 16 32 --draws 2 --samples 256",
    "compare --models": "--models ntk mu-net pi-limit pi-limit-exact --train-size 40 --epochs 1 --seeds 2 --width 8",
    "compare --train-size": "--train-size 40 --epochs 1",
    "cifar10 --parts speed": "--train-size 40 --rank 4 --subspace 3",
    "cifar10 --parts relu": "--train-size 40 --epochs 1 --rank 4 --subspace 3",
    "convergence --ranks": "--ranks 2 4 --min-width 8 --max-width 16 --mu-max-width 16 --seeds 2 --steps 3",
    "convergence --max-width": "--ranks 2 --min-width 8 --max-width 16 --mu-max-width 16 --seeds 2 --steps 3",
    "ensemble --max-width": "--min-width 8 --max-width 16 --seeds 3 --steps 0 2 --grid 5",
    "ensemble --depth": "--min-width 8 --max-width 16 --seeds 3 --steps 0 2 --grid 5",
    "lr-transfer": "--widths 8 16 --train-size 40 --epochs 1 --seeds 1 --log2-lr -2 0 --batch-size 20",
    "rate-transfer": "--networks mlp --optimizers sgd --ways mup --width 8 --times 2 --steps 3 --seeds 1 --span 1",
    "forecast": "--tasks mlp-digits --steps 4 --points 2 --seeds 2 --wide-seeds 1",
    "mu-limit": "--images 4 --steps 2 --samples 256 --widths 8 16 --seeds 2",
    "feature-kernels": "--images 4 --steps 2 --samples 256 --widths 8 16",
    "transfer pretrain": "--epochs 1 --train-size 40 --rank 4 --subspace 3 --name pretrained",
    "transfer both": "--train-size 40 --pretrain-size 40 --pretrain-epochs 1 --rank 4 --subspace 3 --width 8",
    "omniglot --batches": "--batches 2 --tasks 2 --ways 3 --rank 4 --subspace 3 --evaluate-every 2 --test-episodes 4 "
    "--validation-episodes 2 --name omniglot-a",
    "omniglot tp4": "--width 8 --batches 2 --tasks 2 --ways 3 --test-episodes 4 --validation-episodes 2 --name a",
    "word2vec gaussian": "--width 4 --epochs 1 --min-count 1 --name a",
    "word2vec --text my.txt": "--epochs 1 --min-count 1 --name word2vec-my",
}
"""By how a command line begins: what is given beside it, in place of what it says if it says it."""

ORDER = shlex.split(
    "train plot export abc coordcheck check program compare cifar10 convergence ensemble lr-transfer rate-transfer "
    "forecast mu-limit feature-kernels transfer omniglot omniglot-plot word2vec word2vec-figure analogies neighbours"
)


MODEL = """
from torch import nn


def make_model(width):
    convolution = nn.Conv2d(3, width, 3, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
"""
"""A user's own."""


def shortened(args: list[str]) -> list[str]:
    """With the sizes of `TINY`."""
    tiny = shlex.split(next((tiny for start, tiny in TINY.items() if " ".join(args).startswith(start)), ""))
    for flag in (part for part in tiny if part.startswith("--") and part in args):
        at = end = args.index(flag) + 1
        while end < len(args) and not args[end].startswith("--"):
            end += 1
        args = [*args[: at - 1], *args[end:]]
    return [*args, *tiny]


def expanded(args: list[str]) -> list[str]:
    """As a shell does it."""
    return [path for part in args for path in (sorted(glob(part)) or [part])]


def test_every_example_runs_and_what_it_prints_fits(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    # Rich folds what is wider; here it is to say how wide it would be.
    console, natural = Console(width=300), []
    shown = Table.__rich_console__

    def measured(table: Table, *args: Any) -> RenderResult:
        natural.append((console.measure(table).maximum, [column.header for column in table.columns]))
        return shown(table, *args)

    monkeypatch.setattr(Table, "__rich_console__", measured)
    monkeypatch.setenv("MUPI_DATA", str(tmp_path))
    monkeypatch.setattr(cifar10_parts, "CIFAR10", DIGITS.changed(rank=6))
    monkeypatch.setattr(cifar10_parts, "CIFAR10_PRESETS", PRESETS["digits"])
    write_archives(tmp_path, monkeypatch)
    words = ["king", "man", "woman", "queen", *(f"word{i}" for i in range(9))]
    text = " ".join(random.Random(0).choices(words, weights=range(13, 0, -1), k=400))
    for name in ("text8", "my.txt"):
        Path(name).write_text(text)
    Path("questions-words.txt").write_text(": family\nking man queen woman\n")
    Path("model.py").write_text(MODEL)
    # What the examples read: at first a network of defaults, later word vectors.
    assert main(shlex.split("train --rank 4 --epochs 1 --train-size 40 --name a")) == 0
    wide, ran = [], 0
    for name in ORDER:
        if name == "word2vec":
            Path("runs/a").rename("runs/trained")
        if name == "analogies":
            Path("vectors.bin").write_bytes(Path("runs/a/vectors.bin").read_bytes())
        for example in (COMMANDS | RECIPES)[name].examples:
            args = shlex.split(example)[1:]
            given = [part for part in args[:1] if part == "recipe"]
            line = [*given, *expanded(shortened(args[len(given) :]))]
            status = main(line)
            said = capsys.readouterr()
            assert status == 0, f"{' '.join(line)}: {said.err}"
            wide += [f"{example}: {printed}" for printed in said.out.splitlines() if len(printed) > 80]
            wide += [f"{example}: {headers}, {width} wide" for width, headers in natural if width > 80]
            natural.clear()
            ran += 1
    assert ran == 2 * len(COMMANDS | RECIPES) == 2 * len(ORDER)
    assert not wide, "\n".join(wide)
