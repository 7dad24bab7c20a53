"""Kernel ridge regression against a dense solve, its residual, its labels and its refusals."""

import re

import pytest
import torch
from rich.progress import Progress

from assertions import assert_close
from cases import randn, seeded
from mupi import Erf, ReLU
from mupi.kernels import (
    NNGP,
    NTK,
    Cholesky,
    ConjugateGradients,
    KernelRegression,
    NotPositiveDefiniteError,
    centered_one_hot,
    memory,
    panels,
    regression,
    ridge_system,
)


def data(n, d=6, seed=0, outputs=3, dtype=torch.float64):
    """Inputs and targets."""
    return randn(n, d, seed=seed, dtype=dtype), randn(n, outputs, seed=seed + 1, dtype=dtype)


def dense(kernel, ridge, X, Y, Xt):
    """The definition in float64."""
    X, Y, Xt = X.double(), Y.double(), Xt.double()
    K = kernel(X, X)
    λ = ridge * float(K.diagonal().mean())
    return kernel(Xt, X) @ torch.linalg.solve(K + λ * torch.eye(len(X), dtype=torch.float64), Y)


@pytest.fixture(params=[4, 7, 23, 1024], ids=lambda width: f"width-{width}")
def panel_width(request, monkeypatch):
    """Panels of several widths: many, one that divides n = 23 with a rest, exactly one, more than enough."""
    monkeypatch.setattr(panels, "PANEL_WIDTH", request.param)
    return request.param


def test_predictions_are_those_of_a_dense_solve(panel_width):
    (X, Y), (Xt, _) = data(23), data(9, seed=5)
    for kernel in (NNGP(2, ReLU()), NTK(2, Erf(), 1.0, 0.3)):
        r = KernelRegression(kernel, 1e-3).fit(X, Y)
        assert_close(r.predict(Xt), dense(kernel, 1e-3, X, Y, Xt), rtol=1e-11)
        assert r.residual < 1e-12


def test_float32_predictions_are_those_of_a_dense_solve(panel_width):
    (X, Y), (Xt, _) = data(23, dtype=torch.float32), data(9, seed=5, dtype=torch.float32)
    r = KernelRegression(NNGP(2, ReLU()), 1e-2).fit(X, Y)
    assert r.predict(Xt).dtype == torch.float32
    # The condition number, about 1,000, times the kernel's rounding error.
    assert_close(r.predict(Xt), dense(NNGP(2, ReLU()), 1e-2, X, Y, Xt), rtol=1e-4)
    assert 0 < r.residual < 1e-5


def test_refinement_solves_the_float32_system_beyond_float32(monkeypatch):
    X, Y = data(200, d=20, dtype=torch.float32)
    residuals = []
    for small in (1.0, 1e-10):
        monkeypatch.setattr(ridge_system, "SMALL_RESIDUAL", small)
        residuals.append(KernelRegression(NNGP(2, ReLU()), 1e-3).fit(X, Y).residual)
    assert residuals[0] > 1e-7 and residuals[1] < 1e-10


def panels_of(A):
    """A matrix in panels."""
    columns = panels.panel_columns(len(A))
    return panels.Panels(columns, {j: A[c.start :, c].clone() for j, c in enumerate(columns)}, A)


def test_the_factor_is_that_of_the_whole_matrix(panel_width):
    half = randn(23, 40)
    A, y = half @ half.T, randn(23, 2, seed=1)
    parts = panels_of(A)
    assert sum(p.numel() for p in parts) == panels.panel_entries(23)
    assert_close(panels.diagonal(parts), A.diagonal())
    product = torch.zeros_like(y)
    for part in parts:
        panels.add_product(product, part, y, scale=-1.0)
    assert_close(product, -A @ y)
    assert [panels.factorize_panel(parts, j) for j in range(len(parts))] == [0] * len(parts)
    L = torch.linalg.cholesky(A)
    for part, c in zip(parts, parts.columns, strict=True):
        assert_close(part, L[c.start :, c], scale=float(L.max()))
    assert_close(panels.solve(parts, y), torch.linalg.solve(A, y), rtol=1e-11)


