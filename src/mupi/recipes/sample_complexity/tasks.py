"""Tasks with few directions that matter, among many that do not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from mupi.checks import fail, positive_int
from mupi.data import Dataset
from mupi.extras import require

TaskName = Literal["signs", "multi-index", "staircase", "noisy-digits", "digits"]

Drawn = tuple[Float[np.ndarray, "n d"], Bool[np.ndarray, " n"] | Int[np.ndarray, " n"]]
"""Rows and their classes."""

SIGNS = 20
FACTORS = 4
STAIRS = 5
DIRECTIONS = 30
PIXELS = 64
NOISE = 448


def product_of_signs(n: int, random: np.random.RandomState) -> Drawn:
    """Uniform signs in {−1, 1}^20; the class is whether the product of the first four is positive (sparse parity).

    No three of the signs, or fewer, say anything about it.

    >>> x, y = product_of_signs(1000, np.random.RandomState(0))
    >>> x.shape, bool((y == (x[:, 0] * x[:, 1] * x[:, 2] * x[:, 3] > 0)).all())
    ((1000, 20), True)

    Args:
        n: Rows.
        random: Draws them.
    """
    x = _signs(n, SIGNS, random)
    return x, x[:, :FACTORS].prod(1) > 0


def multi_index(n: int, random: np.random.RandomState) -> Drawn:
    """x ~ N(0, I_30); the class is whether ⟨u₁, x⟩ + 2⟨u₂, x⟩⟨u₃, x⟩ > 0, for orthonormal directions u.

    Args:
        n: Rows.
        random: Draws directions, then rows.
    """
    u, _ = np.linalg.qr(random.standard_normal((DIRECTIONS, 3)))
    x = random.standard_normal((n, DIRECTIONS))
    z = x @ u
    return x, z[:, 0] + 2 * z[:, 1] * z[:, 2] > 0


def staircase(n: int, random: np.random.RandomState) -> Drawn:
    """Uniform signs in {−1, 1}^30; the class is the sign of x₁ + x₁x₂ + … + x₁x₂x₃x₄x₅ (Abbe et al. 2022).

    Each product has one factor more than another, by which gradient descent climbs from one to the next.

    Args:
        n: Rows.
        random: Draws them.
    """
    x = _signs(n, DIRECTIONS, random)
    return x, x[:, :STAIRS].cumprod(1).sum(1) > 0


def noisy_digits(n: int, random: np.random.RandomState) -> Drawn:
    """Images of digits, 64 pixels, in an order drawn at random, and 448 columns of N(0, 1) beside them.

    Args:
        n: Rows; at most 1,797.
        random: Draws order, then noise.
    """
    x, y = digits(n, random)
    return np.hstack([x, random.standard_normal((n, NOISE))]), y


def digits(n: int, random: np.random.RandomState) -> Drawn:
    """The same without noise.

    Args:
        n: Rows; at most 1,797.
        random: Draws their order.
    """
    require("sklearn", "digits")
    from sklearn.datasets import load_digits

    x, y = map(np.asarray, load_digits(return_X_y=True))
    order = random.permutation(len(x))[:n]
    return x[order], y[order]


def _signs(n: int, d: int, random: np.random.RandomState) -> Float[np.ndarray, "n d"]:
    return 2.0 * random.randint(2, size=(n, d)) - 1


@dataclass(frozen=True)
class Task:
    """What is to be learned.

    Attributes:
        name: On the command line.
        title: In words.
        draw: From a number of rows, and what draws them, to rows and classes.
        sizes: Numbers of training rows.
        test: Test rows.
        classes: How many there are.
    """

    name: str
    title: str
    draw: Callable[[int, np.random.RandomState], Drawn]
    sizes: tuple[int, ...]
    test: int = 2000
    classes: int = 2

    def split(self, n: int, seed: int) -> Dataset:
        """Training and test rows, columns standardized by the training rows.

        Of one seed test rows are the same whatever ``n``, and fewer training rows are the first of more.

        Args:
            n: Training rows.
            seed: Of what is drawn.

        Raises:
            ValueError: If there are not as many rows.
        """
        most = self.sizes[-1]
        if not 1 <= positive_int("split(n=...)", n) <= most:
            fail("split(n=...)", f"at most {most:,} for {self.name}", n)
        x, y = self.draw(self.test + most, np.random.RandomState(seed))
        train = slice(self.test, self.test + n)
        mean, std = x[train].mean(0), x[train].std(0)
        x = torch.from_numpy((x - mean) / np.where(std > 0, std, 1.0)).float()
        labels = torch.from_numpy(y.astype(np.int64))
        return Dataset(
            self.name, x[train], labels[train], x[: self.test], labels[: self.test], (1, 1, x.shape[1]),
            tuple(map(str, range(self.classes))),
        )  # fmt: skip


ON_IMAGES: Any = dict(sizes=(180, 360, 720, 1442), test=355, classes=10)

TASKS = {
    task.name: task
    for task in (
        Task("signs", "product of 4 of 20 signs", product_of_signs, (250, 500, 1000, 2000, 4000)),
        Task("multi-index", "3 of 30 directions: z₁ + 2 z₂z₃ > 0", multi_index, (250, 500, 1000, 2000)),
        Task("staircase", "staircase of 5 of 30 signs", staircase, (125, 250, 500, 1000)),
        Task("noisy-digits", "digits, 64 pixels beside 448 columns of noise", noisy_digits, **ON_IMAGES),
        Task("digits", "digits, the 64 pixels alone", digits, **ON_IMAGES),
    )
}
