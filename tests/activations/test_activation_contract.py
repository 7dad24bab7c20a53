"""Our activations keep what the library asks of any: the tests are those that users run on theirs."""

import pytest
import torch

from cases import ACTIVATIONS, SMOOTH
from mupi import NormalizedPolynomial, PiecewiseLinear
from mupi.activations.hermite_polynomials import hermite_polynomials
from mupi.activations.scaled import Scaled
from mupi.testing import ActivationContract

CASES = ACTIVATIONS | {
    "scaled": Scaled(ACTIVATIONS["gelu"], inner=0.5, outer=3.0),
    "piecewise": PiecewiseLinear(((0.0, 0.7),), 0.3, -0.2),
}


class TestOurs(ActivationContract):
    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request):
        self.φ, self.smooth = CASES[request.param], request.param in SMOOTH

    def activation(self):
        return self.φ


class TestNormalizedPolynomial(ActivationContract):
    coordinatewise = False

    def activation(self):
        return NormalizedPolynomial((0.3, 0.5, -1.0, 0.2))

    def function(self, x, scale):
        if scale == 0:
            return torch.zeros_like(x)
        return scale * sum(a * h for a, h in zip((0.3, 0.5, -1.0, 0.2), hermite_polynomials(3, x / scale), strict=True))
