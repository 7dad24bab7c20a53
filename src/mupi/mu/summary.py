"""What a limit in training says of itself: a line of text, and tables for notebooks."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mupi.programs.notebook import html_table

SHOWN = 8
"""Of how many steps a table is, at most: the first and the last ones, and 1, 2, 4, … between."""


@dataclass(frozen=True)
class StepSummary:
    """What was known before a step: means over replicates, with standard errors.

    Attributes:
        loss: The loss.
        loss_error: Its standard error.
        size: Root mean square of the outputs.
        error: That of their standard errors.
    """

    loss: float
    loss_error: float
    size: float
    error: float


@dataclass(frozen=True)
class Summary:
    """A limit in training.

    Attributes:
        network: What it is of, how it is trained and computed.
        taken: How many steps were taken.
        steps: Those of `MuLimit.fit`.
        ranks: Of each hidden matrix, by its name, directions met forwards and backwards.
        missed: Likewise what these lack of the last vectors.
    """

    network: str
    taken: int
    steps: Sequence[StepSummary]
    ranks: dict[str, tuple[int, int]]
    missed: dict[str, tuple[float, float]]

    def __str__(self) -> str:
        return f"MuLimit({self.network}): {self.state}"

    @property
    def state(self) -> str:
        """Steps and losses."""
        count = f"{self.taken} step{'s' * (self.taken != 1)}" if self.taken else "not trained"
        if not self.steps:
            return count
        first, last = self.steps[0], self.steps[-1]
        return f"{count}, loss {first.loss:.3g} → {last.loss:.3g} ± {last.loss_error:.1g} before the last"

    @property
    def html(self) -> str:
        """The same, with a table of steps and one of hidden matrices."""
        parts = [f"<p><b>MuLimit</b>: {escape(self.network)}: {escape(self.state)}</p>"]
        if self.steps:
            last = len(self.steps) - 1
            shown = sorted({0, last, *(2**k for k in range(last.bit_length()) if 2**k < last)})
            rows = [(t, self.steps[t]) for t in [*shown[: SHOWN - 1], last][: len(shown)]]
            head = ["step", "loss", "±", "rms of f", "±"]
            cells = [[str(t), *(f"{x:.3g}" for x in vars(step).values())] for t, step in rows]
            parts.append(html_table(head, cells))
        if self.ranks:
            head = ["hidden matrix", "K forwards", "left out", "K backwards", "left out"]
            both = ((name, zip(self.ranks[name], self.missed[name], strict=True)) for name in self.ranks)
            cells = [
                [escape(name), *(cell for K, share in sides for cell in (str(K), f"{share:.1g}"))]
                for name, sides in both
            ]
            parts.append(html_table(head, cells))
        return "".join(parts)