@pytest.mark.parametrize("row", [0, 3, 10, 22])
def test_a_matrix_that_is_not_positive_definite_is_caught_at_its_row(panel_width, row):
    A = torch.eye(23, dtype=torch.float64)
    A[row, row] = -1.0
    parts = panels_of(A)
    assert next(filter(None, (panels.factorize_panel(parts, j) for j in range(len(parts))))) == row + 1


def test_the_ridge_is_relative_to_the_mean_diagonal():
    X, Y = data(12)
    r = KernelRegression(NNGP(1, ReLU()), 0.1).fit(X, Y)
    assert r.regularizer == pytest.approx(0.1 * float(NNGP(1, ReLU()).diagonal(X).mean()), rel=1e-12)
    scaled = KernelRegression(NNGP(1, ReLU(), sigma_w=5.0), 0.1).fit(X, Y)
    assert_close(scaled.predict(X), r.predict(X), rtol=1e-11)


def test_the_residual_is_that_of_the_linear_system():
    X, Y = data(20, dtype=torch.float32)
    r = KernelRegression(NNGP(2, ReLU()), 1e-3).fit(X, Y)
    A = NNGP(2, ReLU())(X.double()) + r.regularizer * torch.eye(20)
    expected = (A @ r.coefficients - Y).norm() / Y.double().norm()
    # The kernel's own rounding in float32 counts for the one and not for the other.
    assert r.residual == pytest.approx(float(expected), abs=1e-5)


def smooth(a, b):
    """A kernel whose eigenvalues fall fast."""
    return torch.exp(-torch.cdist(a, b).square() / 8)


@pytest.mark.parametrize("kernel", [NNGP(2, ReLU(), 1.0, 0.5), NNGP(3, Erf(), 1.0, 0.5), smooth])
def test_what_float32_costs_is_reported_or_refused(kernel):
    # In two dimensions 200 inputs are nearly dependent: from some ridge on, float32 cannot solve the system.
    (X, _), (Xt, _) = data(200, d=2, dtype=torch.float32), data(100, d=2, seed=7, dtype=torch.float32)
    Y, outcomes = torch.sin(2 * X.sum(1)) + 0.1 * randn(200, seed=3, dtype=torch.float32), []
    for ridge in (1e-2, 1e-3, 1e-4, 1e-5, 3e-6, 1e-7):
        exact = KernelRegression(kernel, ridge).fit(X.double(), Y)
        assert exact.residual < 1e-6 and exact.rounding < 1e-8
        expected = exact.predict(Xt.double())
        try:
            r = KernelRegression(kernel, ridge).fit(X, Y)
        except NotPositiveDefiniteError as error:
            outcomes.append(str(error))
            continue
        off = float((r.predict(Xt) - expected).norm() / expected.norm())
        assert off < 3 * (r.residual + r.rounding)
        assert r.rounding < 10 * off + 1e-6
        outcomes.append("right")
    assert outcomes[:2] == ["right"] * 2 and "in torch.float32; got 1e-07, at which " in outcomes[-1]


@pytest.mark.parametrize("solver", [Cholesky(), ConjugateGradients(1e-6, rank=20)])
def test_means_that_rounding_decides_are_refused(solver):
    # Noise that a kernel of rank 3 does not see makes coefficients of 1/ridge, and k(x, X) of them rounding.
    (X, _), (Xt, _) = data(50, d=3, dtype=torch.float32), data(20, d=3, seed=7, dtype=torch.float32)
    Y = torch.sin(X.sum(1)) + 0.3 * randn(50, seed=3, dtype=torch.float32)
    r = KernelRegression(lambda a, b: a @ b.T, 1e-2, solver).fit(X, Y)
    exact = KernelRegression(lambda a, b: a @ b.T, 1e-2).fit(X.double(), Y)
    assert_close(r.predict(Xt), exact.predict(Xt.double()).float(), rtol=1e-3, scale=1.0)
    # By half of this the processor's roundings decide whether the factor solves the system at all.
    with pytest.raises(ValueError, match=r"ridge=...\)` must be large enough that .*rounding"):
        KernelRegression(lambda a, b: a @ b.T, 2.5e-6, solver).fit(X, Y)


