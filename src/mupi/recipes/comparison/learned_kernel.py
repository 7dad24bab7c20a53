"""Kernel regression on what a trained network has learned: the kernel of its last hidden layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from rich.progress import Progress
from torch import Tensor

from mupi.checks import fail
from mupi.data import Dataset
from mupi.kernels import KernelRegression, centered_alignment, centered_one_hot
from mupi.nets import Network, evaluating
from mupi.recipes.comparison.choice import choose, right

RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""λ in units of the kernel's mean diagonal; Yang, Santacroce & Hu (2022) sweep 1e-6 to 1e-3."""

ALIGNMENT_IMAGES = 2000
BATCH = 500


@dataclass(frozen=True, kw_only=True)
class LearnedKernelScore:
    """How good a network's feature kernel is.

    Attributes:
        ridge: The one with the highest validation accuracy.
        validation: Validation accuracy, 0 to 1, by ridge.
        test_accuracy: Of the regression on all training images with that ridge.
        residual: Of that regression, see `KernelRegression`.
        alignment: Centred alignment of the kernel with that of the labels, on test images.
    """

    ridge: float
    validation: dict[float, float]
    test_accuracy: float
    residual: float
    alignment: float


def score_learned_kernel(
    net: Network,
    data: Dataset,
    *,
    generator: torch.Generator,
    ridges: Sequence[float] = RIDGES,
    fit_size: int = 10_000,
    validation_size: int = 5_000,
    progress: Progress | None = None,
) -> LearnedKernelScore:
    """Ridge regression with E φ(h)φ(h') of the last hidden layer.

    The ridge is the best of a sweep that fits on some of the training images and validates on others, so that no
    test image takes part; then all training images are fitted.

    Args:
        net: Whose features to take.
        data: What to classify.
        generator: Draws the images of the sweep.
        ridges: The ridges that are tried.
        fit_size: Training images that each fit of the sweep takes.
        validation_size: Training images that each is validated on.
        progress: A progress display to show the stages in.

    Raises:
        ValueError: If the data set has not as many training images, or there is no ridge, or memory does not
            suffice.
    """
    n = len(data.train_x)
    if not ridges:
        fail("ridges", "at least one number", "none")
    if fit_size + validation_size > n:
        fail(
            "fit_size + validation_size", f"at most {n}, the training images of {data.name}", fit_size + validation_size
        )
    kernel = net.readout.kernel
    data = data.with_inputs(*(last_features(net, x).flatten(1) for x in (data.train_x, data.test_x)))
    held_out = data.split_validation(validation_size, generator).take(fit_size, generator)

    def fit(ridge: float, part: Dataset) -> KernelRegression:
        return KernelRegression(kernel, ridge).fit(part.train_x, part.train_y, progress, classes=len(part.classes))

    chosen = choose(ridges, fit, data, held_out)
    few = data.test_x[:ALIGNMENT_IMAGES]
    return LearnedKernelScore(
        ridge=chosen.value,
        validation=chosen.validation,
        test_accuracy=float(right(chosen.predictor, data.test_x, data.test_y).double().mean()),
        residual=chosen.predictor.residual,
        alignment=label_alignment(kernel(few, few), data.test_y),
    )


def last_features(net: Network, x: Float[Tensor, "n d"]) -> Float[Tensor, "n *left k"]:
    """`Network.features` of each row, in batches and without training anything."""
    return net.readout.features(last_hidden(net, x))


@torch.no_grad()
def last_hidden(net: Network, x: Float[Tensor, "n d"]) -> Float[Tensor, "n *left k"]:
    """What the readout takes, of each row, in batches and without training anything."""
    with evaluating(net):
        return torch.cat([net.hidden(part)[-1] for part in x.split(BATCH)])


def label_alignment(kernel: Float[Tensor, "n n"], labels: Int64[Tensor, " _"]) -> float:
    """Centred alignment of a kernel on some first inputs with ⟨y, y'⟩ of their one-hot labels."""
    y = centered_one_hot(labels[: len(kernel)], int(labels.max()) + 1, kernel.dtype)
    return float(centered_alignment(kernel.detach(), y @ y.T))
