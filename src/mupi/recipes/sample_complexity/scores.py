"""Accuracies by task, method and number of training rows, and their means over seeds."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from mupi.training.records import Record


@dataclass(frozen=True)
class Score(Record):
    """One method, fitted once.

    Attributes:
        task: Name of the task.
        method: Name of the method.
        rows: To learn from.
        seed: Of rows and of what the method draws.
        accuracy: On test rows, 0 to 1.
        rate: Of a network, as it was chosen.
        seconds: Of fitting, settings chosen, and predicting.
    """

    task: str
    method: str
    rows: int
    seed: int
    accuracy: float
    rate: float | None
    seconds: float

    @property
    def key(self) -> tuple[int, str, str, int]:
        """What tells it from the others."""
        return self.seed, self.method, self.task, self.rows


@dataclass(frozen=True)
class Point:
    """A method at one number of rows.

    Attributes:
        rows: Their number.
        mean: Of the accuracy over seeds, 0 to 1.
        deviation: Its standard deviation; None for one seed.
        seconds: Their mean.
    """

    rows: int
    mean: float
    deviation: float | None
    seconds: float


Curve = tuple[Point, ...]
"""A method on a task, by number of rows."""


def curves(scores: Iterable[Score]) -> dict[str, dict[str, Curve]]:
    """By task and method, in the order in which they come.

    Args:
        scores: Over seeds.
    """
    found: dict[str, dict[str, dict[int, list[Score]]]] = {}
    for score in scores:
        found.setdefault(score.task, {}).setdefault(score.method, {}).setdefault(score.rows, []).append(score)
    return {
        task: {
            method: tuple(_point(rows, some) for rows, some in sorted(by_rows.items()))
            for method, by_rows in methods.items()
        }
        for task, methods in found.items()
    }


def _point(rows: int, some: list[Score]) -> Point:
    accuracies = [score.accuracy for score in some]
    deviation = stdev(accuracies) if len(some) > 1 else None
    return Point(rows, fmean(accuracies), deviation, fmean(score.seconds for score in some))


def rows_to(level: float, curve: Curve) -> int | None:
    """The least number of rows from which on the mean accuracy is never below ``level``; None if there is none.

    Args:
        level: 0 to 1.
        curve: By number of rows.
    """
    enough = None
    for point in reversed(curve):
        if point.mean < level:
            break
        enough = point.rows
    return enough


def as_json(found: dict[str, dict[str, Curve]], titles: dict[str, str], shown: dict[str, str]) -> dict[str, Any]:
    """Everything, with names as they are in text."""
    return {
        titles[task]: {
            shown[method]: {
                "rows": [p.rows for p in curve],
                "accuracy": [p.mean for p in curve],
                "standard_deviation": [p.deviation for p in curve],
                "seconds": [p.seconds for p in curve],
            }
            for method, curve in methods.items()
        }
        for task, methods in found.items()
    }