def test_a_residual_that_refinement_leaves_is_refused_and_so_is_a_prediction_after_it():
    # Where the factor just exists, refinement diverges: the residual was .67 at the third step.
    X, Y = randn(800, 3, dtype=torch.float32), randn(800, seed=1, dtype=torch.float32)
    r = KernelRegression(NNGP(2, ReLU(), 1.0, 0.5), 1e-2).fit(X, Y)
    r.ridge = 1e-7
    with pytest.raises(NotPositiveDefiniteError) as error:
        r.fit(X, Y)
    message = str(error.value)
    assert message.startswith(
        "`KernelRegression(ridge=...)` must be large enough that (k(X, X) + λI) α = Y can be solved to 1% in "
        "torch.float32; got 1e-07, at which a residual of 0."
    )
    assert message.endswith(" ‖Y‖ remains; use a larger ridge, or X.double()")
    with pytest.raises(RuntimeError, match="needs a fitted regression"):
        r.predict(X)


def test_the_best_step_of_the_refinement_is_kept(monkeypatch):
    X, Y = randn(400, 3, dtype=torch.float32), randn(400, seed=1, dtype=torch.float32)
    monkeypatch.setattr(ridge_system, "LARGEST_RESIDUAL", float("inf"))
    kernel, residuals = NNGP(2, ReLU(), 1.0, 0.5), []
    for solves in (1, 2, 3, 4):
        monkeypatch.setattr(ridge_system, "SOLVES", solves)
        r = KernelRegression(kernel, 1e-7).fit(X, Y)
        residuals.append(r.residual)
        rest = kernel(X, X).double() @ r.coefficients + r.regularizer * r.coefficients - Y
        assert r.residual == pytest.approx(float(rest.norm() / Y.double().norm()), rel=1e-4)
    assert residuals == sorted(residuals, reverse=True)


def test_inputs_may_change_after_the_fit():
    X, Y = data(8)
    kept = X.clone()
    r, there = KernelRegression(NTK(2, ReLU()), 1e-2).fit(X, Y), kept[:3] + 1
    before = r.predict(there)
    X.mul_(2)
    assert torch.equal(r.predict(there), before)
    from_numpy = kept.numpy().copy()
    r = KernelRegression(NTK(2, ReLU()), 1e-2).fit(from_numpy, Y.numpy())
    from_numpy *= 2
    assert torch.equal(r.predict(there), before)


def test_a_kernel_may_return_a_matrix_that_it_keeps():
    X, Y = data(8)
    K = NNGP(1, ReLU())(X)
    whole = KernelRegression(NNGP(1, ReLU()), 1e-2).fit(X, Y)
    kept = K.clone()
    given = KernelRegression(lambda a, b: kept, 1e-2).fit(X, Y)
    assert torch.equal(kept, K)
    assert_close(given.coefficients, whole.coefficients)
    constant = KernelRegression(lambda a, b: torch.ones((), dtype=X.dtype).expand(len(a), len(b)), 1e-2).fit(X, Y)
    assert_close(constant.predict(X), (Y.sum(0) / 8.01).expand(8, 3), rtol=1e-10)


def test_a_small_ridge_interpolates_and_a_large_one_shrinks_to_zero():
    X, Y = data(10)
    assert_close(KernelRegression(NTK(2, ReLU()), 1e-10).fit(X, Y).predict(X), Y, rtol=1e-7)
    assert float(KernelRegression(NTK(2, ReLU()), 1e10).fit(X, Y).predict(X).abs().max()) < 1e-8


def test_several_outputs_are_regressions_of_their_own():
    X, Y = data(15)
    together = KernelRegression(NNGP(2, ReLU()), 1e-2).fit(X, Y).predict(X)
    for i in range(3):
        alone = KernelRegression(NNGP(2, ReLU()), 1e-2).fit(X, Y[:, i]).predict(X)
        assert_close(alone, together[:, i], rtol=1e-11)


