"""What a run records of each epoch: one line of its ``metrics.jsonl``."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from mupi.layers import LayerError


@dataclass(frozen=True)
class EpochMetrics:
    """Measurements of one epoch.

    Attributes:
        epoch: Counted from 1.
        train_loss: Mean over the epoch's images, each at the step that it was trained on.
        train_accuracy: The same of the share of right answers, 0 to 1.
        test_loss: Mean over the test images after the epoch.
        test_accuracy: The same.
        seconds: Of training, without evaluation and saving.
        stored_mb: MB (10⁶ bytes) of the network's parameters, buffers and atoms.
        peak_mb: MB by which the process's memory, at its peak in training and evaluation, was above that before the
            network was built (on an accelerator: the allocated memory).
        atoms: How many atoms are stored.
        parameters: How many numbers are trained, apart from atoms.
        layer_errors: Errors of the feature map against the exact kernel, for features that have them.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    stored_mb: float
    peak_mb: float
    atoms: int
    parameters: int = 0
    layer_errors: tuple[LayerError, ...] = ()

    def to_json(self) -> str:
        """One line of JSON, without its end."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "EpochMetrics":
        """The inverse of `to_json`."""
        fields = json.loads(line)
        errors = tuple(LayerError(**_with_tuples(error)) for error in fields.pop("layer_errors"))
        return cls(**fields, layer_errors=errors)


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of JSON, which has no tuples, with tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
