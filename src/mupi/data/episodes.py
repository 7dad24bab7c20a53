"""Episodes: few-shot classification tasks drawn from a set of classes, many at a time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mupi.checks import fail, positive_int
from mupi.data.omniglot import Characters


@dataclass(frozen=True, eq=False)
class Episodes:
    """Tasks: learn the classes of the support set, and be tested on the query set.

    Labels are the same in each task, 0 … ways − 1, each ``shots`` (or ``queries``) times in a row; which class has
    which label is random.

    Args:
        support: Images to adapt to, in [0, 1].
        query: Images to test on, other drawings of the same classes.
        support_y: Labels of ``support``.
        query_y: Labels of ``query``.
    """

    support: Float[Tensor, "tasks support d"]
    query: Float[Tensor, "tasks query d"]
    support_y: Int64[Tensor, " support"]
    query_y: Int64[Tensor, " query"]

    @property
    def ways(self) -> int:
        """Number of classes of a task."""
        return int(self.support_y[-1]) + 1

    def __len__(self) -> int:
        return len(self.support)


@dataclass(frozen=True)
class EpisodeSampler:
    """Draws tasks of distinct classes, and distinct drawings of each, uniformly.

    Args:
        characters: The classes to draw from.
        ways: Classes of a task.
        shots: Drawings of each class in the support set.
        queries: Drawings of each class in the query set.

    Raises:
        ValueError: If a number is below 1, or there are not so many classes or drawings.
    """

    characters: Characters
    ways: int = 5
    shots: int = 1
    queries: int = 1

    def __post_init__(self):
        for name in ("ways", "shots", "queries"):
            positive_int(name, getattr(self, name))
        classes, drawings, _ = self.characters.images.shape
        if self.ways > classes:
            fail("ways", f"at most {classes}, the number of classes", self.ways)
        if self.shots + self.queries > drawings:
            fail("shots + queries", f"at most {drawings}, the number of drawings of a class", self.shots + self.queries)

    def draw(self, tasks: int, generator: torch.Generator) -> Episodes:
        """So many tasks, as float32."""
        classes, drawings, _ = self.characters.images.shape
        chosen = _distinct(tasks, classes, self.ways, generator)
        shown = self.shots + self.queries
        drawing = _distinct(tasks * self.ways, drawings, shown, generator).view(tasks, self.ways, shown)
        images = self.characters.images[chosen[:, :, None], drawing].float() / 255
        support, query = images.split([self.shots, self.queries], 2)
        labels = torch.arange(self.ways)
        return Episodes(
            support.flatten(1, 2),
            query.flatten(1, 2),
            labels.repeat_interleave(self.shots),
            labels.repeat_interleave(self.queries),
        )


def _distinct(rows: int, n: int, k: int, generator: torch.Generator) -> Int64[Tensor, "rows k"]:
    """In each row k distinct integers below n, all ordered choices equally likely.

    Floyd's order of draws: the i-th is uniform below n − i, then counts past those already taken.
    """
    taken = torch.empty(rows, 0, dtype=torch.long)
    for i in range(k):
        draw = torch.randint(n - i, (rows, 1), generator=generator)
        for smaller in taken.sort(1).values.unbind(1):
            draw += smaller[:, None] <= draw
        taken = torch.cat([taken, draw], 1)
    return taken