def test_any_function_of_two_matrices_is_a_kernel():
    X, Y = data(15)
    r = KernelRegression(lambda a, b: a @ b.T, 1e-2).fit(X, Y)
    λ = 1e-2 * float(X.square().sum(1).mean())
    weight = torch.linalg.solve(X.T @ X + λ * torch.eye(6, dtype=torch.float64), X.T @ Y)
    assert_close(r.predict(X), X @ weight, rtol=1e-11)


def test_predictions_have_the_gradient_of_the_kernel():
    (X, Y), (Xt, _) = data(8), data(3, seed=4)
    r = KernelRegression(NTK(2, ReLU()), 1e-2).fit(X.requires_grad_(), Y)
    assert not r.coefficients.requires_grad
    assert torch.autograd.gradcheck(r.predict, (Xt.requires_grad_(),))


def test_prediction_in_blocks_is_prediction_row_by_row(monkeypatch):
    (X, Y), (Xt, _) = data(8), data(11, seed=4)
    r = KernelRegression(NTK(2, ReLU()), 1e-2).fit(X, Y)
    whole = r.predict(Xt)
    monkeypatch.setattr(regression, "PREDICTION_ROWS", 2)
    assert_close(r.predict(Xt), whole)
    assert r.predict(Xt[:0]).shape == (0, 3)


def test_labels_are_learned():
    generator = seeded()
    centers = 3 * torch.randn(4, 6, generator=generator)
    labels = torch.randint(4, (120,), generator=generator)
    X = centers[labels] + torch.randn(120, 6, generator=generator)
    r = KernelRegression(NNGP(2, ReLU(), sigma_b=0.5), 1e-2).fit(X[:80], labels[:80])
    assert r.score(X[80:], labels[80:]) > 0.85
    by_hand = KernelRegression(NNGP(2, ReLU(), sigma_b=0.5), 1e-2).fit(X[:80], centered_one_hot(labels[:80]))
    assert_close(r.predict(X), by_hand.predict(X))


def test_centered_one_hot_rows_sum_to_zero():
    Y = centered_one_hot(torch.tensor([2, 0]), classes=4, dtype=torch.float64)
    assert_close(Y, torch.tensor([[-0.25, -0.25, 0.75, -0.25], [0.75, -0.25, -0.25, -0.25]], dtype=torch.float64))
    assert centered_one_hot(torch.tensor([2, 0, 1])).shape == (3, 3)
    assert centered_one_hot(torch.tensor([], dtype=torch.long), classes=3).shape == (0, 3)


def test_progress_shows_each_stage():
    X, Y = data(8)
    with Progress(disable=True) as progress:
        KernelRegression(NNGP(1, ReLU()), 1e-2).fit(X, Y, progress=progress).predict(X, progress=progress)
        assert [task.description for task in progress.tasks] == ["kernel", "Cholesky", "residual", "predict"]
        assert all(task.finished for task in progress.tasks)


@pytest.mark.parametrize("ridge", [0.0, -1e-4, float("nan"), float("inf")])
def test_a_ridge_that_is_not_positive_is_refused(ridge):
    with pytest.raises(ValueError, match=r"`KernelRegression\(ridge=...\)` must be a finite number > 0; got"):
        KernelRegression(NNGP(1, ReLU()), ridge)


def test_a_matrix_that_is_not_positive_definite_in_float32_says_so_and_what_to_do():
    X, Y = data(60, d=2, dtype=torch.float32)

    with pytest.raises(ValueError) as error:
        KernelRegression(smooth, 1e-12).fit(X, Y)
    text = str(error.value)
    assert text.startswith(
        "`KernelRegression(ridge=...)` must be large enough that k(X, X) + λI is positive definite in torch.float32; "
        "got 1e-12, at which row "
    )
    assert text.endswith("of 60 has no positive pivot; use a larger ridge, or X.double()")
    with pytest.raises(NotPositiveDefiniteError, match="row .* of 60 has no positive pivot; use a larger ridge$"):
        KernelRegression(lambda a, b: smooth(a, b) - 0.4 * a @ b.T, 1e-4).fit(X.double(), Y)
    # No ridge, which is relative to k(x, x), would help.
    with pytest.raises(ValueError, match=r"\(kernel=...\)` must be positive definite; got k\(x, x\) of mean -2"):
        KernelRegression(lambda a, b: -(a @ b.T), 1e-4).fit(X.double(), Y)
    assert KernelRegression(smooth, 1e-5).fit(X, Y).residual < 0.1


