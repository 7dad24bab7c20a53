"""One rule for targets, whoever fits them: floats are numbers, integers are class labels that all occur."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assertions import assert_close
from cases import randn
from mupi import Identity, MuLimit
from mupi.kernels import FeatureRegression, KernelDynamics, KernelRegression, centered_one_hot


def inner(a, b):
    return a @ b.T


def by_regression(X, Y, **classes):
    return KernelRegression(inner, 0.1).fit(X, Y, **classes).predict(X)


def by_dynamics(X, Y, **classes):
    return KernelDynamics(inner).fit(X, Y, **classes).flow(X, 2.0)


def by_features(X, Y, **classes):
    return FeatureRegression(0.1).fit(X, Y, **classes).predict(X)


FITS = {"KernelRegression": by_regression, "KernelDynamics": by_dynamics, "FeatureRegression": by_features}
fits = pytest.mark.parametrize("name", FITS)


@fits
@settings(max_examples=15, deadline=None)
@given(labels=st.lists(st.integers(-1, 4), min_size=1, max_size=8), wider=st.integers(0, 2))
def test_integers_are_classes_if_all_occur_or_k_is_said(name, labels, wider):
    fit, Y, X, k = FITS[name], torch.tensor(labels), randn(len(labels), 3), max(labels) + 1
    if set(labels) == set(range(k)):
        assert_close(fit(X, Y), fit(X, centered_one_hot(Y, dtype=X.dtype)))
    else:
        with pytest.raises(
            ValueError, match=rf"`{name}.fit\(Y\)` must be floats, or class labels 0 … k−1 that all occ"
        ):
            fit(X, Y)
    if min(labels) >= 0:
        one_hot = torch.nn.functional.one_hot(Y, k + wider).to(X)
        assert_close(fit(X, Y, classes=k + wider), fit(X, one_hot - 1 / (k + wider)), scale=1.0)
    numbers = fit(X, Y.to(X))
    assert numbers.shape[:1] == (len(labels),) and (numbers.ndim == 1 or numbers.shape[1] == 1)


@fits
@pytest.mark.parametrize(
    ("Y", "classes", "message"),
    [
        (torch.tensor([0, 2, 2]), None, "got 2 different integers from 0 to 2; use Y.float() for numbers, or say c"),
        (torch.tensor([-1, 0, 1]), None, "got 3 different integers from -1 to 1; use Y.float() for numbers"),
        (torch.tensor([0, 1, 5]), 5, "must be between 0 and 4; got 0 to 5"),
        (torch.tensor([0, 1, 1]), 0, "`{name}.fit(classes=...)` must be an integer ≥ 1; got 0"),
        (torch.tensor([True, False, True]), None, "got torch.bool; use Y.long() for two classes, or Y.float() for"),
        (torch.ones(3, dtype=torch.complex64), None, "must be floats, or integer class labels; got torch.complex64"),
        (torch.eye(3).long(), None, "must be floats, or class labels of shape (3,); got torch.int64 of shape (3, 3)"),
        (torch.tensor([0.0, 1.0, 1.0]), 2, "must be integers where classes=... is given; got torch.float32; floats"),
        (torch.tensor([0, 1]), None, "must be of shape (3,) or (3, outputs), a row for each of X; got shape (2,)"),
        ([0, 1, 1], None, "must be a tensor or an array; got list"),
    ],
)  # fmt: skip
def test_other_targets_are_refused(name, Y, classes, message, unchecked):
    with pytest.raises(ValueError) as error:
        FITS[name](randn(3, 2), Y, classes=classes)
    assert message.format(name=name) in str(error.value) and "\n" not in str(error.value)


@fits
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint16, np.int32, np.int64])
def test_integers_of_numpy_are_labels_too(name, dtype, unchecked):
    X, Y = randn(4, 3), torch.tensor([0, 2, 1, 1])
    assert torch.equal(FITS[name](X.numpy(), Y.numpy().astype(dtype)), FITS[name](X, Y))


def test_ages_and_counts_are_not_taken_for_classes():
    from sklearn.datasets import load_diabetes

    X, Y = (torch.from_numpy(part) for part in load_diabetes(return_X_y=True))
    for fit in FITS.values():
        with pytest.raises(ValueError, match="got 214 different integers from 25 to 346; use Y.float.. for numbers"):
            fit(X, Y.long())
        assert fit(X, Y.long().double()).shape == (442,) or fit is by_features


def test_mu_limit_takes_them_by_the_same_rule():
    X, Y = randn(4, 3), torch.tensor([0, 2, 1, 1])

    def outputs(Y):
        generator = torch.Generator().manual_seed(0)
        return MuLimit(1, Identity(), samples=50, replicates=2, generator=generator).fit(X, Y, 3).outputs

    assert_close(outputs(Y), outputs(centered_one_hot(Y, dtype=X.dtype)))
    with pytest.raises(ValueError, match=r"`MuLimit.fit\(y\)` must be floats, or class labels 0 … k−1 that all"):
        outputs(torch.tensor([0, 2, 2, 2]))
