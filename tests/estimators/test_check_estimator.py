"""scikit-learn's own conditions for an estimator, all of them."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from mupi.estimators import NNGPClassifier, NNGPRegressor, NTKClassifier, NTKRegressor, PiClassifier, PiRegressor


@parametrize_with_checks(
    [
        NTKClassifier(),
        NTKRegressor(),
        NNGPClassifier(),
        NNGPRegressor(),
        PiClassifier(rank=8, steps=60),
        PiRegressor(rank=8, steps=60),
    ]
)
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)
