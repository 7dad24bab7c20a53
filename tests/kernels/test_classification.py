"""Class probabilities, and training on the cross-entropy in the kernel regime."""

import pytest
import torch

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import NNGP, ReLU
from mupi.kernels import CrossEntropyFlow, DirichletClassification, cross_entropy_flow

KERNEL = NNGP(2, ReLU())


def rbf(x1, x2):
    """exp(−|x − x'|²/2)."""
    return torch.exp(-torch.cdist(x1, x2).square() / 2)


def drawn(n, classes, seed):
    """Inputs in the plane, the probabilities of functions drawn from a Gaussian process, and labels drawn from them."""
    g = seeded(seed)
    X = 2 * torch.randn(n, 2, generator=g, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(9 * rbf(X, X))
    f = vectors * values.clamp_min(0).sqrt() @ torch.randn(n, classes, generator=g, dtype=torch.float64)
    p = f.softmax(1)
    return X, p, torch.multinomial(p, 1, generator=g)[:, 0]


def test_probabilities_are_calibrated_and_near_the_right_ones():
    X, p, y = drawn(900, 3, seed=0)
    model = DirichletClassification(rbf).fit(X[:600], y[:600])
    q, right, labels = model.predict_proba(X[600:]), p[600:], y[600:]
    assert_close(q.sum(1), torch.ones(300, dtype=torch.float64))
    log_loss = -q[torch.arange(300), labels].log().mean()
    best = -right[torch.arange(300), labels].log().mean()
    assert log_loss < best + 0.2 < 1.0
    sure = q.amax(1)
    for low, high in ((0.4, 0.7), (0.7, 1.01)):
        chosen = (sure >= low) & (sure < high)
        hits = (q.argmax(1) == labels)[chosen].double()
        # Three standard errors, and what a factor of a few in the noise may do.
        assert abs(float(hits.mean() - sure[chosen].mean())) < 3 * 0.5 / len(hits) ** 0.5 + 0.05


def test_it_is_a_regression_on_logarithms_with_a_noise_of_its_own_for_each():
    X, y, Xt = randn(20, 3), torch.arange(20) % 3, randn(5, 3, seed=1)
    model = DirichletClassification(KERNEL, epsilon=0.02, scale=1.7).fit(X, y)
    mean, std = model.predict(Xt)
    α = 0.02 + torch.eye(3, dtype=torch.float64)[y]
    s = (1 / α + 1).log()
    t = α.log() - s / 2
    for c in range(3):
        A = torch.linalg.inv(1.7 * KERNEL(X) + s[:, c].diag())
        k = 1.7 * KERNEL(Xt, X)
        assert_close(mean[:, c], t[:, c].mean() + k @ A @ (t[:, c] - t[:, c].mean()), rtol=1e-9)
        assert_close(std[:, c].square(), 1.7 * KERNEL.diagonal(Xt) - (k @ A * k).sum(1), rtol=1e-9)


def test_far_from_the_data_probabilities_are_those_of_the_classes():
    X, y = randn(60, 2), (torch.arange(60) % 4 == 0).long()
    far = DirichletClassification(rbf).fit(X, y).predict_proba(torch.full((1, 2), 50.0, dtype=torch.float64))
    assert float(far[0, 0]) > float(far[0, 1]) > 0.02


def test_probabilities_repeat():
    X, y = randn(20, 3), torch.arange(20) % 3
    model = DirichletClassification(rbf).fit(X, y)
    assert_equal(model.predict_proba(X), model.predict_proba(X))
    assert_equal(model.predict_proba(X, generator=seeded(1)), model.predict_proba(X, generator=seeded(1)))


def test_the_flow_is_the_limit_of_small_steps():
    X, y, Xt = randn(15, 3), torch.arange(15) % 3, randn(4, 3, seed=1)
    start, new = randn(15, 3, seed=2), randn(4, 3, seed=3)
    flow = CrossEntropyFlow(KERNEL, 1e-9).fit(X, y, [0.0, 1.0, 4.0], start=start).predict(Xt, new)
    assert_close(flow[0], new)
    K, errors = KERNEL(torch.cat([X, Xt]), X), []
    for steps in (400, 800):
        f = torch.cat([start, new])
        for _ in range(steps):
            f = f + 4.0 / steps * K @ (torch.eye(3).double()[y] - f[:15].softmax(1)) / 15
        errors.append(float((f[15:] - flow[2]).norm()))
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02)


