"""The tangent of a gain is random, h(p)h(p') at a coordinate h: behind φ it is E ψ(h)ψ(g), ψ(x) = xφ'(x)."""

import pytest
import torch

from assertions import assert_close
from cases import randn, seeded
from mupi import Abs, Cos, Erf, Identity, NormalizedPolynomial, Polynomial, ReLU, Sin, Tanh
from mupi.activations import GELU, as_activation
from mupi.activations.scaled import Scaled
from mupi.architecture import (
    Activate,
    Add,
    AveragePool,
    Dense,
    Dropout,
    Multiply,
    Normalize,
    Scale,
    Select,
    Width,
    chain,
    describe,
    named,
    residual,
)
from mupi.architecture.kernel.gains import times_slope

n = Width()
GAIN = Normalize(gain=True)
OFF = {"first": 0.0, "out": 0.0, "hidden": 0.0}


def of_gains(network, x, y=None):
    """The part of the NTK that a gain named "norm" makes; σ_w = 1."""
    arch = describe(tuple(x.shape[1:]), chain(named("first", Dense(n, False)), network, named("out", Dense(1, False))))
    return arch.ntk(1.0, weight_lr=OFF)(x, y)


def coordinates(x, draws=400_000):
    """Normalized Gaussian coordinates for each sample, with their antitheses."""
    W = torch.randn(draws, x.shape[1], dtype=torch.float64, generator=seeded(3))
    h = torch.cat([W, -W]) @ x.T
    return h / (x.square().sum(1) ** 0.5)


SMOOTH = [Erf(), GELU(), Tanh(), Identity(), Polynomial((0.3, -1.0, 0.5)), as_activation(torch.nn.SiLU())]


@pytest.mark.parametrize("φ", [ReLU(), Abs(), Scaled(Erf(), 0.7, 2.0), *SMOOTH], ids=str)
def test_it_is_the_expectation_over_coordinates(φ):
    x = randn(3, 4)
    h = coordinates(x).requires_grad_()
    (slopes,) = torch.autograd.grad(φ(h).sum(), h)
    ψ = (h * slopes).detach()
    assert_close(of_gains(chain(named("norm", GAIN), φ), x), ψ.T @ ψ / len(ψ), rtol=0.02)


@pytest.mark.parametrize("φ", [*SMOOTH, Abs(), NormalizedPolynomial((0.2, 0.8, 0.5, 0.3))], ids=str)
def test_xs_slope_is_x_times_the_slope(φ):
    x = torch.linspace(-2, 2, 8, dtype=torch.float64)
    x = x / x.square().mean().sqrt()  # whose size a normalized polynomial leaves
    if isinstance(φ, NormalizedPolynomial):
        h = [x**0, x, (x**2 - 1) / 2**0.5, (x**3 - 3 * x) / 6**0.5]
        slopes = sum(a * k**0.5 * h[k - 1] for k, a in enumerate(φ.coefficients) if k)
    else:
        slopes = torch.func.grad(lambda x: φ(x).sum())(x)
    assert_close(times_slope(φ)(x), x * slopes, rtol=1e-12)


def test_maps_that_keep_it_whole_are_part_of_the_value():
    x = randn(3, 2, 4)
    norm = named("norm", GAIN)
    got = of_gains(chain(norm, Dropout(0.1), Scale(-0.5), Select(1), Erf()), x)
    assert_close(got, of_gains(chain(norm, Scale(0.5), Erf()), x[:, 1]))
    # A mean over positions, of which γ moves each term alike: as two gains of one value.
    mean = of_gains(chain(norm, AveragePool(), Identity()), x)
    W = randn(200_000, 4, seed=5)
    h = torch.einsum("kd,npd->knp", W, x) / x.norm(dim=-1)
    h = h.mean(-1)
    assert_close(mean, h.T @ h / len(h), rtol=0.03)
    twice = of_gains(chain(norm, named("other", GAIN), Erf()), x[:, 0])
    assert_close(twice, 2 * of_gains(chain(norm, Erf()), x[:, 0]))


def test_beside_the_gaussian_itself():
    """h + φ(h) is one function of h, in one sum or in two uses of one weight that reads them."""
    x = randn(3, 4)
    h = coordinates(x)
    ψ = h + torch.relu(h)
    assert_close(of_gains(chain(named("norm", GAIN), residual(ReLU())), x), ψ.T @ ψ / len(ψ), rtol=0.02)


def post_norm(x):
    """φ of a normalized value and another."""
    return chain(residual(named("hidden", Dense(n))), Erf())(named("norm", GAIN)(x))


def test_what_has_no_closed_form_is_refused_unless_the_gain_is_held():
    arch = describe((4,), chain(Dense(n), post_norm, Dense(1)))
    with pytest.raises(ValueError, match=r"Erf.*NTK, to which the gain of norm adds.*weight_lr=\{'norm': 0\.0\}"):
        arch.ntk()
    arch.nngp()
    x = randn(2, 4)
    plain = describe((4,), chain(Dense(n), Normalize(), residual(Dense(n)), Erf(), Dense(1)))
    assert_close(arch.ntk(weight_lr={"norm": 0.0})(x), plain.ntk()(x))
    for φ, message in ((as_activation(torch.nn.functional.hardtanh), "jumps"), (Cos(), "wider"), (Sin(), "wider")):
        with pytest.raises(ValueError, match=rf"a gain before it adds.*{message}.*weight_lr"):
            of_gains(chain(named("norm", GAIN), φ), x)


def test_a_gate_of_normalized_values():
    x = randn(2, 4)

    def gate(h):
        return Multiply()(chain(named("norm", GAIN), Activate(Erf()))(h), named("hidden", Dense(n, False))(h))

    alone = of_gains(chain(named("norm", GAIN), Erf()), x)
    both = x @ x.T / 4
    assert_close(of_gains(gate, x), alone * both)


def test_the_same_shift_in_two_places_is_refused_unless_it_is_held():
    """f = w·(h + β + g + β) has the tangent 4 of β, not 1 + 1."""
    x = randn(3, 4)

    def network(x):
        h, g = (named(name, Dense(n, False))(x) for name in ("first", "second"))
        norm = Normalize(shift=True)
        return named("out", Dense(1, False))(Add()(named("norm", norm)(h), g.then(norm, name="again", weights="norm")))

    arch = describe((4,), network)
    with pytest.raises(ValueError, match=r"LayerNorm.*again.*NTK beside.*the same parameters.*rates of 0"):
        arch.ntk()
    gram = x @ x.T / x.norm(dim=1)[:, None] / x.norm(dim=1)
    assert_close(arch.ntk(1.0, bias_lr=0.0)(x), 4 * gram)
