"""Estimators in scikit-learn's conventions: infinitely wide networks for tables.

They need scikit-learn, which is in the extra ``cli``.
"""

from mupi.extras import require

require("sklearn", "mupi.estimators")

# ruff: noqa: E402
from mupi.estimators.kernel_estimators import NNGPClassifier, NNGPRegressor, NTKClassifier, NTKRegressor
from mupi.estimators.pi_estimators import PiClassifier, PiRegressor

__all__ = ["NNGPClassifier", "NNGPRegressor", "NTKClassifier", "NTKRegressor", "PiClassifier", "PiRegressor"]
