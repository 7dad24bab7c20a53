"""Choosing a number, a ridge say, by the accuracy on training images that were held out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from mupi.checks import fail
from mupi.data import Dataset
from mupi.kernels import NotPositiveDefiniteError


@runtime_checkable
class Predictor(Protocol):
    """What has been fitted."""

    def predict(self, X: Tensor) -> Tensor:
        """One output for each class."""
        ...


Fitted = TypeVar("Fitted", bound=Predictor)


@dataclass(frozen=True, eq=False)
class Choice(Generic[Fitted]):
    """The number that was chosen.

    Attributes:
        value: The one with the highest validation accuracy, of those that all training images can be fitted with.
        validation: Validation accuracy, 0 to 1, by number; those that nothing could be fitted with are left out.
        predictor: Fitted with it to all training images.
    """

    value: float
    validation: dict[float, float]
    predictor: Fitted


def choose(
    values: Sequence[float], fit: Callable[[float, Dataset], Fitted], data: Dataset, held_out: Dataset
) -> Choice[Fitted]:
    """Fit with each number to some of the training images, validate on others, and fit all with the best.

    A number with which training diverges, or a matrix is not positive definite, is passed over.

    Args:
        values: The values that are tried.
        fit: From a number and a data set, of which it sees the training images, to what predicts.
        data: All training images.
        held_out: Some of them as training images, others as test images.

    Raises:
        FloatingPointError: If training diverged with the last number, and none could be fitted with.
        NotPositiveDefiniteError: The same of a matrix.
    """
    validation: dict[float, float] = {}
    failure: Exception | None = None
    for value in values:
        try:
            predictor = fit(value, held_out)
        except (FloatingPointError, NotPositiveDefiniteError) as error:
            # The traceback would keep what fit has computed, at 50,000 images a matrix of 5 GB.
            failure = error.with_traceback(None)
        else:
            validation[value] = float(right(predictor, held_out.test_x, held_out.test_y).double().mean())
    for value in sorted(validation, key=lambda value: -validation[value]):
        try:
            return Choice(value, validation, fit(value, data))
        except (FloatingPointError, NotPositiveDefiniteError) as error:
            failure = error.with_traceback(None)
    if failure is None:
        fail("values", "at least one number", "none")
    raise failure


def right(predictor: Predictor, x: Float[Tensor, "n d"], y: Int64[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which rows have their largest output at their class."""
    with torch.no_grad():
        return predictor.predict(x).argmax(1) == y
