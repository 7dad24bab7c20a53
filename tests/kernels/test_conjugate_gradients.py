"""Conjugate gradients against the Cholesky factor: the same answers, whatever is kept, and no answer in silence."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.progress import Progress

from assertions import assert_close, assert_equal
from cases import randn
from mupi import NNGP, NTK, Erf, ReLU
from mupi.kernels import (
    ConjugateGradients,
    KernelRegression,
    NotConvergedError,
    NotPositiveDefiniteError,
    PivotedCholesky,
    UniformLandmarks,
    conjugate_gradients,
)

KERNELS = {
    "nngp": NNGP(2, ReLU()),
    "ntk": NTK(2, ReLU(), 1.0, 0.3),
    "erf": NTK(1, Erf(), 1.0, 0.5),
    "linear": lambda a, b: 1 + a @ b.T,
    "rbf": lambda a, b: torch.exp(-torch.cdist(a, b).square() / 4),
}
EXP = lambda a, b: torch.exp(a @ b.T / a.shape[1])  # noqa: E731
SMALL = ConjugateGradients(tolerance=1e-10, rank=5, tile=14)


def data(n=40, d=4, outputs=3, dtype=torch.float64, seed=0):
    """Inputs, targets, weights, new inputs."""
    X, Y = randn(n, d, seed=seed, dtype=dtype), randn(n, outputs, seed=seed + 1, dtype=dtype)
    weights = 0.2 + randn(n, seed=seed + 2).square()
    return X, Y, weights, randn(6, d, seed=seed + 3, dtype=dtype)


@settings(max_examples=6, deadline=None)
@given(
    name=st.sampled_from(sorted(KERNELS)),
    ridge=st.floats(1e-6, 10.0),
    rank=st.sampled_from([0, 1, 7, 40, 500]),
    landmarks=st.sampled_from([UniformLandmarks(), PivotedCholesky(), PivotedCholesky(candidates=11)]),
    tile=st.sampled_from([13, 20, 64]),
    memory=st.sampled_from([0, 1000, 2**20]),
    weighted=st.booleans(),
    seed=st.integers(0, 5),
)
@example("linear", 3e-5, 0, UniformLandmarks(), 13, 0, False, 0)
def test_answers_are_those_of_the_factor(name, ridge, rank, landmarks, tile, memory, weighted, seed):
    X, Y, weights, new = data(seed=seed)
    # Less than rounding leaves, which counts 1/λ-fold, cannot be asked for.
    tolerance = max(1e-11, 2e-15 / ridge)
    solver = ConjugateGradients(tolerance, rank, landmarks, memory, tile)
    extra = {"sample_weight": weights} if weighted else {}
    direct = KernelRegression(KERNELS[name], ridge).fit(X, Y, **extra)
    iterated = KernelRegression(KERNELS[name], ridge, solver).fit(X, Y, **extra)
    assert iterated.residual <= tolerance
    assert iterated.regularizer == pytest.approx(direct.regularizer, rel=1e-12)
    assert iterated.rounding == pytest.approx(direct.rounding, rel=1e-4)
    # A residual may count 1/λ-fold in α, of which a kernel's largest eigenvalues count n-fold.
    bound = tolerance * 40 / min(ridge, 1.0) * 10
    assert_close(iterated.predict(new), direct.predict(new), rtol=bound)


def test_the_preconditioner_and_what_is_kept_change_the_work_and_not_the_answer():
    X, Y, _, new = data(200, 3)
    answers, iterations = [], []
    for rank in (0, 20, 100, 200):
        r = KernelRegression(EXP, 1e-4, ConjugateGradients(1e-10, rank, tile=100)).fit(X, Y)
        answers.append(r.predict(new))
        iterations.append(r.iterations)
    for answer in answers[1:]:
        assert_close(answer, answers[0], rtol=1e-6)
    assert iterations == sorted(iterations, reverse=True) and iterations[-1] < 5 < 40 < iterations[0]
    kept = [
        KernelRegression(EXP, 1e-4, ConjugateGradients(1e-10, 20, memory=memory, tile=100)).fit(X, Y)
        for memory in (0, 100_000, 2**30)
    ]
    for r in kept[1:]:
        assert_equal(r.coefficients, kept[0].coefficients)


def test_what_is_not_kept_is_computed_in_each_iteration_and_what_is_kept_once():
    X, Y, *_ = data(40)
    calls = []

    def counted(a, b):
        calls.append(len(a) * len(b))
        return EXP(a, b)

    entries = {}
    for memory in (0, 40 * 54 // 2 * 8):
        calls.clear()
        r = KernelRegression(counted, 1e-2, ConjugateGradients(1e-8, 0, memory=memory, tile=14)).fit(X, Y)
        # Beside k(x, x), of which a kernel without `diagonal` computes 64 at once.
        entries[memory] = sum(calls) - 40**2, r.iterations
    triangle = 3 * 14**2 + 2 * 12 * 14 + 12**2
    assert entries[0][0] == triangle * (entries[0][1] + 1)
    assert entries[40 * 54 // 2 * 8][0] == triangle


def test_variances_and_covariances_are_those_of_the_factor():
    for dtype, ridge in ((torch.float64, 1e-4), (torch.float64, 0.3), (torch.float32, 1e-2)):
        X, Y, weights, new = data(dtype=dtype)
        new = torch.cat([new, X[:2]])
        direct = KernelRegression(EXP, ridge).fit(X, Y, sample_weight=weights)
        iterated = KernelRegression(EXP, ridge, ConjugateGradients(rank=5, tile=14))
        iterated.fit(X, Y, sample_weight=weights)
        for (mean, std), (mean_2, std_2) in ((r.predict(new, return_std=True) for r in (direct, iterated)),):
            assert_close(mean_2, mean, rtol=1e-3)
            assert ((std_2 - std).abs() <= 0.006 * std).all()
        _, expected = direct.predict(new, return_cov=True)
        _, covariance = iterated.predict(new, return_cov=True)
        scale = expected.diagonal().sqrt()
        assert ((covariance - expected).abs() <= 0.012 * torch.outer(scale, scale)).all()
        assert iterated.sample(new, 3).shape == (3, 8, 3)


def test_variances_are_computed_in_groups_of_columns(monkeypatch):
    X, Y, _, new = data()
    r = KernelRegression(EXP, 1e-2, SMALL).fit(X, Y)
    whole = r.predict(new, return_std=True)[1]
    monkeypatch.setattr("mupi.kernels.iterated.COLUMN_ENTRIES", 80)
    assert_close(r.predict(new, return_std=True)[1], whole, rtol=1e-6)


def test_what_wants_a_factor_is_refused_in_one_line():
    X, Y, *_ = data()
    r = KernelRegression(EXP, 1e-2, SMALL).fit(X, Y)
    for ask in (r.leave_one_out, r.log_marginal_likelihood):
        with pytest.raises(ValueError, match=r"^`KernelRegression\(solver=...\)` must be Cholesky\(\) for [^\n]*$"):
            ask()


def test_too_few_iterations_are_said():
    X, Y, *_ = data()
    with pytest.raises(NotConvergedError) as error:
        KernelRegression(EXP, 1e-4, ConjugateGradients(1e-8, 0, iterations=3)).fit(X, Y)
    assert re.fullmatch(
        r"`ConjugateGradients\(iterations=...\)` must be enough for a residual of 1e-08 ‖Y‖; got 3, at which [\d.]+ of "
        r"‖Y‖ remains; use a larger ridge or tolerance, or a higher rank", str(error.value)
    )  # fmt: skip


def test_a_residual_that_rounding_keeps_up_is_said():
    X, Y, *_ = data(60, 1)
    with pytest.raises(NotConvergedError, match=r"^`KernelRegression\(ridge=...\)` must be large enough [^\n]*$"):
        KernelRegression(EXP, 1e-6, ConjugateGradients(1e-17, 60)).fit(X, Y)


def test_a_kernel_that_is_not_positive_definite_is_said_or_solved():
    X, Y, *_ = data()
    with pytest.raises(NotPositiveDefiniteError, match=r"^`KernelRegression\(ridge=...\)` must be [^\n]*$"):
        KernelRegression(lambda a, b: -torch.cdist(a, b) + torch.eye(40)[: len(a), : len(b)], 1e-3, ConjugateGradients(
            rank=0, tile=100)).fit(X, Y)  # fmt: skip
    with pytest.raises(ValueError, match=r"^`KernelRegression\(kernel=...\)` must be symmetric"):
        KernelRegression(lambda a, b: a @ (b + 1).T + 9, 1e-3, ConjugateGradients(rank=0)).fit(X, Y)


def test_targets_of_zero_and_labels_and_one_output():
    X, _, _, new = data()
    r = KernelRegression(EXP, 1e-2, SMALL).fit(X, torch.zeros(40).double())
    assert r.residual == 0 and r.iterations == 0 and (r.predict(new) == 0).all()
    labels = torch.arange(40) % 3
    direct, iterated = (KernelRegression(EXP, 1e-2, s).fit(X, labels) for s in (None, SMALL))
    assert_close(iterated.predict(new), direct.predict(new), rtol=1e-7)
    assert iterated.score(X, labels) == direct.score(X, labels)
    one = KernelRegression(EXP, 1e-2, SMALL).fit(X.numpy(), X[:, 0].numpy())
    assert one.coefficients.shape == (40,) and one.predict(new).shape == (6,)


class Interrupt(Exception):
    """In place of a user's."""