def test_training_makes_the_loss_small():
    X, y = randn(15, 3), torch.arange(15) % 3
    flow = CrossEntropyFlow(KERNEL).fit(X, y, [0.0, 10.0, 1e5])
    losses = [float(torch.nn.functional.cross_entropy(f, y)) for f in flow.predict(X)]
    assert losses[0] > losses[1] > losses[2] and losses[2] < 0.02


def test_bad_input_is_refused_by_name(unchecked):
    X, y = randn(9, 3), torch.arange(9) % 3
    for call, message in (
        (
            lambda: DirichletClassification(rbf, epsilon=0.0),
            r"n\(epsilon=...\)` must be a finite number > 0",
        ),
        (lambda: DirichletClassification(rbf).fit(X, y.double()), r"fit\(Y\)` must be class labels"),
        (lambda: DirichletClassification(rbf).fit(X, y + 1), r"that all occur"),
        (lambda: DirichletClassification(lambda a, b: -9 * rbf(a, b)).fit(X, y), r"positive"),
        (lambda: CrossEntropyFlow(rbf, 1.0), r"Flow\(tolerance=...\)` must be between 0 and 0.1"),
        (lambda: CrossEntropyFlow(rbf).fit(X, y, [2.0, 1.0]), r"times=...\)` must be increasing"),
        (lambda: CrossEntropyFlow(rbf).fit(X, y, [1.0, float("inf")]), r"times=...\)` must be finite"),
        (lambda: CrossEntropyFlow(rbf).fit(X, y, [1.0], start=X[:3]), r"start=...\)` must be of shape \(9, 3\)"),
        (
            lambda: CrossEntropyFlow(rbf).fit(X, y, [1.0], start=0 * X).predict(X),
            r"start=...\)` must be of shape \(9, 3\), f_0\(x\), as fit had f_0\(X\); got None",
        ),
        (
            lambda: CrossEntropyFlow(rbf).fit(X, y, [1.0], start=0 * X).predict(X, X[:1]),
            r"\(9, 3\).*got shape \(1, 3\)",
        ),
        (lambda: CrossEntropyFlow(rbf).fit(X, y, [1.0]).predict(X, X), r"start=...\)` must be None, as in fit"),
        (lambda: CrossEntropyFlow(rbf).fit(X, y.double(), [1.0]), r"fit\(Y\)` must be class labels"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for model in (DirichletClassification(rbf), CrossEntropyFlow(rbf)):
        with pytest.raises(RuntimeError, match="first"):
            model.predict(X)


def test_late_times_of_float32_are_those_of_float64_or_refused(monkeypatch):
    # Equal inputs with two labels pull for ever: their coefficients grow with time, and cancel in outputs.
    X = randn(6, 2, dtype=torch.float32)
    X, y, x = torch.cat([X, X[:2]]), torch.tensor([0, 1, 0, 1, 0, 1, 1, 0]), randn(4, 2, seed=1, dtype=torch.float32)
    single = CrossEntropyFlow(KERNEL).fit(X, y, [10.0, 2000.0]).predict(x)
    double = CrossEntropyFlow(KERNEL).fit(X.double(), y, [10.0, 2000.0]).predict(x.double())
    assert single.dtype == torch.float32
    assert_close(single, double.float())
    monkeypatch.setattr(cross_entropy_flow, "PART", 1e-5)  # at .05 this takes times of a million
    with pytest.raises(
        ValueError, match=r"fit\(times=...\)` must be early enough that rounding of the kernel does not"
    ):
        CrossEntropyFlow(lambda a, b: KERNEL(a.float(), b.float())).fit(X, y, [10.0, 2000.0])
    CrossEntropyFlow(KERNEL).fit(X, y, [10.0, 2000.0])
