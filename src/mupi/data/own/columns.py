"""Columns of a table as inputs of a network: numbers standardized, words one-hot, what is missing filled in."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.checks import fail
from mupi.data.own.raw import RawTable
from mupi.data.own.words import as_numbers, as_words
from mupi.extras import require

MOST_WORDS = 100
"""Of a column: more are names or sentences, of which nothing can be learned by one input for each."""


@dataclass(frozen=True)
class Number:
    """A column of numbers.

    Attributes:
        name: Of the column.
        mean: Of training rows: what stands for a missing entry.
        std: Standard deviation of training rows, once these are filled in; 1 if they are all the same.
    """

    name: str
    mean: float
    std: float


@dataclass(frozen=True)
class Category:
    """A column of words, one input for each; all are 0 for one that is missing or unknown.

    Attributes:
        name: Of the column.
        words: Those of training rows, sorted.
        means: The share of each.
        stds: Standard deviation of each input.
    """

    name: str
    words: tuple[str, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Coded:
    """A table as numbers.

    Attributes:
        codes: Numbers as they came, and the place of each word among those of its column; NaN for what is missing.
        missing: How many entries of each column that has some.
        unknown: Words that training had not, by column.
    """

    codes: Float[np.ndarray, "n columns"]
    missing: dict[str, int]
    unknown: dict[str, list[str]]


@dataclass(frozen=True)
class Columns:
    """What a network reads of a row.

    Attributes:
        columns: In the order of its inputs.
    """

    columns: tuple[Number | Category, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns."""
        return tuple(column.name for column in self.columns)

    @property
    def inputs(self) -> list[str]:
        """Which column each input of the network is of."""
        return [column.name for column in self.columns for _ in _sizes(column)]

    def coded(self, table: RawTable, source: str, argument: str) -> Coded:
        """A table with these columns as numbers.

        Raises:
            ValueError: For words in a column of numbers, and numbers that are not finite.
        """
        codes, missing, unknown = [], {}, {}
        for column in self.columns:
            values = table.columns[column.name]
            if isinstance(column, Number):
                code = values if values.dtype != object else as_numbers(values)
                if code is None:
                    wrong = next(w for w in values if w is not None and as_numbers(np.array([w], object)) is None)
                    fail(argument, f"of numbers in column `{column.name}`, as in training", f"{wrong!r} in `{source}`")
                if np.isinf(code).any():
                    fail(argument, f"of finite numbers in column `{column.name}`", f"an infinite one in `{source}`")
                absent = np.isnan(code)
            else:
                words = values if values.dtype == object else as_words(values)
                place = {word: float(i) for i, word in enumerate(column.words)}
                code = np.array([np.nan if w is None else place.get(w, np.nan) for w in words], np.float64)
                absent = np.array([w is None for w in words], bool)
                if new := sorted({w for w in words if w is not None and w not in place}):
                    unknown[column.name] = new
            if absent.any():
                missing[column.name] = int(absent.sum())
            codes.append(code)
        return Coded(np.stack(codes, 1), missing, unknown)

    def module(self) -> "StandardColumns":
        """From codes to inputs of the network."""
        return StandardColumns(self)


class StandardColumns(nn.Module):
    """Codes of a table's rows as standardized inputs.

    Numbers are taken in float64, since those such as dates differ in digits that float32 has not.

    Args:
        columns: What the codes stand for.
    """

    column: Tensor
    word: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, columns: Columns):
        super().__init__()
        inputs = [(i, *sizes) for i, one in enumerate(columns.columns) for sizes in _sizes(one)]
        places, words, means, stds = zip(*inputs, strict=True)
        self.register_buffer("column", torch.tensor(places))
        for name, values in (("word", words), ("mean", means), ("std", stds)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))

    def filled(self, codes: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch d"]:
        """Without missing entries, words one-hot, in their own units."""
        values = codes.double()[:, self.column]
        numbers = torch.where(values.isnan(), self.mean, values)
        return torch.where(self.word.isnan(), numbers, (values == self.word).double())

    def forward(self, codes: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch d"]:
        """The network's inputs, float32."""
        return ((self.filled(codes) - self.mean) / self.std).float()


def _sizes(column: Number | Category) -> Iterator[tuple[float, float, float]]:
    """Of each input: the place of its word, NaN for a number; mean and standard deviation."""
    if isinstance(column, Number):
        yield np.nan, column.mean, column.std
    else:
        yield from zip(map(float, range(len(column.words))), column.means, column.stds, strict=True)


def fit_columns(table: RawTable, source: str, rows: np.ndarray) -> Columns:
    """What training rows say of each column, by scikit-learn's imputer and scaler.

    A column with an entry that is no number is one of words.

    Args:
        table: All rows.
        source: Of the table, for messages.
        rows: Those to train on.

    Raises:
        ValueError: For a column without entries, or of more words than `MOST_WORDS`, or of a word for each row.
    """
    require("sklearn", "a table")
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    raw: list[Number | Category] = []
    for name, values in table.columns.items():
        numbers = values if values.dtype != object else as_numbers(values)
        if numbers is not None:
            present = numbers[rows][~np.isnan(numbers[rows])]
            if not len(present):
                fail("data", "of columns with entries", f"`{name}` in `{source}` without", f"--ignore {name}")
            if np.isinf(numbers).any():
                fail("data", f"of finite numbers in column `{name}`", f"an infinite one in `{source}`")
            mean = float(np.asarray(SimpleImputer().fit(present[:, None]).statistics_)[0])
            raw.append(Number(name, mean, 1.0))
            continue
        words = sorted({word for word in values[rows] if word is not None})
        if len(words) > MOST_WORDS or (len(words) == len(rows) and len(words) > 10):
            got = f"`{name}` in `{source}` with {len(words)} in {len(rows)} rows, such as {words[0][:40]!r}"
            must = f"of columns of numbers, or of at most {MOST_WORDS} words that come again"
            fail("data", must, got, f"leave it out with --ignore {name}")
        if not words:
            fail("data", "of columns with entries", f"`{name}` in `{source}` without", f"--ignore {name}")
        raw.append(Category(name, tuple(words), (0.0,) * len(words), (1.0,) * len(words)))
    plain = Columns(tuple(raw))
    kept = RawTable({name: values[rows] for name, values in table.columns.items()})
    filled = plain.module().filled(torch.from_numpy(plain.coded(kept, source, "data").codes)).numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        scaler = StandardScaler().fit(filled)
    means, stds = (iter(np.asarray(values).tolist()) for values in (scaler.mean_, scaler.scale_))
    found: list[Number | Category] = []
    for column in raw:
        sizes = [(next(means), next(stds)) for _ in _sizes(column)]
        if not np.isfinite(sizes).all():
            fail("data", "of numbers that can be squared", f"`{column.name}` in `{source}` with larger ones")
        if isinstance(column, Number):
            found.append(replace(column, std=sizes[0][1]))
        else:
            mean, std = zip(*sizes, strict=True)
            found.append(replace(column, means=mean, stds=std))
    return Columns(tuple(found))
