"""Tables with a number for each row: one of patients, and three that are drawn (Friedman 1991; Breiman 1996)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.datasets import load_diabetes, make_friedman1, make_friedman2, make_friedman3

ROWS = 500
"""Of those that are drawn."""


@dataclass(frozen=True, eq=False)
class NumberTable:
    """A table with a number for each row.

    Attributes:
        name: What it is called.
        x: Columns of numbers, a row for each number to learn.
        y: The numbers.
    """

    name: str
    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]


# Noise as in Breiman (1996): a third of the spread of what can be predicted.
LOADERS: dict[str, Callable[[], Any]] = {
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "friedman1": lambda: make_friedman1(ROWS, noise=1.0, random_state=0),
    "friedman2": lambda: make_friedman2(ROWS, noise=125.0, random_state=0),
    "friedman3": lambda: make_friedman3(ROWS, noise=0.1, random_state=0),
}
"""By the name of each table."""


def load_numbers(name: str) -> NumberTable:
    """A table.

    Raises:
        FileNotFoundError: If there is none of that name.
    """
    if name not in LOADERS:
        raise FileNotFoundError(f"there is no table `{name}` of numbers; there are {', '.join(LOADERS)}")
    x, y = LOADERS[name]()
    return NumberTable(name, x, y)