def test_an_interrupted_fit_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(conjugate_gradients, "SECONDS", 0.0)
    X, Y, *_ = data(200, 3)
    path, left = tmp_path / "solve.pt", [10**9]

    def interrupted(a, b):
        left[0] -= 1
        if left[0] < 0:
            raise Interrupt
        return EXP(a, b)

    def solver(**options):
        return ConjugateGradients(1e-9, 0, memory=0, tile=300, checkpoint=path, **options)

    whole = KernelRegression(interrupted, 1e-3, solver()).fit(X, Y)
    assert not path.exists() and whole.iterations > 30
    left[0] = 5 + whole.iterations * 3 // 4
    with pytest.raises(Interrupt):
        KernelRegression(interrupted, 1e-3, solver()).fit(X, Y)
    assert [p.name for p in tmp_path.iterdir()] == ["solve.pt"]
    left[0] = 10**9
    resumed = KernelRegression(interrupted, 1e-3, solver()).fit(X, Y)
    assert resumed.iterations < whole.iterations * 2 // 3
    assert resumed.residual <= 1e-9
    assert_close(resumed.coefficients, whole.coefficients, rtol=1e-5)
    assert not path.exists()
    # Another problem's coefficients are farther away than 0, and so not where it starts.
    torch.save(1e6 * whole.coefficients, path)
    other = KernelRegression(interrupted, 1e-3, solver()).fit(X, Y)
    assert_close(other.coefficients, whole.coefficients, rtol=1e-5)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", torch.ones(3).double(), {"a": 1}, torch.ones(40, 3)])
