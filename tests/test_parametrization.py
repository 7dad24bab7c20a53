"""The classification of abc-parametrizations, as Yang & Hu (2021) state it."""

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupi.parametrization import Parametrization, conditions, distance

HALF = Fraction(1, 2)
HALVES = [Fraction(k, 2) for k in range(-4, 5)]

# No deadline: a busy machine is not a failure.
patient = settings(deadline=None, max_examples=60)

rationals = st.integers(-6, 6).map(lambda k: Fraction(k, 2)) | st.fractions(-2, 2, max_denominator=6)


Exponents = tuple[tuple[Fraction, ...], tuple[Fraction, ...], Fraction]

# Strategies draw exponents, and the tests make parametrizations of them: the run-time type checker, which uses
# random numbers, must not run while Hypothesis draws.


@st.composite
def anything(draw: st.DrawFn) -> Exponents:
    """Any exponents, of depth 1 to 4."""
    n = draw(st.integers(2, 5))
    exponents = st.lists(rationals, min_size=n, max_size=n).map(tuple)
    return draw(exponents), draw(exponents), draw(rationals)


@st.composite
def stable_at_init(draw: st.DrawFn) -> Exponents:
    """Exponents with the right sizes at the start, where the interesting verdicts are."""
    hidden = draw(st.lists(rationals, min_size=1, max_size=4))
    a = (*hidden, draw(rationals))
    last = HALF + draw(st.integers(0, 4)) * Fraction(1, 4)
    sizes = (Fraction(0), *[HALF] * (len(hidden) - 1), last)
    return a, tuple(s - x for s, x in zip(sizes, a, strict=True)), draw(rationals)


def verdicts(p: Parametrization) -> tuple:
    """Everything that is said of a network rather than of its exponents."""
    said = (p.r, p.layer_r, p.stable_at_init, p.stable, p.nontrivial, p.learns_features, p.kernel_regime)
    more = (p.initial_gp_limit, p.maximally_updated, p.readout_maximally_initialized, p.is_maximal, p.is_mup)
    return (*said, *more, p.verdict, p.scalings(1), p.scalings(2), [c.holds for c in conditions(p)])


@pytest.mark.parametrize(
    ("p", "a", "b", "c", "r"),
    [
        (Parametrization.standard(3, c=1), (0, 0, 0, 0), (0, HALF, HALF, HALF), 1, HALF),
        (Parametrization.standard(3), (0, 0, 0, 0), (0, HALF, HALF, HALF), 0, -1),
        (Parametrization.ntk(3), (0, HALF, HALF, HALF), (0, 0, 0, 0), 0, HALF),
        (Parametrization.mean_field(1), (0, 1), (0, 0), -1, 0),
        (Parametrization.mup(3), (-HALF, 0, 0, HALF), (HALF, HALF, HALF, HALF), 0, 0),
    ],
)
def test_named_parametrizations_are_those_of_the_papers_table(p, a, b, c, r):
    assert (p.a, p.b, p.c, p.r) == (a, b, c, r)


@pytest.mark.parametrize("depth", [1, 2, 3, 7])
def test_named_parametrizations_have_the_papers_verdicts(depth: int):
    for p in (Parametrization.standard(depth, c=1), Parametrization.ntk(depth)):
        assert p.stable and p.nontrivial and p.kernel_regime and p.initial_gp_limit and not p.learns_features
    p = Parametrization.mup(depth)
    assert p.stable and p.learns_features and p.is_maximal and not p.kernel_regime and not p.initial_gp_limit
    assert Parametrization.modified_standard(depth) == p
    sp = Parametrization.standard(depth)
    assert not sp.stable and not sp.learns_features and not sp.kernel_regime


def test_mean_field_is_mup_at_one_hidden_layer():
    assert Parametrization.mean_field().is_mup
    assert Parametrization.mean_field().shift(-HALF) == Parametrization.mup(1)
    with pytest.raises(ValueError, match=r"`mean_field\(depth=...\)` must be 1; got 2"):
        Parametrization.mean_field(2)


@patient
@given(anything() | stable_at_init(), rationals)
def test_the_symmetry_leaves_every_verdict_unchanged(exponents: Exponents, theta: Fraction):
    p = Parametrization(*exponents)
    assert verdicts(p.shift(theta)) == verdicts(p)
    assert p.equivalent(p.shift(theta))
    assert p.shift(theta).nearest_feature_learning() == p.nearest_feature_learning().shift(theta)


