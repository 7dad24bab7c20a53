"""Accuracies, or R², of methods on tables: means, ranks, and which differences of ranks are more than chance."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from mupi.training.records import Record


@dataclass(frozen=True)
class Score(Record):
    """One method on one fold of one table.

    Attributes:
        table: Name of the table.
        method: Name of the method.
        repeat: Which partition of the rows.
        fold: Which part was the test.
        accuracy: On that part; R² of numbers.
        seconds: Of fitting, settings chosen, and predicting.
    """

    table: str
    method: str
    repeat: int
    fold: int
    accuracy: float
    seconds: float

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells it from the others."""
        return self.table, self.method, self.repeat, self.fold


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods on tables that all of them have done.

    Attributes:
        tables: Their names.
        methods: Their names.
        accuracy: The mean over folds.
        seconds: Over all tables and folds.
    """

    tables: tuple[str, ...]
    methods: tuple[str, ...]
    accuracy: Float[np.ndarray, "tables methods"]
    seconds: Float[np.ndarray, " methods"]

    @cached_property
    def ranks(self) -> Float[np.ndarray, "tables methods"]:
        """1 for the best of a table, the mean of ranks that are shared."""
        return rankdata(-np.round(self.accuracy, 10), axis=1)

    @property
    def mean_ranks(self) -> Float[np.ndarray, " methods"]:
        """Over tables."""
        return self.ranks.mean(0)

    @property
    def friedman(self) -> float:
        """p that methods are alike (Friedman 1937)."""
        return float(friedmanchisquare(*self.accuracy.T).pvalue)

    @property
    def critical_difference(self) -> float:
        """Of two mean ranks, at 5 %: q √(m(m + 1)/6N) for m methods on N tables (Nemenyi 1963; Demšar 2006)."""
        m, n = len(self.methods), len(self.tables)
        return float(studentized_range.ppf(0.95, m, np.inf)) / np.sqrt(2) * np.sqrt(m * (m + 1) / (6 * n))


def compare(scores: Iterable[Score]) -> Comparison:
    """What can be compared: the tables that every method has finished, by as many folds.

    Args:
        scores: Of methods on folds.
    """
    found: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        found.setdefault((score.table, score.method), []).append(score)
    methods = tuple(dict.fromkeys(method for _, method in found))
    most = max((len(folds) for folds in found.values()), default=0)
    tables = tuple(
        table
        for table in dict.fromkeys(table for table, _ in found)
        if all(len(found.get((table, method), ())) == most for method in methods)
    )
    accuracy = [[np.mean([s.accuracy for s in found[table, method]]) for method in methods] for table in tables]
    seconds = [sum(s.seconds for table in tables for s in found[table, method]) for method in methods]
    return Comparison(tables, methods, np.array(accuracy).reshape(len(tables), len(methods)), np.array(seconds))
