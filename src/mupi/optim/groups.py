"""Parameter groups with a learning rate for each kind of layer."""

from collections.abc import Iterable, Sequence

from torch import Tensor

from mupi.checks import non_negative


def check_rates(**values: float) -> None:
    """Raise ``ValueError`` for a negative or non-finite argument of a ``parameter_groups``."""
    for name, value in values.items():
        non_negative(f"parameter_groups({name}=...)", value)


def rate_groups(kinds: Iterable[tuple[str, Sequence[Tensor], float]], lr: float, weight_decay: float) -> list[dict]:
    """A group for each (name, parameters, factor) that has parameters, with learning rate lr·factor.

    The decay of a group is divided by its factor, so that lr·weight_decay is the same for all.
    """
    return [
        dict(params=p, lr=lr * factor, weight_decay=weight_decay / factor if factor else 0.0, name=name)
        for name, p, factor in kinds
        if p
    ]
