"""`mupi predict`: what a trained network says of new rows."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from tyro.conf import Positional

from mupi.checks import fail
from mupi.commands.options import File
from mupi.commands.train.of_raw import OfRaw
from mupi.commands.train.restore import restore_with_meaning
from mupi.commands.train.run import read_config
from mupi.data.own.columns import Category, Columns
from mupi.data.own.load import filled_in
from mupi.data.own.meaning import Meaning, pixels_as_trained
from mupi.data.own.raw import Raw, RawImages, RawTable
from mupi.data.own.reading import read_raw
from mupi.data.own.targets import Classes, as_floats, spelled
from mupi.data.own.wanted import Wanted, listed
from mupi.training.atomic import replacing

ROWS = 1000
"""That go through the network at a time."""

FAR = 20
"""Standard deviations from the mean of training that are said, since most likely something is in other units."""


@dataclass(frozen=True)
class PredictConfig:
    """Write the predictions of a trained network for new rows.

    Rows come as they are: columns by the names of training in any order, words, missing entries; images of the size of
    training. The file has a line for each: the class and the probability of every class, or the number. Where the
    target is there too, it says how many are right.
    """

    run: Positional[Path]
    """The run's directory."""
    data: Positional[str]
    """The new rows: a file as `mupi train --data` takes it, with or without the target, or a folder of images."""
    out: Annotated[Path | None, File()] = None
    """The file; None for `predictions.csv` in the run's directory."""
    mirror: bool = False
    """Of images: the mean of the outputs of each and of its mirror image, better where training had --flip."""


def predict(config: PredictConfig) -> Path:
    """Write the predictions.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If there is no such run, or no such file.
        ValueError: If the rows are not like those of training.
    """
    run = replace(read_config(config.run), device="cpu")
    net, meaning, _ = restore_with_meaning(run)
    columns = meaning.inputs.names if isinstance(meaning.inputs, Columns) else ()
    target = meaning.target if columns else None
    raw = read_raw(config.data, Wanted(target, only=columns, size=run.image_size))
    x, notes = raw_rows(raw, meaning)
    whole = OfRaw(net, meaning)
    if config.mirror and columns:
        fail("mirror", "left out for a table", True)
    with torch.no_grad():
        answers = torch.cat([whole(part) for part in x.split(ROWS)]).double()
        if config.mirror:
            answers = (answers + torch.cat([whole(part.flip(-1)) for part in x.split(ROWS)])) / 2
    if isinstance(meaning.targets, Classes):
        answers = answers.softmax(1)
    path = config.run / "predictions.csv" if config.out is None else config.out
    write_predictions(path, answers, raw, meaning)
    say = Console()
    notes += far_off(whole.inputs(x), meaning)
    for note in (*raw.notes, *notes, f"wrote {path}: {len(x)} rows{compared(answers, raw, meaning)}"):
        say.print(note, highlight=False, markup=False, soft_wrap=True)
    return path


def raw_rows(raw: Raw, meaning: Meaning) -> tuple[Tensor, list[str]]:
    """Rows as `OfRaw` takes them, and what was filled in.

    Raises:
        ValueError: If they are not like those of training.
    """
    match meaning.inputs, raw.inputs:
        case Columns() as columns, RawTable() as table:
            coded = columns.coded(table, raw.source, "data")
            return torch.from_numpy(coded.codes), filled_in(coded)
        case Columns(), _:
            fail("data", "a table, as in training", f"images in `{raw.source}`")
        case images, RawImages(pixels):
            return pixels_as_trained(pixels, images, raw.source, "data"), []
        case _:
            fail("data", "images, as in training", f"a table in `{raw.source}`")


def far_off(inputs: Tensor, meaning: Meaning) -> list[str]:
    """What is to be said of numbers, or of pixels, that are nothing like those of training."""
    names, words = ["pixels"], set[str]()
    if isinstance(meaning.inputs, Columns):
        names = meaning.inputs.inputs
        words = {column.name for column in meaning.inputs.columns if isinstance(column, Category)}
    else:
        inputs = inputs.flatten()[:, None]
    largest = dict(zip(names, inputs.abs().amax(0).tolist(), strict=True))
    found = {name: size for name, size in largest.items() if name not in words and size > FAR}
    each = ", ".join(f"`{name}` by {size:.3g}" for name, size in list(found.items())[:6])
    return [f"up to so many standard deviations from the mean of training, in other units?: {each}"] if found else []


def write_predictions(path: Path, answers: Tensor, raw: Raw, meaning: Meaning) -> None:
    """A line for each row: the file that it comes from, if it has a name; then what is predicted."""
    files = raw.inputs.files if isinstance(raw.inputs, RawImages) else ()
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        classes = meaning.targets.names if isinstance(meaning.targets, Classes) else ()
        lines.writerow([*(["file"] if files else []), meaning.target, *(f"p({name})" for name in classes)])
        for i, row in enumerate(answers.tolist()):
            said = [classes[int(np.argmax(row))], *(f"{p:.6f}" for p in row)] if classes else [repr(row[0])]
            lines.writerow([*(files[i : i + 1]), *said])


def compared(answers: Tensor, raw: Raw, meaning: Meaning) -> str:
    """How good predictions are, where the target is there."""
    if raw.target is None:
        return ""
    if isinstance(meaning.targets, Classes):
        words, names = spelled(raw), np.array(meaning.targets.names, object)
        if unknown := sorted(set(words) - set(names)):
            return f"; not compared with `{raw.target_name}`, which has other classes, {listed(unknown, 3)}"
        right = names[answers.argmax(1).numpy()] == words
        return f", {right.mean():.2%} of them right by `{raw.target_name}`"
    y = as_floats(raw)
    error = answers[:, 0].numpy() - y
    r2 = f"R² {1 - (error**2).mean() / y.var():.4f}, " if y.std() else ""
    return f", {r2}root mean squared error {np.sqrt((error**2).mean()):.4g} by `{raw.target_name}`"