def test_too_little_memory_is_refused_before_the_start(monkeypatch):
    def kernel(a, b):
        raise AssertionError("started")

    X, Y = torch.zeros(1, 1).expand(50_000, 1), torch.zeros(1, 1).expand(50_000, 10)
    monkeypatch.setattr(regression, "available_memory", lambda device: 4_000_000_000)
    with pytest.raises(ValueError) as error:
        KernelRegression(kernel, 1e-4).fit(X, Y)
    assert str(error.value) == (
        "`KernelRegression.fit(X)` must be small enough for the available memory, 4.0 GB; "
        "got a size that needs 5.9 GB; fit fewer inputs, or use ConjugateGradients()"
    )
    with pytest.raises(
        ValueError, match=r"needs 11.9 GB; fit fewer inputs, or use ConjugateGradients\(\), or X.float\(\)$"
    ):
        KernelRegression(kernel, 1e-4).fit(X.double(), Y.double())


def test_all_of_cifar10_fits_16_gb_in_both_precisions():
    assert ridge_system.memory_needed(50_000, 10, torch.float32) < 7e9
    assert ridge_system.memory_needed(50_000, 10, torch.float64) < 13e9


def test_the_memory_of_this_machine_is_known():
    assert 0 < memory.available_memory(torch.device("cpu")) < 1e14


def test_a_container_limit_counts_less_what_is_used_and_not_given_back(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    unlimited = memory.available_memory(torch.device("cpu"))
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 100000\n")
    assert memory.available_memory(torch.device("cpu")) == pytest.approx(unlimited, rel=0.2)
    (tmp_path / "memory.max").write_text("1000000\n")
    assert memory.available_memory(torch.device("cpu")) == 400_000


def test_without_proc_the_memory_built_in_counts(monkeypatch, tmp_path):
    expected = memory.available_memory(torch.device("cpu"))
    monkeypatch.setattr(memory, "MEMORY_INFO", tmp_path / "absent")
    assert memory.available_memory(torch.device("cpu")) >= expected // 2


@pytest.mark.parametrize(
    ("X", "Y", "message"),
    [
        (torch.ones(0, 3), torch.ones(0, 1), "fit(X)` must be of at least one row; got none"),
        (torch.ones(2, 3, 4), torch.ones(2), "fit(X)` must be of shape (n, d) with d ≥ 1; got shape (2, 3, 4)"),
        (torch.ones(2, 3).int(), torch.ones(2), "fit(X)` must be of a floating dtype; got torch.int32; use x.float()"),
        (
            torch.ones(4, 3),
            torch.ones(3, 2),
            "fit(Y)` must be of shape (4,) or (4, outputs), a row for each of X; got shape (3, 2)",
        ),
        (torch.ones(1, 3), torch.tensor([float("inf")]), "fit(Y)` must be finite; got 1 NaN or infinite of 1 entries"),
        # A number that the dtype of X does not hold.
        (
            torch.ones(1, 3),
            torch.tensor([1e300], dtype=torch.float64),
            "fit(Y)` must be finite; got 1 NaN or infinite of 1 entries",
        ),
        (torch.ones(2, 3) * float("nan"), torch.ones(2), "fit(X)` must be finite; got 6 NaN"),
        (torch.ones(2, 3), torch.ones(2, 0), "fit(Y)` must be of shape (2,) or (2, outputs), a row for each of X; got"),
        (torch.ones(2, 3), torch.ones(2, 1, 1), "fit(Y)` must be of shape (2,) or (2, outputs), a row for each of X"),
    ],
)
def test_wrong_data_are_named(X, Y, message, unchecked):
    with pytest.raises(ValueError) as error:
        KernelRegression(NNGP(1, ReLU()), 1e-2).fit(X, Y)
    assert str(error.value).startswith(f"`KernelRegression.{message}")


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (lambda a, b: a @ b.T + a[:, :1], "(kernel=...)` must be symmetric; got k(x, x') − k(x', x) of "),
        (
            lambda a, b: a.sum(1) + b.sum(1),
            "(kernel=...)` must be a function to floating tensors, here of shape (4, 4)",
        ),
        (lambda a, b: 5.0, "(kernel=...)` must be a function to floating tensors, here of shape (4, 4); got float"),
        (
            lambda a, b: (a @ b.T).long(),
            "must be a function to floating tensors, here of shape (4, 4); got torch.int64",
        ),
        (lambda a, b: 0 * a @ b.T, "(kernel=...)` must be positive definite; got k(x, x) of mean 0"),
    ],
)
def test_what_is_no_kernel_is_refused(kernel, message, unchecked):
    X, Y = data(4)
    with pytest.raises(ValueError, match=re.escape(message)):
        KernelRegression(kernel, 1e-2).fit(X, Y)


