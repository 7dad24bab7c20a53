"""`GPyTorchKernel`: GPyTorch's own tests of kernels, equality with mupi's regression, derivatives, what is refused."""

import pickle
import re
import warnings
from functools import partial

import numpy as np
import pytest
import torch

from assertions import assert_close
from cases import randn
from mupi import NNGP, NTK, ConvNTK, EmpiricalNTK, Erf, KernelRegression, ReLU, trace
from mupi.architecture import zoo
from mupi.kernels.likelihood import log_likelihood_and_gradient

with warnings.catch_warnings():  # GPyTorch scripts some functions by `torch.jit.script`, which warns
    warnings.simplefilter("ignore")
    import gpytorch
    from gpytorch.kernels import RBFKernel, ScaleKernel
    from gpytorch.priors import LogNormalPrior
    from gpytorch.test.base_kernel_test_case import BaseKernelTestCase

from mupi.interfaces import GPyTorchKernel

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

KERNEL = NTK(2, ReLU(), 1.3, 0.2)
POSITIVE = gpytorch.constraints.Positive()


def in_double(kernel):
    """With the σ's that it starts at, which parameters in float32 have rounded."""
    kernel.double()
    for name, shared in kernel._learned.items():
        setattr(kernel, name, shared.start)
    if kernel.has_lengthscale:
        kernel.lengthscale = torch.ones(1, dtype=torch.float64)
    return kernel


class TestAsGPyTorchTestsKernels(BaseKernelTestCase):
    def create_kernel_no_ard(self, **kwargs):
        return GPyTorchKernel(NNGP(2, ReLU(), 1.3, 0.2), **kwargs)

    def create_kernel_ard(self, num_dims, **kwargs):
        return GPyTorchKernel(KERNEL, ard_num_dims=num_dims, **kwargs)

    def assertAllClose(self, a, b, rtol=1e-4, atol=1e-5):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)

    def assertEqual(self, a, b):
        assert a == b

    def assertNotEqual(self, a, b):
        assert a != b

    def assertRaisesRegex(self, error, message):
        return pytest.raises(error, match=message)


class Model(gpytorch.models.ExactGP):
    def __init__(self, x, y, kernel):
        super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood(noise_constraint=POSITIVE).to(x))
        self.mean, self.covariance = gpytorch.means.ZeroMean(), in_double(kernel)

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean(x), self.covariance(x))


def data():
    x = randn(30, 4)
    return x, x[:, 0].sin() + 0.1 * randn(30, seed=1), randn(7, 4, seed=2)


@pytest.mark.parametrize(
    "kernel", [KERNEL, NNGP(2, Erf(), 1.3, 0.2), zoo.perceptron(4, 1, 2).ntk(1.3, 0.2)], ids=["ntk", "nngp", "arch"]
)
def test_a_model_is_mupis_regression(kernel):
    x, y, new = data()
    regression = KernelRegression(kernel, 1e-2).fit(x, y)
    mean, cov = regression.predict(new, return_cov=True)
    model = Model(x, y, GPyTorchKernel(kernel))
    model.likelihood.noise = torch.tensor(regression.regularizer, dtype=torch.float64)
    likelihood = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    value = len(x) * likelihood(model(x), y)
    assert abs(float(value.detach()) - regression.log_marginal_likelihood()) < 1e-10 * abs(float(value.detach()))
    value.backward()
    family = partial(type(kernel), 2, ReLU()) if isinstance(kernel, NTK) else None
    if family is not None:
        numbers = dict(sigma_w=1.3, sigma_b=0.2)
        _, expected = log_likelihood_and_gradient(family, x, y, 1e-2, **numbers)
        # There λ is relative to the mean diagonal, and moves with σ; here it is held.
        per = expected["ridge"]
        for name, number in numbers.items():
            raw = getattr(model.covariance, f"raw_{name}")
            step = 1e-5
            moved = [family(**{**numbers, name: number * np.exp(s * step)}).diagonal(x).mean() for s in (1, -1)]
            slope = float(moved[0].log() - moved[1].log()) / (2 * step)
            by_log = float(raw.grad) * number / float(torch.sigmoid(raw.detach()))
            assert_close(torch.tensor(by_log + per * slope), torch.tensor(expected[name]), rtol=1e-6, scale=1.0)
    model.eval()
    with torch.no_grad():
        out = model(new)
        assert_close(out.mean, mean, rtol=1e-10)
        assert_close(out.covariance_matrix, cov, rtol=1e-10, scale=float(cov.abs().max()))


