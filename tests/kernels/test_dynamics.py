"""Gradient descent in the kernel regime against the loop that it stands for."""

from math import inf

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assertions import assert_close, assert_equal
from cases import randn
from mupi import NNGP, Erf, Identity, ReLU
from mupi.architecture.zoo import perceptron
from mupi.kernels import NTK, KernelDynamics, KernelRegression, dynamics, memory
from mupi.kernels.spectral_filters import descent_filter, flow_filter, momentum_filter

KERNEL = NTK(2, ReLU())


@pytest.fixture
def fitted():
    """Dynamics on 12 samples, and what to evaluate it on."""
    X, Y, Xt = randn(12, 5), randn(12, 2, seed=1), randn(4, 5, seed=2)
    return KernelDynamics(KERNEL).fit(X, Y), X, Y, Xt


def loop(X, Y, Xt, lr, steps):
    """Gradient descent on Σ_i |f(x_i) − y_i|²/2n in function space, one step at a time."""
    both = torch.cat([X, Xt])
    K, f = KERNEL(both, X), torch.zeros(len(both), *Y.shape[1:], dtype=Y.dtype)
    for _ in range(steps):
        f = f - lr / len(X) * K @ (f[: len(X)] - Y)
    return f[len(X) :]


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 300])
@pytest.mark.parametrize("fraction", [0.01, 0.4, 0.9, 1.0])
def test_closed_form_steps_are_the_steps_of_the_loop(fitted, steps, fraction):
    dynamics, X, Y, Xt = fitted
    lr = fraction * dynamics.largest_lr
    assert_close(dynamics.descend(Xt, lr, steps), loop(X, Y, Xt, lr, steps), rtol=1e-10, scale=1.0)


def test_gradient_descent_is_that_of_a_linear_network_on_its_features():
    # With NTK = x·x'·c the network is linear regression in √c x, started at 0.
    X, Y, Xt = randn(7, 3), randn(7, seed=1), randn(2, 3, seed=2)
    w, scale = torch.zeros(3, dtype=torch.float64), (2 / 3) ** 0.5
    for _ in range(20):
        w -= 0.05 * scale * X.T @ (scale * X @ w - Y) / 7
    kernel = NTK(1, Identity(), sigma_w=1.0)
    assert_close(KernelDynamics(kernel).fit(X, Y).descend(Xt, 0.05, 20), scale * Xt @ w)


@pytest.mark.parametrize("steps", [5, 5000])
def test_above_the_largest_learning_rate_gradient_descent_grows(fitted, steps):
    dynamics, X, Y, _ = fitted
    lr = 1.05 * dynamics.largest_lr
    assert float(dynamics.descend(X, lr, 400).norm()) > 1e3 * float(Y.norm())
    assert_close(dynamics.descend(X, lr, 30), loop(X, Y, X, lr, 30), rtol=1e-9)


def test_gradient_flow_is_the_limit_of_small_steps(fitted):
    dynamics, _, _, Xt = fitted
    flow = dynamics.flow(Xt, time=3.0)
    errors = [float((dynamics.descend(Xt, 3.0 / n, n) - flow).norm()) for n in (1000, 2000)]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.01)


def test_gradient_flow_solves_its_differential_equation(fitted):
    dynamics, X, Y, Xt = fitted
    h = 1e-4
    rate = (dynamics.flow(Xt, 2.0 + h) - dynamics.flow(Xt, 2.0 - h)) / (2 * h)
    assert_close(rate, -KERNEL(Xt, X) @ (dynamics.flow(X, 2.0) - Y) / 12, rtol=1e-7)


def test_infinite_time_is_regression_without_ridge(fitted):
    dynamics, X, Y, Xt = fitted
    limit = dynamics.flow(Xt, inf)
    assert_close(limit, KERNEL(Xt, X) @ torch.linalg.solve(KERNEL(X), Y), rtol=1e-10)
    assert_close(limit, dynamics.descend(Xt, 0.5 * dynamics.largest_lr, inf))
    assert_close(limit, KernelRegression(KERNEL, 1e-12).fit(X, Y).predict(Xt), rtol=1e-8)
    assert_close(dynamics.flow(X, inf), Y, rtol=1e-10)
    late = 1000 * 12 / float(dynamics.eigenvalues[0])
    assert_close(dynamics.flow(Xt, late), limit, rtol=1e-10)


