"""scikit-learn's own conditions for an estimator, all of them."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from mupi.estimators import NNGPClassifier, NNGPRegressor, NTKClassifier, NTKRegressor, PiClassifier, PiRegressor


@parametrize_with_checks([NTKClassifier(depth=1), NTKRegressor(depth=1)])
def test_scikit_learn_accepts_kernels_of_one_depth(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([
    NTKClassifier(), NTKRegressor(), NNGPClassifier(), NNGPRegressor(),
    PiClassifier(rank=8, steps=60), PiRegressor(rank=8, steps=60),
])  # fmt: skip
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)
