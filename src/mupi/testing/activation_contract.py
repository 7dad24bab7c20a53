"""What an `Activation` has to be, each promise a test."""

import copy
import warnings
from functools import partial

import torch
from torch import Tensor

from mupi.activations import Activation
from mupi.testing.closeness import assert_close, assert_equal, tolerance
from mupi.testing.moments import hermite_coefficient, moments

# Variances and correlation; roots of the variances are exact, so that the covariance at ±1 is too.
PAIRS = (
    (1.0, -1.0, 1.0),
    (1.0, -0.999, 0.25),
    (0.0625, -0.5, 1.0),
    (1.0, 0.0, 0.25),
    (0.25, 0.3, 1.0),
    (1.0, 0.9, 1.0),
    (0.25, 0.9999, 1.0),
    (1.0, 1.0, 1.0),
    (0.25, 1.0, 0.0625),
)
MILD = tuple(pair for pair in PAIRS if abs(pair[1]) < 0.99)
PARALLEL = tuple((v, q, v) for v in (0.25, 1.0) for q in (-1.0, 1.0))
SCALES = (0.1, 1.0, 1.7)
DEGREES = range(7)


class ActivationContract:
    """Tests of one activation: write `activation` in a subclass, and the exceptions below where it has them.

    The oracles are float64 quadratures of φ and of autograd's φ' alone. They are exact for a φ that is smooth but for
    a kink at 0; for others override `moments` and `coefficient`.

    Attributes:
        smooth: Whether φ is twice differentiable.
        coordinatewise: Whether φ is a function of single numbers: for `mupi.NormalizedPolynomial`, which is none, the
            expectations of derivatives are taken by their definition, the derivatives of E φφ.
        rtol: Relative error of the expectations in float64: that of a quadrature, where there is no closed form.
    """

    smooth: bool = True
    coordinatewise: bool = True
    rtol: float = 1e-10

    def activation(self) -> Activation:
        """The activation to test."""
        raise NotImplementedError

    def function(self, x: Tensor, scale: float) -> Tensor:
        """φ at coordinates x of a Gaussian layer with a standard deviation, in float64."""
        return self.activation()(x)

    def moments(self, var_u: float, cov: float, var_v: float) -> tuple[float, ...]:
        """The oracle: E φ(u)φ(v), and for a function of single numbers E φ'(u)φ'(v) and E φ(u)φ''(v)."""
        if self.coordinatewise:
            return moments(self.activation(), var_u, cov, var_v)
        u, v = (partial(self.function, scale=var**0.5) for var in (var_u, var_v))
        return moments(u, var_u, cov, var_v, v)[:1]

    def coefficient(self, degree: int, scale: float) -> float:
        """The oracle: E φ(sz) h_k(z)."""
        return hermite_coefficient(partial(self.function, scale=scale), degree, scale)

    # Values

    def test_moments_are_the_gaussian_expectations(self):
        """`dual`, `dual_11` and `dual_02` in float64, at correlations from −1 to 1."""
        self._compare(PAIRS, {torch.float64: self.rtol})

    def test_moments_of_parallel_vectors_are_one_dimensional(self):
        """E φ(u)φ(±u) is no rounding error of an arccos, in either dtype."""
        self._compare(PARALLEL, {torch.float64: self.rtol, torch.float32: 1e-5})

    def test_moments_in_float32_are_those_in_float64(self):
        """To what the correlation's rounding costs a kink: 6e-8/√(1 − q²)."""
        φ, exact = self.activation(), _triples(PAIRS)
        for moment in (φ.dual, φ.dual_11, φ.dual_02):
            value, expected = moment(*(t.float() for t in exact)), moment(*exact)
            assert value.dtype == torch.float32
            assert_close(value, expected, rtol=3e-5, scale=max(1.0, float(expected.abs().max())))

    def test_coefficients_are_the_gaussian_expectations(self):
        """`hermite`, and `has_degree` says which of them vanish."""
        φ, scales = self.activation(), torch.tensor(SCALES, dtype=torch.float64)
        for degree in DEGREES:
            expected = torch.tensor([self.coefficient(degree, s) for s in SCALES], dtype=torch.float64)
            assert_close(φ.hermite(degree, scales), expected, rtol=self.rtol, scale=1.0)
            if expected.abs().max() > 1e-9:
                assert φ.has_degree(degree), f"φ has degree {degree}"

    def test_the_mehler_sum_of_the_coefficients_is_the_dual(self):
        """E φφ = Σ_k c_k(s) c_k(s') q^k, which ties `hermite` and `dual` together."""
        φ = self.activation()
        var_u, cosine, var_v = _columns(((0.25, 0.5, 0.16), (0.36, -0.4, 0.25), (0.09, 0.0, 0.25), (0.25, 0.6, 0.0)))
        # 0.6^60 = 5e-14 bounds what is left out.
        total = sum(φ.hermite(k, var_u.sqrt()) * φ.hermite(k, var_v.sqrt()) * cosine**k for k in range(60))
        assert isinstance(total, Tensor)
        assert_close(total, φ.dual(var_u, cosine * (var_u * var_v).sqrt(), var_v), rtol=self.rtol, scale=1.0)

    def test_moments_are_symmetric(self):
        """In u and v; a kernel has to be."""
        φ, (var_u, cov, var_v) = self.activation(), _triples(PAIRS)
        for moment in (φ.dual, φ.dual_11):
            assert_close(moment(var_u, cov, var_v), moment(var_v, cov, var_u), rtol=self.rtol, scale=1.0)

    # Derivatives

    def test_the_gradient_of_the_dual_is_its_finite_difference(self):
        """Price's theorem, by central differences of step 1e-5 with an error of about 1e-10."""
        φ, inputs, h = self.activation(), _triples(MILD), 1e-5
        gradients = self._gradients(inputs)
        for i, gradient in enumerate(gradients):
            up, down = ([t + sign * h * (i == j) for j, t in enumerate(inputs)] for sign in (1, -1))
            assert_close(gradient, (φ.dual(*up) - φ.dual(*down)) / (2 * h), rtol=1e-8, scale=1.0)

    def test_dual_gradient_is_the_two_moments(self):
        """`dual_gradient` shares work, and gives the same."""
        φ, triples = self.activation(), _triples(PAIRS)
        for value, expected in zip(φ.dual_gradient(*triples), (φ.dual_11, φ.dual_02), strict=True):
            assert_close(value, expected(*triples), scale=1.0)

    def test_coefficients_are_differentiable_in_the_scale(self):
        """To a central difference."""
        φ, h = self.activation(), 1e-5
        s = torch.tensor([0.2, 0.9, 1.4], dtype=torch.float64, requires_grad=True)
        for degree in DEGREES:
            (gradient,) = torch.autograd.grad((φ.hermite(degree, s) + 0 * s).sum(), s)  # an absent one may be constant
            difference = (φ.hermite(degree, s + h) - φ.hermite(degree, s - h)) / (2 * h)
            assert_close(gradient, difference, rtol=1e-8, scale=1.0)

    def test_the_dual_of_a_smooth_activation_can_be_differentiated_twice(self):
        """Away from the edges, by `torch.autograd.gradgradcheck`."""
        if self.smooth:
            inputs = [t.requires_grad_() for t in _triples(((0.7, -0.6, 0.3),))]
            assert torch.autograd.gradgradcheck(self.activation().dual, inputs, fast_mode=True)

    def test_transforms_give_what_loops_do(self):
        """`torch.func.vmap`, `grad` and `jvp` of the dual."""
        φ, triples = self.activation(), _triples(MILD)
        assert_close(torch.func.vmap(φ.dual)(*triples), φ.dual(*triples), scale=1.0)
        gradients = torch.func.vmap(torch.func.grad(φ.dual, (0, 1, 2)))(*triples)
        for value, expected in zip(gradients, self._gradients(triples), strict=True):
            assert_close(value, expected, scale=1.0)
        tangents = tuple(torch.full_like(t, 0.5**i) for i, t in enumerate(triples))
        along = sum(t * gradient for t, gradient in zip(tangents, self._gradients(triples), strict=True))
        assert isinstance(along, Tensor)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, when it is first asked for a jvp
            assert_close(torch.func.jvp(φ.dual, triples, tangents)[1], along, scale=1.0)

    # Edges

    def test_a_zero_variance_gives_products_of_means(self):
        """E φ(u)φ(0) = φ(0) E φ(u); all derivatives are finite there, in either dtype."""
        φ = self.activation()
        mean = {0.0: float(self.function(torch.zeros(1, dtype=torch.float64), 0.0)), 1.0: self.coefficient(0, 1.0)}
        for dtype in (torch.float32, torch.float64):
            for var_u, var_v in ((0.0, 1.0), (1.0, 0.0), (0.0, 0.0)):
                triple = [torch.tensor([t], dtype=dtype) for t in (var_u, 0.0, var_v)]
                expected = torch.tensor([mean[var_u] * mean[var_v]], dtype=dtype)
                rtol = max(self.rtol, tolerance(dtype))
                assert_close(φ.dual(*triple), expected, rtol=rtol, scale=1.0)
                assert all(torch.isfinite(moment(*triple)).all() for moment in (φ.dual_11, φ.dual_02))

    def test_value_and_gradient_are_finite_at_zero_vectors(self):
        """As a layer meets them: the gradient through the vectors, too."""
        φ, generator = self.activation(), torch.Generator().manual_seed(0)
        for dtype in (torch.float32, torch.float64):
            b = torch.randn(1, 4, dtype=torch.float64, generator=generator).to(dtype)
            for first, second in ((b, 0 * b), (0 * b, b), (0 * b, 0 * b)):
                g = second.clone().requires_grad_()
                value = φ.dual(first.square().sum(-1), (first * g).sum(-1), g.square().sum(-1))
                (gradient,) = torch.autograd.grad(value.sum(), g)
                assert torch.isfinite(value).all() and torch.isfinite(gradient).all()

    # Tensors

    def test_moments_and_their_gradients_broadcast_like_their_arguments(self):
        """Three variances by two, in float32."""
        φ, var_u, var_v = self.activation(), torch.tensor([0.5, 1.0, 2.0]), torch.tensor([[0.7], [1.5]])
        cov = 0.3 * (var_u * var_v).sqrt()
        for moment in (φ.dual, φ.dual_11, φ.dual_02):
            value = moment(var_u, cov, var_v)
            alone = moment(*(t.reshape(-1) for t in torch.broadcast_tensors(var_u, cov, var_v)))
            assert value.shape == (2, 3)
            assert_close(value.reshape(-1), alone, scale=1.0)
        inputs = [t.requires_grad_() for t in (var_u, cov, var_v)]
        gradients = torch.autograd.grad(φ.dual(*inputs).sum(), inputs)
        assert [g.shape for g in gradients] == [t.shape for t in inputs]

    def test_shapes_and_dtypes_are_kept_and_empty_tensors_taken(self):
        """Of moments, coefficients and φ itself."""
        φ = self.activation()
        for dtype in (torch.float32, torch.float64):
            for shape in ((2,), (0,), (0, 3), (2, 0)):
                x = torch.ones(shape, dtype=dtype)
                results = [moment(x, 0.5 * x, x) for moment in (φ.dual, φ.dual_11, φ.dual_02)]
                results += [φ.hermite(2, x), *([φ(x)] if self.coordinatewise else [])]
                assert {(r.shape, r.dtype) for r in results} == {(torch.Size(shape), dtype)}

    def test_a_copy_is_the_same_activation(self):
        """Activations are values: equal copies, of equal hash, giving the same bits."""
        φ, triples = self.activation(), _triples(PAIRS)
        twin = copy.deepcopy(φ)
        assert twin == φ and hash(twin) == hash(φ)
        assert_equal(twin.dual(*triples), φ.dual(*triples))

    def _compare(self, pairs: tuple[tuple[float, float, float], ...], rtol: dict[torch.dtype, float]) -> None:
        """The library's moments with the oracle's, to a tolerance for each dtype."""
        φ, exact = self.activation(), _triples(pairs)
        rows = [self.moments(*(float(t) for t in triple)) for triple in zip(*exact, strict=True)]
        found = torch.tensor(rows, dtype=torch.float64).unbind(1)
        for moment, expected in zip((φ.dual, φ.dual_11, φ.dual_02), found, strict=False):
            for dtype, allowed in rtol.items():
                value = moment(*(t.to(dtype) for t in exact))
                assert_close(value, expected, rtol=allowed, scale=max(1.0, float(expected.abs().max())))

    def _gradients(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        leaves = [t.clone().requires_grad_() for t in inputs]
        return torch.autograd.grad(self.activation().dual(*leaves).sum(), leaves)


def _columns(pairs: tuple[tuple[float, float, float], ...]) -> tuple[Tensor, ...]:
    return torch.tensor(pairs, dtype=torch.float64).unbind(1)


def _triples(pairs: tuple[tuple[float, float, float], ...]) -> tuple[Tensor, ...]:
    """The pairs as tensors var_u, cov, var_v."""
    var_u, cosine, var_v = _columns(pairs)
    return var_u, cosine * (var_u * var_v).sqrt(), var_v