def test_directions_that_the_kernel_does_not_see_never_move():
    # The second sample repeats the first: their difference is in the null space, their mean is learned.
    X, Y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double(), torch.tensor([1.0, 3.0, 5.0]).double()
    dynamics = KernelDynamics(KERNEL).fit(X, Y)
    assert float(dynamics.eigenvalues[0]) == 0
    assert_close(dynamics.flow(X, inf), torch.tensor([2.0, 2.0, 5.0]).double(), rtol=1e-10)
    assert_close(dynamics.descend(X, 0.1, 100_000), torch.tensor([2.0, 2.0, 5.0]).double(), rtol=1e-10)


def test_filters_keep_their_digits_at_small_eigenvalues():
    λ = torch.tensor([0.0, 1e-14, 1e-8, 1.0], dtype=torch.float64)
    assert_close(descent_filter(λ, 0.1, 7)[:3], torch.full((3,), 0.7, dtype=torch.float64), rtol=1e-7)
    assert_close(flow_filter(λ, 0.7)[:3], torch.full((3,), 0.7, dtype=torch.float64), rtol=1e-7)
    assert_close(flow_filter(λ, inf), torch.tensor([0.0, 1e14, 1e8, 1.0], dtype=torch.float64))


def test_inputs_may_change_after_the_fit(fitted):
    _, X, Y, Xt = fitted
    x = X.clone()
    dynamics = KernelDynamics(KERNEL).fit(x, Y)
    before = dynamics.flow(Xt, 1.0)
    x *= 2
    assert torch.equal(dynamics.flow(Xt, 1.0), before)


def test_one_output_stays_a_vector_and_no_rows_stay_none(fitted):
    _, X, Y, Xt = fitted
    one = KernelDynamics(KERNEL).fit(X, Y[:, 0])
    assert one.flow(Xt, 1.0).shape == (4,)
    assert one.flow(Xt[:0], 1.0).shape == (0,)
    assert_close(one.flow(Xt, 1.0), KernelDynamics(KERNEL).fit(X, Y).flow(Xt, 1.0)[:, 0])


def test_what_are_no_times_is_named(fitted, unchecked):
    dynamics, _, _, Xt = fitted
    for wrong in ([], "inf", None, ["1"]):
        with pytest.raises(
            ValueError, match=r"`KernelDynamics.flow\(time=...\)` must be a number, or a list of at least"
        ):
            dynamics.flow(Xt, wrong)
        with pytest.raises(ValueError, match=r"`KernelDynamics.descend\(steps=...\)` must be a number, or a list of"):
            dynamics.descend(Xt, 0.1, wrong)
    assert_equal(dynamics.flow(Xt, np.array([0.0, 1.0])), dynamics.flow(Xt, [0.0, 1.0]))
    assert_equal(dynamics.flow(Xt, np.float64(1.0)), dynamics.flow(Xt, 1.0))


def test_wrong_times_are_named(fitted):
    dynamics, _, _, Xt = fitted
    for steps in (-1, 1.5, float("nan")):
        with pytest.raises(
            ValueError, match=r"`KernelDynamics.descend\(steps=...\)` must be an integer ≥ 0 or math.in"
        ):
            dynamics.descend(Xt, 0.1, steps)
    with pytest.raises(ValueError, match=r"`KernelDynamics.descend\(lr=...\)` must be between 0 and largest_lr = "):
        dynamics.descend(Xt, dynamics.largest_lr, inf)
    with pytest.raises(ValueError, match=r"`KernelDynamics.descend\(lr=...\)` must be a finite number ≥ 0; got -1"):
        dynamics.descend(Xt, -1.0, 3)
    for time in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=r"`KernelDynamics.flow\(time=...\)` must be ≥ 0, or math.inf; got"):
            dynamics.flow(Xt, time)


