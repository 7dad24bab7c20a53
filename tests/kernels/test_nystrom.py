"""Nyström features, their landmarks, the regression on features in one pass, and how their error is measured."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import NNGP, NTK, FeatureRegression, ReLU
from mupi.kernels import KernelRegression, NystromFeatures, PivotedCholesky, UniformLandmarks, feature_error

KERNELS = {
    "ntk": NTK(2, ReLU(), 1.0, 0.3),
    "exp": lambda a, b: torch.exp(a @ b.T / a.shape[1]),
    "quadratic": lambda a, b: (1 + a @ b.T) ** 2,
}
CHOICES = [PivotedCholesky(), UniformLandmarks()]


@pytest.mark.parametrize("landmarks", CHOICES)
@pytest.mark.parametrize("name", KERNELS)
def test_with_all_rows_as_landmarks_the_kernel_is_exact(name, landmarks):
    kernel, X, Y, new = KERNELS[name], randn(40, 3), randn(40, 2, seed=1), randn(7, 3, seed=2)
    features = NystromFeatures(kernel, X, 40, landmarks)
    assert_close(features(X) @ features(X).T, kernel(X, X), rtol=1e-10)
    assert_close(features(new) @ features(X).T, kernel(new, X), rtol=1e-10)
    expected = KernelRegression(kernel, 1e-3).fit(X, Y).predict(new)
    assert_close(FeatureRegression(1e-3, features).fit(X, Y).predict(new), expected, rtol=1e-8)


@settings(max_examples=10, deadline=None)
@given(
    rank=st.integers(1, 45), name=st.sampled_from(["exp", "quadratic"]), pivoted=st.booleans(), seed=st.integers(0, 9)
)
def test_it_is_the_projection_on_its_landmarks(rank, name, pivoted, seed):
    kernel, X = KERNELS[name], randn(40, 3, seed=seed)
    features = NystromFeatures(kernel, X, rank, CHOICES[not pivoted], seeded(seed))
    Z = features.landmarks
    assert len(Z) <= min(rank, 40) and features.rank <= len(Z) == len(Z.unique(dim=0))
    psi = features(X)
    assert_close(psi @ features(Z).T, kernel(X, Z), rtol=1e-7)
    left = torch.linalg.eigvalsh(kernel(X, X) - psi @ psi.T)
    assert left[0] > -1e-9 * kernel(X, X).diagonal().max()


def test_a_kernel_of_finite_rank_has_that_many_landmarks_and_is_exact():
    X = randn(300, 3)
    features = NystromFeatures(KERNELS["quadratic"], X, 100)
    assert len(features.landmarks) == features.rank == 10
    assert_close(features(X) @ features(X).T, KERNELS["quadratic"](X, X), rtol=1e-10)
    same = NystromFeatures(KERNELS["quadratic"], X[:1].expand(20, 3), 5, UniformLandmarks())
    assert same.rank == 1


def test_pivots_stand_for_groups_that_a_uniform_draw_misses():
    X = torch.cat([0.1 * randn(980, 2), 8 + 0.1 * randn(20, 2, seed=1), -8 + 0.1 * randn(20, 2, seed=2)])

    def kernel(a, b):
        return torch.exp(-torch.cdist(a, b).square() / 2)

    left = {}
    for landmarks in CHOICES:
        draws = [NystromFeatures(kernel, X, 12, landmarks, seeded(seed))(X) for seed in range(5)]
        left[type(landmarks)] = sorted(float(1020 - psi.square().sum()) for psi in draws)[2]
    assert left[PivotedCholesky] < 0.1 * left[UniformLandmarks]


def test_a_seed_draws_the_same_landmarks_in_every_dtype():
    X = randn(200, 3)
    first, second = (NystromFeatures(KERNELS["exp"], x, 20, UniformLandmarks(), seeded(3)) for x in (X, X.float()))
    assert_equal(first.landmarks.float(), second.landmarks)
    assert second(X.float()).dtype == torch.float32
    assert_close(second(X.float()).double() @ second(X.float()).double().T, first(X) @ first(X).T, rtol=1e-3)
    assert_equal(NystromFeatures(KERNELS["exp"], X, 20)(X), NystromFeatures(KERNELS["exp"], X, 20)(X))


def test_batches_arrays_and_mapped_files_give_what_all_at_once_gives(tmp_path):
    X, Y, new = (
        randn(10_000, 3, dtype=torch.float32),
        randn(10_000, 2, seed=1, dtype=torch.float32),
        randn(5, 3).float(),
    )
    features = NystromFeatures(KERNELS["exp"], X, 15)
    whole = FeatureRegression(1e-3, features).fit(X, Y).predict(new)
    np.save(tmp_path / "x.npy", X.numpy())
    for mode in ("r", "c"):
        mapped = np.load(tmp_path / "x.npy", mmap_mode=mode)
        assert_equal(NystromFeatures(KERNELS["exp"], mapped, 15).landmarks, features.landmarks)
        assert_equal(FeatureRegression(1e-3, features).fit(mapped, Y).predict(new), whole)
    halves = ((part, target.numpy()) for part, target in zip(mapped.reshape(2, -1, 3), Y.split(5000), strict=True))
    assert_close(FeatureRegression(1e-3, features).fit_batches(halves).predict(new), whole, rtol=1e-4)
    labels = torch.arange(10_000) % 3
    by_batch = FeatureRegression(1e-3, features).fit_batches(
        [(X[:4000], labels[:4000]), (X[4000:], labels[4000:])], classes=3
    )
    assert_close(by_batch.predict(new), FeatureRegression(1e-3, features).fit(X, labels).predict(new), rtol=1e-4)
    assert_equal(FeatureRegression(1e-3, features).fit(X, Y).predict(new), whole)


def test_features_given_as_a_function_are_features_given():
    X, Y = randn(50, 3), randn(50, 2, seed=1)
    mapped = FeatureRegression(0.1, lambda x: torch.cat([x, x.square()], 1)).fit(X, Y)
    assert_equal(mapped.predict(X), FeatureRegression(0.1).fit(torch.cat([X, X.square()], 1), Y).predict(torch.cat(
        [X, X.square()], 1)))  # fmt: skip


def test_the_error_is_measured():
    kernel, X = NNGP(1, ReLU()), randn(200, 4)
    Y = X[:, 0].abs()
    exact = feature_error(NystromFeatures(kernel, X, 200), kernel, X, Y, rows=100, ridge=1e-2)
    assert exact.kernel < 1e-10 and exact.predictions is not None and exact.predictions < 1e-7 and exact.rows == 100
    # Features that are 1.1 times too long are 21 % off, and their predictions at the same relative ridge not at all.
    whole = NystromFeatures(kernel, X, 200)
    longer = feature_error(lambda x: 1.1 * whole(x), kernel, X, Y, rows=100, ridge=1e-2)
    assert longer.kernel == pytest.approx(0.21, rel=1e-8)
    assert longer.predictions is not None and longer.predictions < 1e-7
    coarse = [feature_error(NystromFeatures(kernel, X, rank), kernel, X, Y, rows=100) for rank in (10, 30, 90)]
    assert all(
        a.kernel > 2 * b.kernel and a.predictions > b.predictions for a, b in zip(coarse, coarse[1:], strict=False)
    )
    assert feature_error(whole, kernel, X, rows=10**6).predictions is None
    assert feature_error(whole, kernel, X, (Y > 1).long(), rows=20).rows == 20


BATCHES = r"`FeatureRegression.fit_batches\(batches\)` must be "
FEATURES = r"`FeatureRegression\(features=...\)"
REFUSED = {
    "NystromFeatures(inner, X, 0)": r"`NystromFeatures\(rank=...\)` must be an integer ≥ 1",
    "NystromFeatures(inner, X, 2, 'uniform')": r"`NystromFeatures\(landmarks=...\)` must be PivotedCholesky",
    "NystromFeatures(inner, X[:0], 2)": r"`NystromFeatures\(X\)` must be of at least one row",
    "NystromFeatures(inner, X * torch.nan, 2)": r"`NystromFeatures\(X\)` must be finite",
    "NystromFeatures(inner, 0 * X, 2)": r"`NystromFeatures\(kernel=...\)` must be positive definite",
    "NystromFeatures(lambda a, b: a @ (b + 1).T + 5, X, 9)": r"`NystromFeatures\(kernel=...\)` must be symmetric",
    "NystromFeatures(lambda a, b: 1 - torch.cdist(a, b), X, 9, UniformLandmarks())":
        r"`NystromFeatures\(kernel=...\)` must be positive semi-definite",
    "NystromFeatures(inner, X, 2)(X[:, :2])": r"`NystromFeatures\(X\)` must be of shape \(m, 3\)",
    "NystromFeatures(inner, X, 2)(X.float())": r"`NystromFeatures\(X\)` must be of the dtype",
    "FeatureRegression(0.1, 'relu')": FEATURES + "` must be a function of inputs",
    "FeatureRegression(0.1, lambda x: x.sum(1)).fit(X, Y)": FEATURES + "` must be a function to floating features",
    "FeatureRegression(0.1, lambda x: x / 0).fit(X, Y)": FEATURES + r"\(X\)` must be finite",
    "FeatureRegression(0.1).fit_batches([])": BATCHES + "at least one batch",
    "FeatureRegression(0.1).fit_batches([X])": BATCHES + "pairs",
    "FeatureRegression(0.1).fit_batches([(X, Y), (X[:, :2], Y)])": BATCHES + "alike",
    "FeatureRegression(0.1).fit_batches([(X, Y), (X.float(), Y)])": BATCHES + "alike",
    "FeatureRegression(0.1).fit_batches([(X, Y), (X, Y[:, :1])])": BATCHES + "alike",
    "FeatureRegression(0.1).fit_batches([(X, Y), (X[:9], Y)])": BATCHES + "of shape",
    "FeatureRegression(0.1).fit_batches([(X, labels)])": BATCHES + "of floats where",
    "feature_error(lambda x: x, inner, X[:1])": r"`feature_error\(X\)` must be of at least two rows",
    "feature_error(lambda x: x, inner, X, Y[:9])": r"`feature_error\(Y\)` must be of 20 rows",
}  # fmt: skip


@pytest.mark.parametrize("expression", REFUSED)
def test_bad_input_is_refused_in_one_line(unchecked, expression):
    names = {"X": randn(20, 3), "Y": randn(20, 2), "labels": torch.arange(20) % 2, "inner": lambda a, b: a @ b.T}
    with pytest.raises(ValueError) as error:
        eval(expression, globals() | names)
    assert re.match(REFUSED[expression], str(error.value)) and "\n" not in str(error.value)


def test_a_failed_fit_leaves_nothing_of_an_earlier_one():
    X, Y = randn(20, 3), randn(20)
    regression = FeatureRegression(0.1).fit(X, Y)
    with pytest.raises(ValueError):
        regression.fit_batches([(X, Y), (X * torch.nan, Y)])
    with pytest.raises(RuntimeError, match="needs a fitted regression"):
        regression.predict(X)


IN_BOUNDED_MEMORY = """
import re, sys
from pathlib import Path
import numpy as np, torch
from mupi.kernels import ConjugateGradients, FeatureRegression, KernelRegression, NystromFeatures
torch.set_num_threads(1)
def peak():  # of this program: what `resource` says is at least what the one that started it held
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
kernel = lambda a, b: torch.exp(a @ b.T / 20)
X = np.load(sys.argv[1], mmap_mode="r")
Y = torch.from_numpy(X[:, 0].copy())
FeatureRegression(1e-3, NystromFeatures(kernel, X[:2000], 20)).fit(X[:4096], Y[:4096])
before = peak()
FeatureRegression(1e-3, NystromFeatures(kernel, X, 20)).fit(X, Y)
print(peak() - before)
solver = ConjugateGradients(1e-2, 20, memory=0, tile=1024)
KernelRegression(kernel, 1.0, solver).fit(X[:6144], Y[:6144])
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no system that says what was held at most")
@pytest.mark.slow
def test_memory_is_bounded(tmp_path):
    # In kilobytes: all features of the 400,000 rows would be 64,000 in float64, beside 32,000 of the file's pages,
    # which count as long as there is room for them; and k(X, X) of the first 6,144 rows would be 151,000.
    rows = np.random.default_rng(0).standard_normal((400_000, 20), np.float32)
    np.save(tmp_path / "x.npy", rows)
    run = [sys.executable, "-c", IN_BOUNDED_MEMORY, str(tmp_path / "x.npy")]
    # What is freed goes back at once, where malloc can be asked to: else what it keeps counts, a little or all of it.
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(run, capture_output=True, text=True, check=True, env=env)
    features, both = map(int, done.stdout.split())
    assert features < 55_000 and both < 75_000, (features, both)
