"""What a way of using features on a data set comes to."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Score:
    """One result.

    Attributes:
        value: The ridge, penalty or learning rate that was chosen.
        validation: Validation accuracy, 0 to 1, of each that could be fitted with.
        answers: Which test images were classified right, packed by `pack`.
        images: How many test images.
        alignment: Centred alignment of the kernel with that of the labels, on test images; of kernels only.
        residual: Of a kernel regression, see `mupi.KernelRegression`.
        seconds: It took, with the choice.
        peak_mb: MB by which memory at its peak was above that before.
    """

    value: float
    validation: dict[float, float]
    answers: str
    images: int
    alignment: float | None = None
    residual: float | None = None
    seconds: float
    peak_mb: float

    @property
    def right(self) -> np.ndarray:
        """Which test images were classified right, 0 or 1 each."""
        return np.unpackbits(np.frombuffer(bytes.fromhex(self.answers), dtype=np.uint8))[: self.images]

    @property
    def accuracy(self) -> float:
        """On the test images, 0 to 1."""
        return float(self.right.mean())

    @property
    def validation_accuracy(self) -> float:
        """Of the chosen value."""
        return self.validation[self.value]

    def to_json(self) -> dict[str, Any]:
        """Everything, and the accuracy for readers."""
        return {"accuracy": self.accuracy} | asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Score":
        """The inverse of `to_json`, after JSON has made strings of the numbers that are keys.

        Raises:
            ValueError: If the accuracy that is written is not that of the answers.
        """
        accuracy = fields.get("accuracy")
        fields = {name: value for name, value in fields.items() if name != "accuracy"}
        validation = {float(value): accuracy for value, accuracy in fields["validation"].items()}
        score = cls(**{**fields, "validation": validation})
        if accuracy is not None and (accuracy != score.accuracy or score.value not in validation):
            raise ValueError("a result that contradicts itself")
        return score


def pack(right: Bool[Tensor, " n"]) -> str:
    """Eight answers to two hexadecimal digits, so that thousands fit on a line."""
    return np.packbits(right.to(torch.uint8).cpu().numpy()).tobytes().hex()