def test_a_checkpoint_that_is_none_is_refused_in_one_line(tmp_path: Path, content):
    path = tmp_path / "solve.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    X, Y, *_ = data()
    with pytest.raises(ValueError, match=r"^`ConjugateGradients\(checkpoint=...\)` must be a file [^\n]*$"):
        KernelRegression(EXP, 1e-2, ConjugateGradients(checkpoint=path)).fit(X, Y)
    assert path.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"tolerance": 0.0}, {"tolerance": 1.0}, {"tolerance": float("nan")}, {"tolerance": "1"}, {"rank": -1},
        {"rank": 1.5}, {"rank": True}, {"memory": -1}, {"tile": 0}, {"iterations": 0}, {"landmarks": "uniform"},
        {"checkpoint": "nowhere/solve.pt"},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused_in_one_line(unchecked, options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"^`ConjugateGradients\({name}=...\)` must be [^\n]*$"):
        ConjugateGradients(**options)


def test_other_solvers_and_candidates_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"^`KernelRegression\(solver=...\)` must be Cholesky"):
        KernelRegression(EXP, 0.1, "cg")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"^`PivotedCholesky\(candidates=...\)` must be"):
        PivotedCholesky(0)
    assert ConjugateGradients(rank=np.int64(3)).rank == 3  # pyright: ignore[reportArgumentType]


def test_too_little_memory_is_refused_before_the_start(monkeypatch):
    monkeypatch.setattr("mupi.kernels.regression.available_memory", lambda device: 10**6)
    X, Y, *_ = data(2000)
    with pytest.raises(ValueError, match=r"^`KernelRegression.fit\(X\)` must be small enough [^\n]* or X.float\(\)$"):
        KernelRegression(EXP, 0.1, ConjugateGradients()).fit(X, Y)
    # At a size that a factor has no room for.
    assert ConjugateGradients().memory_needed(10**6, 1, torch.float32) < 2e10
    assert ConjugateGradients(rank=100).memory_needed(10**6, 1, torch.float32) < 6e9


def test_a_display_shows_iterations_and_the_residual():
    X, Y, _, new = data()
    with Progress(disable=True) as progress:
        r = KernelRegression(EXP, 1e-2, SMALL).fit(X, Y, progress)
        r.predict(new, progress, return_std=True)
    lines = {task.description: task.fields.get("status") for task in progress.tasks}
    assert set(lines) == {"conjugate gradients", "predict", "variances"}
    assert re.fullmatch(rf"iteration {r.iterations}, residual \d\.\de-\d\d", lines["conjugate gradients"])
