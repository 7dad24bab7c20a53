"""What each step of a limit's training began with, and what is said of all of them: means and standard errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class FitRecord:
    """What a step of `MuLimit.fit` began with; ``losses`` are of the mean over replicates, and of each."""

    outputs: Float[Tensor, "replicates batch *axes"]
    kernel: Float[Tensor, "replicates columns columns"]
    tests: Float[Tensor, "replicates tests *axes"] | None
    losses: Float[Tensor, " _"]


def summarized(records: Sequence[FitRecord]) -> dict[str, Tensor]:
    """By the names of `MuLimit`'s attributes, what they are after these steps; without tests no ``test_outputs``."""
    f = torch.stack([record.outputs for record in records])
    root = f.shape[1] ** 0.5
    losses = torch.stack([record.losses for record in records])
    found = {
        "outputs": f.mean(1),
        "output_errors": f.std(1) / root,
        "losses": losses[:, 0],
        "loss_errors": losses[:, 1:].std(1) / root,
        "feature_kernels": torch.stack([record.kernel.mean(0) for record in records]),
    }
    some = next((r.tests for r in records if r.tests is not None), None)
    if some is not None:
        without = torch.full_like(some[0], torch.nan)
        found["test_outputs"] = torch.stack([without if r.tests is None else r.tests.mean(0) for r in records])
    return found