@patient
@given(stable_at_init())
def test_dynamical_dichotomy(exponents: Exponents):
    """Stable and nontrivial: exactly one of feature learning and kernel regime; otherwise neither."""
    p = Parametrization(*exponents)
    assert p.learns_features + p.kernel_regime == (p.stable and p.nontrivial)
    if p.learns_features:
        assert not p.initial_gp_limit  # f_0 is 0 in every feature-learning limit


@patient
@given(stable_at_init())
def test_in_the_limit_of_a_stable_one_nothing_grows_and_features_move_iff_r_is_0(exponents: Exponents):
    p = Parametrization(*exponents)
    s = p.scalings()
    sizes = (*s.hidden_init, *s.hidden_change, s.output_init, s.output_change, s.feature_kernel_change)
    if p.stable:
        assert max(sizes) <= 0
        assert s.hidden_change[-1] == -p.r
        assert (s.feature_kernel_change == 0) == (p.r == 0)
        assert (s.output_change == 0) == p.nontrivial
    assert p.stable == all(condition.holds for condition in conditions(p))


def test_mup_is_the_only_maximal_one_on_a_grid_of_one_hidden_layer():
    grid = [Fraction(k, 2) for k in range(-2, 3)]
    everything = [Parametrization((a1, a2), (b1, b2), c) for a1, a2, b1, b2, c in product(grid, repeat=5)]
    maximal = [p for p in everything if p.is_maximal]
    assert maximal == [p for p in everything if p.is_mup]
    assert len(maximal) == 3  # as many of its shifts as the grid holds


def test_mup_is_the_only_maximal_one_on_a_grid_of_two_hidden_layers():
    """b_1 and b_2 as stability at the start, without which none is maximal, wants them."""
    grid = [Fraction(k, 2) for k in range(-2, 3)]
    everything = [
        Parametrization((a1, a2, a3), (-a1, HALF - a2, b3), c) for a1, a2, a3, b3, c in product(grid, repeat=5)
    ]
    maximal = [p for p in everything if p.is_maximal]
    assert maximal == [p for p in everything if p.is_mup]
    assert len(maximal) == 3


@patient
@given(stable_at_init())
def test_mup_is_the_only_maximal_one(exponents: Exponents):
    p = Parametrization(*exponents)
    assert p.is_maximal == p.is_mup


@patient
@given(anything() | stable_at_init())
def test_nearest_feature_learning_learns_features_and_is_a_fixed_point(exponents: Exponents):
    p = Parametrization(*exponents)
    q = p.nearest_feature_learning()
    assert q.learns_features
    assert q.nearest_feature_learning() == q
    assert (q == p) == p.learns_features


def feature_learners_on_a_grid(depth: int, grid: list[Fraction]) -> list[Parametrization]:
    """All of them with entries on the grid; b is free only at the readout, since a+b is given elsewhere."""
    found = []
    for *a, b_last, c in product(grid, repeat=depth + 3):
        b = (-a[0], *(HALF - x for x in a[1:-1]), b_last)
        p = Parametrization(tuple(a), b, c)
        if p.learns_features:
            found.append(p)
    return found


@pytest.mark.parametrize(("depth", "grid"), [(1, HALVES), (2, HALVES[2:-1])])
def test_no_feature_learner_on_a_grid_is_nearer_than_the_nearest(depth: int, grid: list[Fraction]):
    learners = feature_learners_on_a_grid(depth, grid)
    starts = [Parametrization.standard(depth), Parametrization.standard(depth, c=1), Parametrization.ntk(depth)]
    few = [Fraction(-1, 2), Fraction(0), Fraction(1)]
    starts += [Parametrization(x[: depth + 1], x[depth + 1 : -1], x[-1]) for x in product(few, repeat=2 * depth + 3)][
        :: 3 if depth == 1 else 31
    ]
    for p in starts:
        assert distance(p, p.nearest_feature_learning()) <= min(distance(p, q) for q in learners)