@pytest.mark.slow
def test_fitting_raises_the_likelihood_as_far_as_mupi_does():
    from mupi.kernels import maximize_likelihood

    x, y = (t[:12] for t in data()[:2])
    chosen = maximize_likelihood(partial(NTK, 1, ReLU()), x, y, sigma_w=1.3, sigma_b=0.2)
    kernel = NTK(1, ReLU(), 1.3, 0.2)
    model = Model(x, y, GPyTorchKernel(kernel))
    model.likelihood.noise = 1e-2 * float(kernel.diagonal(x).mean())
    likelihood = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=30, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = -len(x) * likelihood(model(x), y)
        value.backward()
        return value

    optimizer.step(loss)
    assert -float(loss().detach()) > chosen.log_likelihood - 1e-3
    assert float(model.covariance.sigma_w.detach()) != pytest.approx(1.3, rel=1e-2)


@pytest.mark.parametrize(
    ("kernel", "sigmas"),
    [(KERNEL, "role"), (ConvNTK((1, 2, 2), 1, Erf(), True, 3, 1.3, 0.2), "weight")],
    ids=["ntk", "conv"],
)
def test_derivatives_by_inputs_sigmas_and_length_scales(kernel, sigmas):
    k = in_double(GPyTorchKernel(kernel, sigmas=sigmas, ard_num_dims=4))
    x, y = randn(3, 4).requires_grad_(), randn(2, 4, seed=1).requires_grad_()
    assert_close(k(x, y).to_dense(), kernel(x, y), rtol=1e-12)
    assert_close(k(x, diag=True), kernel.diagonal(x), rtol=1e-12)
    values = tuple(k.parameters())

    def of(x, y, *_):
        return k.forward(x, y)  # which reads its parameters, moved in place

    assert len(values) == 1 + len(k._learned)
    assert torch.autograd.gradcheck(of, (x, y, *values), fast_mode=True)


def test_pairs_of_different_inputs_on_the_diagonal():
    k, x, y = GPyTorchKernel(KERNEL).double(), randn(2, 5, 3), randn(2, 5, 3, seed=1)
    whole = k(x, y).to_dense()
    assert_close(k(x, y, diag=True), whole.diagonal(dim1=-1, dim2=-2).contiguous(), rtol=1e-12)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()  # equal, and two: each has its own derivative
    k(a, b, diag=True).sum().backward()
    assert_close(a.grad, b.grad, rtol=1e-12)
    (own,) = torch.autograd.grad(k(a, diag=True).sum(), a)
    assert_close(own, a.grad + b.grad, rtol=1e-9)


def test_a_batch_of_kernels_is_each_by_itself():
    k = in_double(GPyTorchKernel(KERNEL, batch_shape=torch.Size([2, 1]), sigmas="role"))
    k.sigma_w_hidden = torch.tensor([[1.0], [1.7]], dtype=torch.float64)
    x, y = randn(3, 5, 4), randn(2, 1, 6, 4, seed=1)
    out = k(x, y).to_dense()
    assert out.shape == (2, 3, 5, 6)
    for i in range(2):
        one = in_double(GPyTorchKernel(KERNEL, sigmas="role"))
        one.sigma_w_hidden = (1.0, 1.7)[i]
        assert_close(out[i], one(x, y[i]).to_dense(), rtol=1e-12)
        assert_close(k(x, diag=True)[i], one(x, diag=True), rtol=1e-12)
    loss = out.square().sum()
    loss.backward()
    assert k.raw_sigma_w_hidden.grad.shape == (2, 1) and bool((k.raw_sigma_w_hidden.grad != 0).all())


def test_sums_products_state_and_priors():
    k = GPyTorchKernel(KERNEL, sigma_w_prior=LogNormalPrior(0.3, 0.5), sigmas="role")
    assert [name for name, *_ in k.named_priors()] == [f"sigma_w_{r}_prior" for r in ("input", "hidden", "readout")]
    for name, _, prior, closure, setting in k.named_priors():
        setting(k, torch.tensor(1.1))
        assert float(closure(k).detach()) == pytest.approx(1.1, rel=1e-6), name
        assert bool(torch.isfinite(prior.log_prob(closure(k))))
    k.initialize(sigma_b_input=0.4)
    assert float(k.sigma_b_input.detach()) == pytest.approx(0.4, rel=1e-6)
    other = GPyTorchKernel(KERNEL, sigmas="role", sigma_w_prior=LogNormalPrior(0.3, 0.5))
    other.load_state_dict(k.state_dict())
    x = randn(5, 3, dtype=torch.float32)
    K = k(x).to_dense()
    assert K.dtype == torch.float32
    for same in (other, pickle.loads(pickle.dumps(k))):
        assert_close(same(x).to_dense(), K)
    r = RBFKernel()
    assert_close((ScaleKernel(k) + k * r)(x).to_dense(), ScaleKernel(k)(x).to_dense() + K * r(x).to_dense())
    assert not k.is_stationary


