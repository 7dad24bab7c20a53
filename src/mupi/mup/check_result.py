"""`Check`: measured exponents beside predicted ones, a verdict of three, and what is wrong in words."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from rich.table import Table

from mupi.mup.causes import Cause
from mupi.mup.prediction import Prediction
from mupi.mup.sizes import ZERO, Exponent
from mupi.statistics import PowerLaw, number, trend


class CheckVerdict(StrEnum):
    """What a network does as its width grows."""

    LEARNS = "learns features at every layer"
    """Nothing grows, and every layer moves."""
    LAZY = "lazy layers"
    """Nothing grows, but some layer moves less and less, or the output does."""
    UNSTABLE = "unstable"
    """Something grows with width."""


@dataclass(frozen=True)
class Compared:
    """A measured exponent beside the predicted one.

    Attributes:
        law: What was measured.
        low: The least that is predicted over the steps: what moves from the second step on only has at finite width the
            exponent of its first step, that of later ones, or one between.
        high: The largest; both None where nothing is predicted.
    """

    law: PowerLaw
    low: Exponent | None
    high: Exponent | None

    def agrees(self, tolerance: float) -> bool:
        """Whether the measured exponent, with its interval, may be the predicted one; yes where nothing is predicted.

        What starts at zero, by chance of its initial values, agrees with every prediction of its start.
        """
        if self.low is None or self.high is None:
            return True
        if self.high == ZERO or self.law.zero:
            return self.law.zero and (self.low == ZERO or not self.law.quantity.startswith("|Δ"))
        if math.isnan(self.law.slope):
            return False
        return bool(self.least <= self.high + tolerance and self.most >= self.low - tolerance)

    @property
    def least(self) -> float:
        """The lower end of the measured exponent's interval."""
        return self.law.slope - self._margin

    @property
    def most(self) -> float:
        """The upper end."""
        return self.law.slope + self._margin

    @property
    def _margin(self) -> float:
        """Of two networks nothing is known."""
        return math.inf if math.isnan(self.law.half_width) else self.law.half_width

    @property
    def predicted(self) -> str:
        """In print."""
        if self.low is None or self.high is None:
            return ""
        return shown(self.high) if self.low == self.high else f"{shown(self.low)} … {shown(self.high)}"


