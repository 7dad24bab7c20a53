"""Predicted exponents: the theorems on perceptrons, for every abc-parametrization, and rules of their own."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mupi
from mupi.architecture import Dense, Scale, Width, chain, describe, named
from mupi.mup import AdamLike, SGDLike
from mupi.mup.predict import predict
from mupi.parametrization import Parametrization, adam_rates

n = Width()
HALVES = st.integers(-3, 3).map(lambda k: Fraction(k, 2))


def perceptron(p, φ=None):
    """With multipliers n^(−a)."""
    outs = [n] * p.depth + [3]
    parts = []
    for layer, (out, a) in enumerate(zip(outs, p.a, strict=True), 1):
        parts += [named(f"w{layer}", Dense(out, bias=False)), named(f"h{layer}", Scale(1.0, float(-a)))]
        parts += [φ or mupi.ReLU()] if layer <= p.depth else []
    return describe((5,), chain(*parts))


def predicted(p, steps, family=SGDLike, φ=None):
    arch = perceptron(p, φ)
    stds = {f"w{i}.weight": -b for i, b in enumerate(p.b, 1)}
    rates = (p.c,) * (p.depth + 1) if family is SGDLike else adam_rates(p).weights
    return predict(arch, stds, {f"w{i}.weight": -c for i, c in enumerate(rates, 1)}, family(), steps)


@st.composite
def parametrizations(draw):
    depth = draw(st.integers(1, 4))
    exponents = st.lists(HALVES, min_size=depth + 1, max_size=depth + 1)
    return draw(exponents), draw(exponents), draw(HALVES)


@st.composite
def stable_at_the_start(draw):
    depth = draw(st.integers(1, 4))
    a = draw(st.lists(HALVES, min_size=depth + 1, max_size=depth + 1))
    sums = [0] + [Fraction(1, 2)] * (depth - 1) + [draw(st.sampled_from([Fraction(1, 2), 1, Fraction(3, 2)]))]
    return a, [s - x for s, x in zip(sums, a, strict=True)], draw(HALVES)


def assert_scalings(p, prediction, expected):
    found = prediction.by_name
    for i, (start, change) in enumerate(zip(expected.hidden_init, expected.hidden_change, strict=True), 1):
        assert found["|h|", f"h{i}"].last == start
        assert found["|Δh|", f"h{i}"].last == change
    assert found["|f|", f"h{p.depth + 1}"].last == expected.output_init
    assert found["|Δf|", f"h{p.depth + 1}"].last == expected.output_change


@settings(max_examples=12, deadline=None)
@given(parametrizations())
def test_sgds_first_step_is_that_of_the_theory_for_every_parametrization(p):
    p = Parametrization(*p)
    assert_scalings(p, predicted(p, 1), p.scalings(1))


@settings(max_examples=12, deadline=None)
@given(stable_at_the_start(), st.integers(1, 4))
def test_sgds_steps_are_those_of_the_theory_where_it_is_stable(p, steps):
    p = Parametrization(*p)
    if p.stable or steps == 1:
        assert_scalings(p, predicted(p, steps), p.scalings(steps))


@settings(max_examples=12, deadline=None)
@given(stable_at_the_start())
def test_the_verdict_is_the_theorems(p):
    p = Parametrization(*p)
    prediction = predicted(p, 4)
    assert (not prediction.growing) == p.stable
    if p.stable:
        idle = {f"w{i}" for i, maximal in enumerate(p.maximally_updated, 1) if not maximal}
        assert {effect.node for effect in prediction.lazy} == idle


@settings(max_examples=8, deadline=None)
@given(stable_at_the_start())
def test_adam_at_its_rates_moves_as_sgd_does(p):
    """`adam_rates` is made so: each layer's own update moves what SGD's does."""
    p = Parametrization(*p)
    if not p.stable:
        return
    sgd, adam = (predicted(p, 3, family) for family in (SGDLike, AdamLike))
    # From the second step on SGD's gradients may be larger, if the readout starts smaller than its update.
    for one, other in zip(sgd.effects, adam.effects, strict=True):
        assert one.own == other.own
    assert adam.growing == () and {e.node for e in sgd.lazy} == {e.node for e in adam.lazy}


@pytest.mark.parametrize("φ", [mupi.Tanh(), mupi.Erf(), mupi.GELU()], ids=str)
def test_of_what_is_stable_the_activation_does_not_matter(φ):
    for p in (Parametrization.mup(3), Parametrization.ntk(3), Parametrization.standard(3, 1)):
        assert_scalings(p, predicted(p, 3, SGDLike, φ), p.scalings(3))