def test_wrong_data_are_named(monkeypatch, unchecked):
    X = randn(4, 3)
    with pytest.raises(ValueError, match=r"`KernelDynamics.fit\(Y\)` must be of shape \(4,\) or \(4, outputs\), a row"):
        KernelDynamics(KERNEL).fit(X, randn(3))
    with pytest.raises(ValueError, match=r"`KernelDynamics\(kernel=...\)\(X, X\)` must be finite; got 16 NaN"):
        KernelDynamics(lambda a, b: a @ b.T * float("nan")).fit(X, randn(4))
    with pytest.raises(ValueError, match=r"`KernelDynamics\(kernel=...\)` must be symmetric; got k\(x, x'\) −"):
        KernelDynamics(lambda a, b: a @ b.T + a[:, :1]).fit(X, randn(4))
    # Negative eigenvalues would pass for those of rounding, which are 0.
    with pytest.raises(ValueError, match="must be positive semi-definite; got eigenvalues from -"):
        KernelDynamics(lambda a, b: a @ b.T - 0.1).fit(X, randn(4))
    fitted = KernelDynamics(KERNEL).fit(X, randn(4))
    for call in (lambda x: fitted.flow(x, 1.0), lambda x: fitted.descend(x, 0.1, 2)):
        for wrong, message in (
            (X[:, :2], r"of shape \(m, 3\), as wide"),
            (X.float(), "of the dtype"),
            (X / 0, "finite"),
        ):
            with pytest.raises(ValueError, match=rf"`KernelDynamics.(flow|descend)\(X\)` must be {message}"):
                call(wrong)
    with pytest.raises(RuntimeError, match=r"`KernelDynamics` needs a kernel matrix; call `fit\(X, Y\)` first"):
        KernelDynamics(KERNEL).flow(X, 1.0)
    monkeypatch.setattr(dynamics, "available_memory", lambda device: 100)
    with pytest.raises(ValueError, match="needs 0.0 GB; fit fewer inputs, or use KernelRegression"):
        KernelDynamics(KERNEL).fit(X, randn(4))
    assert memory.available_memory(torch.device("cpu")) > 100


def heavy_ball(X, Y, Xt, lr, steps, momentum):
    """`torch.optim.SGD`'s momentum in function space, one step at a time."""
    both = torch.cat([X, Xt])
    K, f = KERNEL(both, X), torch.zeros(len(both), *Y.shape[1:], dtype=Y.dtype)
    v = torch.zeros_like(f)
    for _ in range(steps):
        v = momentum * v + K @ (f[: len(X)] - Y) / len(X)
        f = f - lr * v
    return f[len(X) :]


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 300])
@pytest.mark.parametrize("momentum", [0.3, 0.9])
def test_momentum_in_closed_form_is_that_of_the_loop(fitted, steps, momentum):
    dynamics, X, Y, Xt = fitted
    for lr in (0.01 * dynamics.largest_lr, 0.9 * (1 + momentum) * dynamics.largest_lr):
        got = dynamics.descend(Xt, lr, steps, momentum=momentum)
        assert_close(got, heavy_ball(X, Y, Xt, lr, steps, momentum), rtol=1e-9, scale=1.0)
    assert_close(dynamics.descend(Xt, lr, inf, momentum=momentum), dynamics.flow(Xt, inf))


def test_directions_that_hardly_learn_lose_no_digits_with_momentum():
    λ = torch.tensor([1e-30, 1e-12, 0.0], dtype=torch.float64)
    # v_t = (1 − μ^t)/(1 − μ) while the residual is 1, so that g = s Σ_t v_t.
    right = 0.1 * sum((1 - 0.5**t) / 0.5 for t in range(1, 8))
    assert_close(momentum_filter(λ, 0.1, 7, 0.5), torch.full((3,), right, dtype=torch.float64), rtol=1e-11)
    assert_close(momentum_filter(λ.exp(), 0.1, 7, 0.0), descent_filter(λ.exp(), 0.1, 7))


@pytest.fixture
def ensemble():
    """An ensemble of networks, whose NNGP is not its tangent kernel."""
    X, Y, Xt = randn(12, 5), randn(12, 2, seed=1), randn(4, 5, seed=2)
    return KernelDynamics(KERNEL, initial=NNGP(2, ReLU())).fit(X, Y), X, Y, Xt


