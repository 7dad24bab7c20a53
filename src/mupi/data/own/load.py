"""A file as a data set: split, standardized, and what its inputs and outputs mean."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mupi.checks import fail
from mupi.data.dataset import Dataset, Pixels
from mupi.data.own.columns import Category, Coded, Columns, fit_columns
from mupi.data.own.meaning import Images, Meaning, pixels_as_trained
from mupi.data.own.raw import Raw, RawImages, RawTable, fingerprint
from mupi.data.own.reading import read_raw, read_test_part
from mupi.data.own.targets import Classes, TaskName, encoded, read_classes, read_numbers, spelled, task_of
from mupi.data.own.wanted import Wanted, listed
from mupi.data.targets import Numbers


@dataclass(frozen=True, eq=False)
class OwnData:
    """What was made of a file.

    Attributes:
        data: Rows to train on and to test on.
        meaning: Of its inputs and targets.
        task: What is learned.
        checksum: Of all that was read.
        notes: What the user is to know.
    """

    data: Dataset
    meaning: Meaning
    task: TaskName
    checksum: str
    notes: tuple[str, ...]


def load_own(
    source: str,
    wanted: Wanted,
    task: TaskName | None,
    test: str | None,
    test_share: float,
    generator: torch.Generator,
) -> OwnData:
    """Read a file, split it, and standardize it by its training rows.

    Args:
        source: A path, or ``hf:NAME``.
        wanted: Which columns.
        task: What the target is; None to find out.
        test: A file with the rows to test on; None for a part of the source: the one that it brings with it, or a
            share of its rows, of each class alike.
        test_share: That share.
        generator: Draws that part.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If something in it cannot be learned.
    """
    raw, notes = read_raw(source, wanted), list[str]()
    if task is None:
        task, note = task_of(raw)
        notes += [note] if note else []
    tests = read_test_part(source, wanted)
    if test is not None:
        only = tuple(raw.inputs.columns) if isinstance(raw.inputs, RawTable) else ()
        tests = read_raw(test, Wanted(raw.target_name, (), only, wanted.size, "test"))
        if tests.target is None:
            fail("test", f"with targets `{raw.target_name}`", f"`{test}` without")
    classes = read_classes(raw) if task == "classification" else None
    strata = np.zeros(len(raw.inputs), int) if classes is None else encoded(raw, classes).numpy()
    train = np.arange(len(raw.inputs)) if tests is not None else None
    if train is None:
        train, left = split(strata, test_share, generator)
        tests = rows_of(raw, left)
    assert tests is not None
    few = [] if classes is None else [n for i, n in enumerate(classes.names) if not (strata[train] == i).any()]
    if few or len(train) < 2 or not len(tests.inputs):
        fail("data", "with two rows or more to train on and one to test on", f"`{source}` with {len(raw.inputs)} rows")
    targets: Classes | Numbers = read_numbers(raw, train) if classes is None else classes
    if classes is not None and (absent := [n for n in classes.names if n not in set(spelled(tests))]):
        notes.append(f"no test rows of {listed(absent)}, which have few")
    kept = rows_of(raw, train)
    inputs, train_x, test_x, said = _inputs(raw, train, kept, tests)
    meaning = Meaning(source, inputs, raw.target_name, targets)
    data = Dataset(
        name=source,
        train_x=train_x,
        train_y=encoded(kept, targets),
        test_x=test_x,
        test_y=encoded(tests, targets),
        image_shape=meaning.description.image_shape,
        classes=classes.names if classes is not None else (),
        pixels=inputs.pixels if isinstance(inputs, Images) else Pixels(),
        numbers=None if isinstance(targets, Classes) else targets,
    )
    learned = (
        f"{len(classes.names)} classes `{raw.target_name}`" if classes is not None else f"numbers `{raw.target_name}`"
    )
    first = f"`{source}`: {len(train)} rows to train on, {len(tests.inputs)} to test on; {learned}"
    checksum = fingerprint(raw) + (fingerprint(tests) if len(train) == len(raw.inputs) else "")
    return OwnData(data, meaning, task, checksum, (first, *raw.notes, *notes, *said))


def _inputs(raw: Raw, rows: np.ndarray, train: Raw, test: Raw) -> tuple[Images | Columns, Tensor, Tensor, list[str]]:
    """What inputs are, those of training and test, and what was filled in."""
    if isinstance(raw.inputs, RawTable) and isinstance(train.inputs, RawTable) and isinstance(test.inputs, RawTable):
        columns = fit_columns(raw.inputs, raw.source, rows)
        module = columns.module()
        coded = (columns.coded(train.inputs, raw.source, "data"), columns.coded(test.inputs, test.source, "test"))
        words = [column for column in columns.columns if isinstance(column, Category)]
        notes = [f"{len(columns.columns) - len(words)} columns of numbers, {len(words)} of words"]
        notes[0] += f" (one input for each of {sum(len(c.words) for c in words)})" if words else ""
        both = {name: sum(part.missing.get(name, 0) for part in coded) for name in columns.names}
        notes += filled_in(Coded(coded[0].codes, {n: c for n, c in both.items() if c}, coded[1].unknown))
        train_x, test_x = (module(torch.from_numpy(part.codes)) for part in coded)
        return columns, train_x, test_x, notes
    if isinstance(train.inputs, RawImages) and isinstance(test.inputs, RawImages):
        images = fit_images(train.inputs)
        module = images.module()
        train_x = module(pixels_as_trained(train.inputs.pixels, images, raw.source, "data"))
        test_x = module(pixels_as_trained(test.inputs.pixels, images, test.source, "test"))
        channels, height, width = images.shape
        return images, train_x, test_x, [f"images of {width}×{height} pixels, {channels} channels"]
    fail("test", "of the same kind as data", f"`{test.source}`, of another")


def filled_in(coded: Coded) -> list[str]:
    """What is to be said of entries that were missing or unknown."""
    notes = []
    if coded.missing:
        each = [f"`{name}` ({count})" for name, count in coded.missing.items()]
        more = f" and {len(each) - 12} more" if len(each) > 12 else ""
        notes.append(f"missing numbers are their column's mean, missing words none: {', '.join(each[:12])}{more}")
    for name, words in coded.unknown.items():
        notes.append(f"words that no training row has in `{name}`, taken as missing: {listed(words, 5)}")
    return notes


def fit_images(raw: RawImages) -> Images:
    """Mean and standard deviation of each channel of training images."""
    pixels = raw.pixels
    mean, std = (getattr(pixels, name)(axis=(0, 2, 3), dtype=np.float64) for name in ("mean", "std"))
    largest = 255 if pixels.dtype == np.uint8 else None
    scale = np.where(std > 0, std, 1.0)
    return Images(
        (pixels.shape[1], pixels.shape[2], pixels.shape[3]),
        Pixels(tuple(mean.tolist()), tuple(scale.tolist()), largest),
    )


def split(strata: np.ndarray, share: float, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and to test on, in their order: of each stratum the same share, rounded.

    Args:
        strata: Of each row.
        share: To test on.
        generator: Draws them.
    """
    test = np.zeros(len(strata), bool)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        order = torch.randperm(len(rows), generator=generator).numpy()
        test[rows[order[: min(round(share * len(rows)), len(rows) - 1)]]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def rows_of(raw: Raw, rows: np.ndarray) -> Raw:
    """Some of the rows."""
    if isinstance(raw.inputs, RawTable):
        inputs = RawTable({name: column[rows] for name, column in raw.inputs.columns.items()})
    else:
        inputs = RawImages(
            raw.inputs.pixels[rows], tuple(raw.inputs.files[i] for i in rows) if raw.inputs.files else ()
        )
    return Raw(raw.source, inputs, None if raw.target is None else raw.target[rows], raw.target_name)