def test_other_inputs_than_those_of_the_fit_are_refused(unchecked):
    X, Y = data(4)
    r = KernelRegression(lambda a, b: a @ b.T, 1e-2).fit(X, Y)
    for wrong, message in (
        (X[:, :2], "`KernelRegression.predict(X)` must be of shape (m, 6), as wide as those of fit; got shape (4, 2)"),
        (X[0], "`KernelRegression.predict(X)` must be of shape (n, d)"),
        (X.float(), "must be of the dtype and device of those of fit, torch.float64 on cpu; got torch.float32 on cpu"),
        (X / 0, "`KernelRegression.predict(X)` must be finite"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            r.predict(wrong)


def test_a_kernel_with_nan_is_refused():
    X, Y = data(4)
    with pytest.raises(ValueError, match=r"`KernelRegression\(kernel=...\)\(X, X\)` must be finite; got 16 NaN"):
        KernelRegression(lambda a, b: a @ b.T * float("nan"), 1e-2).fit(X, Y)


def test_prediction_needs_a_fit():
    with pytest.raises(RuntimeError, match=r"needs a fitted regression; call `fit\(X, Y\)` first"):
        KernelRegression(NNGP(1, ReLU()), 1e-2).predict(torch.ones(1, 3))


def test_a_score_needs_classes():
    X, Y = data(4)
    one = KernelRegression(NNGP(1, ReLU()), 1e-2).fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="must be asked of a regression on classes; got one output; fit on class"):
        one.score(X, torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize(
    "labels", [torch.zeros(3, dtype=torch.long), torch.zeros(4), torch.zeros(4, 1).long(), torch.zeros(4).bool()]
)
def test_a_score_needs_one_label_for_each_row(labels, unchecked):
    X, Y = data(4)
    r = KernelRegression(NNGP(1, ReLU()), 1e-2).fit(X, Y)
    with pytest.raises(ValueError, match="must be 4 integers, one for each row of X, and at least one; got torch"):
        r.score(X, labels)


def test_a_score_needs_labels_of_fitted_classes():
    X, Y = data(4)
    with pytest.raises(ValueError, match=r"`KernelRegression.score\(labels\)` must be between 0 and 2; got 0 to 3"):
        KernelRegression(NNGP(1, ReLU()), 1e-2).fit(X, Y).score(X, torch.arange(4))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0.0, 1.0]), "must be integers of shape (n,); got torch.float32 of shape (2,)"),
        (torch.tensor([[0, 1]]), "must be integers of shape (n,); got torch.int64 of shape (1, 2)"),
        (torch.tensor([0, 3]), "must be between 0 and 2; got 0 to 3"),
        (torch.tensor([-1, 1]), "must be between 0 and 2; got -1 to 1"),
        (torch.tensor([True, False]), "must be integers of shape (n,); got torch.bool of shape (2,)"),
    ],
)
def test_wrong_labels_are_named(labels, message, unchecked):
    with pytest.raises(ValueError) as error:
        centered_one_hot(labels, classes=3)
    assert str(error.value) == f"`centered_one_hot(labels)` {message}"
