"""What a network learns: classes, or numbers in units of their spread."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Numbers:
    """Numbers y, of which a network learns (y − mean)/std.

    Args:
        mean: Of the targets of training rows.
        std: Their standard deviation.
    """

    mean: float
    std: float
