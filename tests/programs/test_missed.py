"""What a basis lacks of vectors is what it says, and less than the tolerance."""

import pytest
import torch

from cases import randn, seeded
from mupi.programs.family import Family
from mupi.programs.spaces import Samples


@pytest.mark.parametrize("transposed", [False, True])
def test_missed_is_the_share_outside_the_basis(transposed):
    family = Family(Samples(400, seeded(), torch.float64, tolerance=0.3), 1.0)
    first, second = randn(400, 3), randn(400, 2, seed=1)
    # Vectors of several sizes, near each other, so that some directions are left out and some are not.
    x = torch.cat([first, first + 0.2 * randn(400, 3, seed=2), 1e-3 * second], 1)
    family.coordinates(x, transposed)
    side, _ = family.sides(transposed)
    basis = torch.cat(side.basis, 1)
    rest = x - basis @ (basis.T @ x) / 400
    share = (rest.square().sum(0) / x.square().sum(0)).mean().item()
    assert side.missed == pytest.approx(share, rel=1e-6) and 1e-3 < share < 0.3**2
    family.coordinates(first @ randn(3, 2, seed=3) + second, transposed)
    assert side.missed < 0.3**2
    family.coordinates(basis, transposed)
    assert side.missed == pytest.approx(0.0, abs=1e-12)
