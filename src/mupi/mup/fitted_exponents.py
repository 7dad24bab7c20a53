"""Exponents that networks of several widths have: of their initial values, and of their rates."""

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

import numpy as np

from mupi.mup.measured import Run
from mupi.mup.sizes import NONE, ZERO, Exponent


def initial_exponents(
    widths: Sequence[int], runs: Sequence[Sequence[Run]], vectors: Collection[str] = ()
) -> dict[str, Exponent]:
    """For each parameter the exponent of its initial entries, a multiple of ½ where that is near enough.

    Of vectors, which have few entries, it is 0 where that is near enough.
    """
    found: dict[str, Exponent] = {}
    for name, count in runs[0][0].counts.items():
        sizes = np.sqrt([np.mean([run.entries[name] ** 2 for run in at]) for at in runs])
        if not sizes.all():
            found[name] = ZERO
            continue
        slope = float(np.polyfit(np.log(widths), np.log(sizes), 1)[0])
        # Root mean squares of few entries vary.
        noise = (2 * count * len(runs[0])) ** -0.5 / float(np.std(np.log(widths)) * len(widths) ** 0.5)
        half = Fraction(round(2 * slope), 2)
        if name in vectors and abs(slope) < 2 * noise:
            half = NONE
        near = abs(slope - float(half)) < max(0.12, 3 * noise)
        found[name] = half if near else Fraction(round(12 * slope), 12)
    return found


def rate_exponents(widths: Sequence[int], runs: Sequence[Sequence[Run]]) -> Mapping[str, Exponent]:
    """For each parameter the exponent of its rate."""
    found: dict[str, Exponent] = {}
    for name in runs[0][0].counts:
        rates = [at[0].rates[name] for at in runs]
        if not all(rates):
            found[name] = ZERO
            continue
        slope = float(np.polyfit(np.log(widths), np.log(rates), 1)[0])
        found[name] = Fraction(round(24 * slope), 24)
    return found