@pytest.mark.parametrize("time", [0.0, 0.7, 20.0, inf])
def test_the_ensemble_has_mean_and_covariance_of_its_members(ensemble, time):
    dynamics, X, Y, Xt = ensemble
    both = torch.cat([X, Xt])
    # Each column of L is a start; members start at sums of them with independent N(0, 1) coefficients.
    L = torch.linalg.cholesky(NNGP(2, ReLU())(both))
    ends = []
    for start in L.T:
        shifted = KernelDynamics(KERNEL).fit(X, -start[: len(X)])
        ends.append(start[len(X) :] + shifted.flow(Xt, time))
    right = torch.stack(ends).T @ torch.stack(ends)
    mean, covariance = dynamics.flow(Xt, time, return_cov=True)
    assert_close(covariance, right, rtol=1e-9, scale=1.0)
    assert_close(mean, KernelDynamics(KERNEL).fit(X, Y).flow(Xt, time))
    assert_close(dynamics.flow(Xt, time, return_std=True)[1].square(), right.diagonal(), rtol=1e-9, scale=1.0)


def test_of_a_network_whose_readout_alone_learns_the_end_is_the_gaussian_process_given_the_data():
    kernel, (X, Y, Xt) = NNGP(2, ReLU()), (randn(12, 5), randn(12, seed=1), randn(4, 5, seed=2))
    ours = KernelDynamics(kernel, initial=kernel).fit(X, Y).flow(Xt, inf, return_cov=True)
    theirs = KernelRegression(kernel, 1e-11).fit(X, Y).predict(Xt, return_cov=True)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b, rtol=1e-7)


def test_many_times_are_one_call(ensemble):
    dynamics, *_, Xt = ensemble
    times = [0.0, 1.0, inf]
    for several, one in (
        (dynamics.flow(Xt, times, return_std=True), [dynamics.flow(Xt, t, return_std=True) for t in times]),
        (
            dynamics.descend(Xt, 0.1, [0, 3], momentum=0.5, return_cov=True),
            [dynamics.descend(Xt, 0.1, t, momentum=0.5, return_cov=True) for t in (0, 3)],
        ),
    ):
        for part in (0, 1):
            assert_equal(several[part], torch.stack([pair[part] for pair in one]))
    assert_equal(dynamics.flow(Xt, torch.tensor([0.0, 1.0])), dynamics.flow(Xt, [0.0, 1.0]))


@pytest.mark.parametrize(
    "number", [2, np.int64(2), np.array(2), torch.tensor(2), np.float32(2), np.array(2.0), torch.tensor(2.0)], ids=repr
)
def test_a_number_of_whatever_kind_is_one_time(fitted, number, unchecked):
    dynamics, Xt = fitted[0], fitted[-1]
    assert_equal(dynamics.flow(Xt, number), dynamics.flow(Xt, 2.0))
    assert_equal(dynamics.descend(Xt, 0.1, number), dynamics.descend(Xt, 0.1, 2))


def test_deviations_need_an_initial_kernel(fitted):
    dynamics, *_, Xt = fitted
    with pytest.raises(ValueError, match=r"flow\(return_std=...\)` must be asked for where networks start at random"):
        dynamics.flow(Xt, 1.0, return_std=True)
    with pytest.raises(ValueError, match=r"descend\(momentum=...\)` must be from 0 to below 1"):
        dynamics.descend(Xt, 0.1, 3, momentum=1.0)


def in_float32(kernel):
    """As a network with parameters in float32 is: of no other inputs."""

    def single(a, b):
        if a.dtype != torch.float32:
            raise RuntimeError("expected float32")
        return kernel(a, b)

    return single


def test_float32_goes_as_far_as_float64_where_the_kernel_does():
    X, Y = randn(60, 1, dtype=torch.float32), randn(60, seed=1, dtype=torch.float32)
    smooth = NNGP(3, Erf(), 1.0, 0.5)
    single = KernelDynamics(smooth, initial=NNGP(2, ReLU())).fit(X, Y)
    double = KernelDynamics(smooth, initial=NNGP(2, ReLU())).fit(X.double(), Y.double())
    times = [10.0, 1e5, 1e7]
    for part, right in zip(
        single.flow(X, times, return_std=True), double.flow(X.double(), times, return_std=True), strict=True
    ):
        assert part.dtype == torch.float32
        assert_close(part, right.float())