@pytest.mark.parametrize("depth", [2, 3])
def test_nearest_to_sp_divides_the_logits_by_the_root_of_the_width(depth: int):
    """Half of the paper's simple modification; the other half makes the first layer's update maximal too."""
    p, q = Parametrization.standard(depth), Parametrization.standard(depth).nearest_feature_learning()
    assert (q.a, q.b, q.c) == ((*p.a[:-1], HALF), p.b, p.c)
    assert q.maximally_updated == (False, *[True] * depth)


def test_nearest_to_ntk_is_mup():
    assert Parametrization.ntk(3).nearest_feature_learning().is_mup


def test_predicted_scalings_of_the_named_ones():
    """|h|, |Δh|, |f|, |Δf| and the kernel, by hand."""
    s = Parametrization.standard(3, c=1).scalings()
    assert s.hidden_change == (-3 * HALF, -HALF, -HALF)
    assert (s.output_init, s.output_change, s.feature_kernel_change) == (0, 0, -1)
    s = Parametrization.ntk(3).scalings()
    assert s.hidden_change == (-HALF, -HALF, -HALF)
    assert (s.output_init, s.output_change, s.feature_kernel_change) == (0, 0, -1)
    s = Parametrization.mup(3).scalings()
    assert (s.hidden_init, s.hidden_change) == ((0, 0, 0), (0, 0, 0))
    assert (s.output_init, s.output_change, s.feature_kernel_change) == (-HALF, 0, 0)
    s = Parametrization.standard(2).scalings()
    assert s.hidden_change == (-HALF, HALF)
    assert s.output_change == 1


def test_a_readout_that_starts_smaller_than_its_update_moves_features_from_the_second_step_on():
    p = Parametrization((-HALF, 0, HALF), (HALF, HALF, 3 * HALF), 0)
    assert p.learns_features
    assert p.scalings(steps=1).hidden_change == (-1, -1)
    assert p.scalings(steps=2).hidden_change == (0, 0)


@patient
@given(stable_at_init())
def test_adam_moves_every_layer_as_much_as_sgd(exponents: Exponents):
    """n^{−a_l − c_l + 1(l > 1)} = n^{−r_l}, and μP's are Tensor Programs V's: 0, 1, 1 without multipliers."""
    p = Parametrization(*exponents)
    rates = p.adam_rates.weights
    for layer, (a, c, r) in enumerate(zip(p.a[:-1], rates[:-1], p.layer_r, strict=True)):
        assert -a - c + (layer > 0) == -r
    assert -p.a[-1] - rates[-1] + 1 == 1 - p.readout_update
    μP = Parametrization.mup(p.depth)
    assert tuple(a + c for a, c in zip(μP.a, μP.adam_rates.weights, strict=True)) == (0, *[1] * p.depth)


def test_explain_names_what_fails_and_what_to_change():
    text = Parametrization.standard(3).explain()
    assert text.startswith("Unstable: training blows up with width")
    assert "✗ layer 3, update: r_3 = -1, must be ≥ 0" in text
    assert "✓ layer 3, start: a + b = 1/2, must be 1/2" in text
    assert "To learn features change a_4: 0 → 1/2; in all by 1/2. For every weight" in text
    assert "(this is μP)" in Parametrization.ntk(2).explain()
    assert Parametrization.mup(2).explain().endswith("it learns features.")
    assert "W^1 is not maximally updated" in Parametrization.standard(2).nearest_feature_learning().explain()


def test_exponents_are_exact_and_wrong_ones_are_refused():
    assert Parametrization((0, 0.1), ("1/3", 0), 1).a[1] == Fraction(1, 10)
    with pytest.raises(ValueError, match=r"`Parametrization\(b=...\)` must be as long as a, 2; got 3"):
        Parametrization((0, 0), (0, 0, 0), 0)
    with pytest.raises(ValueError, match="at least two exponents"):
        Parametrization((0,), (0,), 0)
    with pytest.raises(ValueError, match="a rational number; got 'x'"):
        Parametrization(("x", 0), (0, 0), 0)
    with pytest.raises(ValueError, match="a rational number; got nan"):
        Parametrization((0, 0), (0, 0), float("nan"))
    with pytest.raises(ValueError, match=r"`mup\(depth=...\)` must be an integer ≥ 1; got 0"):
        Parametrization.mup(0)