def shown(exponent: Exponent) -> str:
    """In print."""
    return "zero" if exponent == ZERO else f"{float(exponent):+.2f}"


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        compared: Each quantity: of layers |h| and |Δh|, of attention's logits |q·k| and |Δq·k|, of the output |f| and
            |Δf|, and |Δw| of parameters whose steps do not know the gradient's size.
        prediction: The predicted exponents; None where there is no graph.
        reason: Why there is none.
        causes: What is wrong, in words.
        notes: What is worth knowing, and no fault.
        tolerance: How far a measured exponent may be from the predicted one.
    """

    compared: tuple[Compared, ...]
    prediction: Prediction | None
    reason: str
    causes: tuple[Cause, ...]
    notes: tuple[str, ...]
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every layer learns, and every measured exponent is the predicted one.

        Without a prediction it does not pass, whatever the verdict: what grows as n^½ with a small constant is not seen
        at the widths of a check.
        """
        known = self.prediction is not None and self.verdict is CheckVerdict.LEARNS
        return known and not self.differing and not self.causes

    @property
    def differing(self) -> tuple[Compared, ...]:
        """What is measured otherwise than predicted."""
        return tuple(c for c in self.compared if not c.agrees(self.tolerance))

    @property
    def growing(self) -> tuple[Compared, ...]:
        """Values and changes that are measured to grow, or are no longer finite, though nothing predicts that."""
        found = []
        for c in self._values:
            most = self.tolerance + (max(float(c.high), 0.0) if c.high is not None and c.high != ZERO else 0.0)
            if not np.isfinite(c.law.sizes).all() or c.least > most:
                found.append(c)
        return tuple(found)

    @property
    def vanishing(self) -> tuple[Compared, ...]:
        """Changes that are measured to vanish, though nothing predicts that."""
        found = []
        for c in self._values:
            if not c.law.quantity.startswith("|Δ"):
                continue
            least = min(float(c.low), 0.0) if c.low is not None else 0.0
            if (c.law.zero and least > -math.inf) or c.most < least - self.tolerance:
                found.append(c)
        return tuple(found)

    @property
    def _values(self) -> tuple[Compared, ...]:
        return tuple(c for c in self.compared if "w" not in c.law.quantity)

    @property
    def verdict(self) -> CheckVerdict:
        """Of three, by the prediction and by what is measured: "nothing grows" is none."""
        p = self.prediction
        if self.growing or (p is not None and p.growing):
            return CheckVerdict.UNSTABLE
        if self.vanishing or (p is not None and p.lazy):
            return CheckVerdict.LAZY
        return CheckVerdict.LEARNS

    def explain(self) -> str:
        """The verdict, then what is wrong, a line each."""
        p, verdict = self.prediction, self.verdict
        named: list[str] = []
        if verdict is CheckVerdict.UNSTABLE:
            named = [f"{law.quantity} of {law.part} (predicted n^{float(max(law.exponents)):+.2g})"
                     for law in (p.growing if p is not None else ())][:4]  # fmt: skip
            named += [f"{c.law.quantity} of {c.law.part} ({_measured(c, self.tolerance)})" for c in self.growing]
        elif verdict is CheckVerdict.LAZY:
            named = [
                f"{e.node} (its own update moves it by n^{float(e.own):+.2g})"
                for e in (p.lazy if p is not None else ())
            ]
            named += [f"{c.law.quantity} of {c.law.part} ({_measured(c, self.tolerance)})" for c in self.vanishing]
        lines = [f"{verdict}{': ' if named else ''}{', '.join(named)}"]
        lines += [f"✗ {cause}" for cause in self.causes]
        if p is None:
            lines.append(
                f"no prediction: {self.reason}; the verdict is by measured exponents of modules' outputs alone"
            )
        elif self.differing:
            lines += [f"✗ {c.law.quantity} of {c.law.part}: predicted {c.predicted}, {_measured(c, self.tolerance)}"
                      for c in self.differing]  # fmt: skip
        return "\n".join([*lines, *(f"· {note}" for note in self.notes)])

    def table(self, title: str = "Check of μP") -> Table:
        """One row a quantity: predicted and measured exponent of n, and whether they agree; below, `explain`."""
        table = Table(
            "part", "quantity", "predicted", "measured", "", title=title, caption=self.explain(), caption_justify="left"
        )
        for c in self.compared:
            law, words = c.law, trend(c.law, self.tolerance)
            mark = "" if c.low is None else "[green]✓[/] " if c.agrees(self.tolerance) else "[red]✗[/] "
            table.add_row(
                law.part, law.quantity, c.predicted, f"{law.slope:+.2f} ± {law.half_width:.2f}", f"{mark}{words}"
            )
        return table

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            "passed": self.passed,
            "verdict": self.verdict.value,
            "causes": [{"kind": cause.kind, "part": cause.part, "text": str(cause)} for cause in self.causes],
            "notes": list(self.notes),
            "no_prediction": self.reason,
            "tolerance": self.tolerance,
            "laws": [
                {
                    **c.law.to_json(),
                    "low": None if c.low is None else number(float(c.low)),
                    "high": None if c.high is None else number(float(c.high)),
                }
                for c in self.compared
            ],  # fmt: skip
        }

    def figure(self) -> Any:
        """Sizes at the start above, changes below, over width, with predicted slopes."""
        from mupi.figures.coordinate_checks import plot_coordinate_checks  # here, as matplotlib takes long

        return plot_coordinate_checks({self.verdict.value: [c.law for c in self._values]})


def _measured(c: Compared, tolerance: float) -> str:
    return f"measured n^{c.law.slope:+.2f}" if math.isfinite(c.law.slope) else trend(c.law, tolerance)