def test_what_float32_does_not_resolve_is_refused():
    X, Y = randn(60, 1, dtype=torch.float32), randn(60, seed=1, dtype=torch.float32)
    smooth = in_float32(NNGP(3, Erf(), 1.0, 0.5))
    single = KernelDynamics(smooth, initial=NNGP(2, ReLU())).fit(X, Y)
    for question in ({"return_std": True}, {"return_cov": True}):
        with pytest.raises(ValueError, match=r"flow\(X\)` must be of a dtype that resolves .*; give a kernel that "):
            single.flow(X, 1e7, **question)
    # Noise has parts in directions that hardly learn.
    with pytest.raises(ValueError, match=r"flow\(X\)` must be of a dtype that resolves means; got torch.float32, with"):
        single.flow(X + 0.01, inf)
    # Members that fit their targets differ by nothing there, which float64 resolves.
    x, y = X[:5].double(), Y[:5].double()
    assert (KernelDynamics(KERNEL, initial=KERNEL).fit(x, y).flow(x, inf, return_std=True)[1] < 1e-5).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    # The last two have kinks, which float32 knows to √eps.
    kernel=st.sampled_from(
        [
            NTK(2, Erf(), 1.0, 0.5),
            KERNEL,
            lambda a, b: torch.exp(-torch.cdist(a, b).square() / 8),
            NTK(3, ReLU(), 1.0, 0.5),
            lambda a, b: torch.exp(-torch.cdist(a, b) / 2),
        ]
    ),
    n=st.integers(3, 60),
    d=st.integers(1, 3),
    apart=st.sampled_from([None, 1e-3, 1e-5]),
    scale=st.sampled_from([1.0, 1e-2]),
    noise=st.sampled_from([0.0, 1e-3, 1.0]),
    log_time=st.sampled_from([1, 3, 5, 7, inf]),
    momentum=st.sampled_from([None, 0.9]),
    seed=st.integers(0, 99),
)
def test_what_a_kernel_in_float32_alone_comes_to_is_right_or_refused(
    kernel, n, d, apart, scale, noise, log_time, momentum, seed
):
    X, x = randn(n, d, seed=seed, dtype=torch.float32), 1.5 * randn(9, d, seed=seed + 1, dtype=torch.float32)
    if apart is not None:
        X[n // 2 :] = X[: n - n // 2] + apart * randn(n - n // 2, d, seed=seed + 3, dtype=torch.float32)
    X, x = scale * X, scale * torch.cat([x, X[:9]])
    Y, time = torch.sin(X.double().sum(1)) + noise * randn(n, seed=seed + 2), 10.0**log_time
    start = NNGP(2, ReLU(), 1.0, 0.5)
    single = KernelDynamics(in_float32(kernel), start).fit(X, Y.float())
    double = KernelDynamics(kernel, start).fit(X.double(), Y)

    def ask(dynamics, x):
        if momentum is None:
            return dynamics.flow(x, time, return_std=True)
        return dynamics.descend(x, double.largest_lr / 2, min(time, 1e4), momentum=momentum, return_std=True)

    try:
        (mean, std), (right, spread) = ask(single, x), ask(double, x.double())
    except ValueError as error:
        assert "must be of a dtype that resolves" in str(error)
        return
    size = max(float(Y.square().mean()), float(right.square().mean())) ** 0.5
    assert float((mean - right).square().mean().sqrt()) <= 0.05 * size
    assert ((std - spread).abs() <= 0.1 * spread + 1e-4).all()


def test_eigenvalues_that_go_down_to_rounding_are_not_taken_for_zeros():
    X, Y = randn(60, 1), randn(60, seed=1)
    dynamics = KernelDynamics(lambda a, b: torch.exp(-torch.cdist(a, b).square() / 8)).fit(X, Y)
    assert float(dynamics.flow(X, 1e3).norm()) < 0.2 * float(Y.norm())
    # In the end members fit even noise, which float64 does not see.
    with pytest.raises(ValueError, match="resolves means; got torch.float64, .*; ask for a time before inf"):
        dynamics.flow(X, inf)
    # Smooth targets have nothing there; and what few features do not see is never learned, in float64.
    smooth = KernelDynamics(dynamics.kernel).fit(X, torch.sin(X[:, 0]))
    assert_close(smooth.flow(X, inf), torch.sin(X[:, 0]), rtol=1e-3)
    of_features = KernelDynamics(lambda a, b: 1 + a @ b.T).fit(X, Y).flow(X, inf)
    design = torch.cat([torch.ones_like(X), X], 1)
    assert_close(of_features, design @ torch.linalg.lstsq(design, Y).solution, rtol=1e-8)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("spacing", [0.3, 0.6, 1.2])
def test_in_many_digits_the_end_of_training_is_the_same_or_refused(noise, spacing):
    # The kernel of a Gaussian bump on a line, whose eigenvalues fall the faster the closer the points are.
    X, x = spacing * torch.arange(10.0).double()[:, None], spacing * torch.tensor([[1.3], [4.5], [9.8]]).double()
    Y = torch.sin(X[:, 0]) + noise * randn(10)

    def bump(a, b):
        return torch.exp(-(a - b.T).square() / 2)

    with mpmath.workdps(60):
        exact = [[mpmath.exp(-((mpmath.mpf(a) - mpmath.mpf(b)) ** 2) / 2) for b in X.flatten().tolist()] for a in
                 X.flatten().tolist()]  # fmt: skip
        weights = mpmath.lu_solve(mpmath.matrix(exact), mpmath.matrix(Y.tolist()))
        right = [
            float(sum(mpmath.exp(-((mpmath.mpf(a) - mpmath.mpf(b)) ** 2) / 2) * w for b, w in
                      zip(X.flatten().tolist(), weights, strict=True)))
            for a in x.flatten().tolist()
        ]  # fmt: skip
    right = torch.tensor(right).double()
    for dtype in (torch.float64, torch.float32):
        try:
            mean = KernelDynamics(bump).fit(X.to(dtype), Y.to(dtype)).flow(x.to(dtype), inf)
        except ValueError as error:
            assert "must be of a dtype that resolves means" in str(error)
            continue
        assert float((mean - right).square().mean().sqrt()) <= 0.05 * max(
            float(Y.norm()) / 10**0.5, float(right.norm()) / 3**0.5
        )


def test_two_kernels_of_one_network_are_made_in_one_pass():
    both = perceptron(5, 1, depth=2, activation=Erf()).kernels("nngp", "ntk", sigma_b=0.3)
    X, Y, Xt = randn(12, 5), randn(12, 2, seed=1), randn(4, 5, seed=2)
    together = KernelDynamics(both).fit(X, Y)
    apart = KernelDynamics(both.ntk, initial=both.nngp).fit(X, Y)
    for question in ({"return_std": True}, {"return_cov": True}):
        for one, other in zip(
            together.flow(Xt, [1.0, inf], **question), apart.flow(Xt, [1.0, inf], **question), strict=True
        ):
            assert_equal(one, other)
    with pytest.raises(
        ValueError, match=r"KernelDynamics\(initial=...\)` must be left out where `kernel` is two kernels"
    ):
        KernelDynamics(both, initial=both.nngp)
    with pytest.raises(ValueError, match=r'KernelDynamics\(kernel=...\)` must be of "nngp" and "ntk"'):
        KernelDynamics(perceptron(5, 1).kernels("ntk"))


def test_targets_in_float64_are_kept_where_inputs_are_float32():
    """The kernel of float32 inputs is computed in float64, so all digits of the targets count."""
    X = torch.linspace(-1, 1, 40, dtype=torch.float32)[:, None]
    Y, new = torch.cos(1.3 * X.double()[:, 0]), torch.linspace(1, 3, 5, dtype=torch.float32)[:, None]
    polynomial = KernelDynamics(lambda a, b: (1 + a @ b.T) ** 14)
    found = polynomial.fit(X, Y).flow(new, 1e9)
    assert found.dtype == torch.float32
    assert_close(found.double(), polynomial.fit(X.double(), Y).flow(new.double(), 1e9), rtol=1e-6)
    with pytest.raises(ValueError, match="resolves means"):
        polynomial.fit(X, Y.float()).flow(new, 1e9)