def test_a_module_of_ones_own_and_held_sigmas():
    def make(width):
        return torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.GELU(), torch.nn.Linear(width, 1))

    arch = trace(make, torch.zeros(2, 3))
    k, x = GPyTorchKernel(arch.nngp(1.2), sigmas="weight"), randn(5, 3)
    assert [name for name, _ in k.named_parameters()] == ["raw_sigma_w_0", "raw_sigma_w_2"]
    assert_close(in_double(k)(x).to_dense(), arch.nngp(1.2)(x), rtol=1e-12)
    with pytest.raises(AttributeError, match="`GPyTorchKernel` learns sigma_w_0, sigma_w_2, and no sigma_b"):
        k.sigma_b = 0.3


REFUSED = {
    "kernel": (lambda: GPyTorchKernel(EmpiricalNTK(torch.nn.Linear(2, 1))), r"\(kernel=.*mupi.NNGP.*EmpiricalNTK"),
    "class": (lambda: GPyTorchKernel(NTK), r"\(kernel=.*got the class NTK"),
    "each": (lambda: GPyTorchKernel(zoo.gpt(5, 4, 1, 2).ntk(output="each")), r'one output a sample.*output="mean"'),
    "tokens": (lambda: GPyTorchKernel(zoo.gpt(5, 4, 1, 2).ntk(output="mean"), ard_num_dims=4), r"\(ard_num_dims="),
    "sigmas": (lambda: GPyTorchKernel(KERNEL, sigmas="layer"), r"\(sigmas=\.\.\.\)` must be one of"),
    "set": (lambda: setattr(GPyTorchKernel(KERNEL), "sigma_w", -1.0), r"GPyTorchKernel\.sigma_w` must be positive"),
    "nan": (lambda: setattr(GPyTorchKernel(KERNEL), "sigma_b", float("nan")), r"sigma_b` must be positive"),
    "integers": (lambda: GPyTorchKernel(KERNEL)(torch.ones(3, 2).long()), r"\(x1\)` must be of a floating.*int64"),
    "bools": (lambda: GPyTorchKernel(KERNEL)(np.ones((3, 2), bool)), r"\(x1\)` must be of a floating dtype.*bool"),
    "text": (lambda: GPyTorchKernel(KERNEL)(np.array([["a"]])), r"must be numbers"),
    "list": (lambda: GPyTorchKernel(KERNEL)([[1.0]]), r"\(x1\)` must be a tensor or an array; got list"),
    "infinite": (lambda: GPyTorchKernel(KERNEL)(torch.full((2, 2), torch.nan)), r"\(x1\)` must be finite"),
    "axes": (lambda: GPyTorchKernel(KERNEL)(torch.tensor(1.0)), r"\(x1\)` must be of shape"),
    "width": (
        lambda: GPyTorchKernel(ConvNTK((1, 2, 2), 1, ReLU()))(torch.ones(2, 5)).to_dense(),
        r"`ConvNTK\(x1\)` must be of shape \(n, 1, 2, 2\) or \(n, 4\); got shape \(2, 5\)",
    ),
    "coordinates": (lambda: GPyTorchKernel(KERNEL)(torch.ones(2, 5), last_dim_is_batch=True), r"\(last_dim_is_batch="),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_refused_in_one_line(case, unchecked):
    attempt, message = REFUSED[case]
    with pytest.raises(ValueError) as caught:
        attempt()
    assert "\n" not in str(caught.value)
    assert re.search(message, str(caught.value)), caught.value


def test_numpy_is_converted():
    k, x = GPyTorchKernel(KERNEL), randn(3, 2, dtype=torch.float32)
    assert_close(k(x.numpy()).to_dense(), k(x).to_dense())
    assert_close(k(x.numpy(), x.double().numpy()).to_dense(), k(x).to_dense())
