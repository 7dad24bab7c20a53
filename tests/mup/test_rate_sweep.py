"""The best rate of a sweep, its drift and what moving it costs, against curves of which both are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupi.mup.best_rate import best_octave, loss_at
from mupi.mup.rate_sweep import RateSweep, TransferVerdict

OCTAVES = np.arange(-12.0, -3)


def basin(octaves, best):
    """A log loss over octaves as of networks: it falls slowly, and rises steeply."""
    d = octaves - best
    return np.log(0.3 + 0.25 * np.log1p(np.exp(-1.2 * d - 1)) + 0.02 * np.exp(1.3 * d))


def sweep(*curves, noise=0.0, seeds=3, generator=None, **bars):
    """Log losses at the rates of `OCTAVES`, one a width, with noise that is half a seed's own at all rates."""
    draw = (generator or np.random.default_rng(0)).standard_normal
    losses = [
        c[:, None] + noise * np.sqrt(0.5) * (draw((1, seeds)) + draw((len(OCTAVES), seeds)))
        for c in map(np.array, curves)
    ]
    widths = tuple(32 * 4**i for i in range(len(curves)))
    return RateSweep(widths, tuple(2**OCTAVES), np.exp(np.stack(losses)), **bars)


@settings(deadline=None, max_examples=15)
@given(st.floats(-8.5, -6.5), st.floats(0.01, 0.15), st.floats(-3, 3))
def test_the_minimum_of_a_parabola_is_found_and_the_loss_there(best, bend, level):
    # Steeper ones reach twice the least loss within two octaves, and are cut off there.
    curve = level + bend * (OCTAVES - best) ** 2
    assert best_octave(OCTAVES, curve) == pytest.approx(best, abs=0.01)
    assert loss_at(OCTAVES, curve, best) == pytest.approx(level, abs=1e-9)


@settings(deadline=None, max_examples=15)
@given(st.floats(-8, -7), st.floats(-8, -7))
def test_a_curve_that_moves_moves_its_minimum_whatever_its_shape(one, other):
    assert sweep(basin(OCTAVES, one), basin(OCTAVES, other)).drift.value == pytest.approx(other - one, abs=0.06)


def test_the_cost_of_a_moved_rate_is_the_ratio_of_the_two_losses():
    found = sweep(0.1 * (OCTAVES + 8) ** 2, 0.1 * (OCTAVES + 6.5) ** 2)
    assert found.drift.value == pytest.approx(1.5, abs=0.01)
    assert found.excess.value == pytest.approx(math.expm1(0.1 * 1.5**2), rel=0.02)


@pytest.mark.parametrize(
    ("moved", "bars", "verdict"),
    [
        (0.0, {}, TransferVerdict.TRANSFERS),
        (0.15, {}, TransferVerdict.TRANSFERS),
        (0.5, {}, TransferVerdict.FAILS),
        (-2.0, {}, TransferVerdict.FAILS),
        (0.5, {"drift_bar": 1.0}, TransferVerdict.TRANSFERS),
        (2.0, {"drift_bar": 9.0}, TransferVerdict.FAILS),
        (0.25, {}, TransferVerdict.TRANSFERS),
        (4.4, {}, TransferVerdict.WIDEN),
        (-5.0, {}, TransferVerdict.WIDEN),
    ],
)
def test_the_verdict_is_one_of_four_by_both_bars(moved, bars, verdict):
    found = sweep(0.1 * (OCTAVES + 8) ** 2, 0.1 * (OCTAVES + 8 - moved) ** 2, **bars)
    assert found.verdict is verdict
    assert found.passed == (verdict is TransferVerdict.TRANSFERS)
    assert found.explain().startswith(verdict.value)


def test_a_cost_that_may_be_beyond_its_bar_is_no_verdict():
    curves = 0.1 * (OCTAVES + 8) ** 2, 0.1 * (OCTAVES + 7.8) ** 2
    assert sweep(*curves).verdict is TransferVerdict.TRANSFERS
    found = sweep(*curves, noise=0.3)
    assert found.excess.low < 0.05 < found.excess.high
    assert found.verdict is TransferVerdict.UNDECIDED and "more seeds" in found.explain()


def test_a_flat_valley_transfers_wherever_its_minimum_seems_to_be():
    flat = 0.001 * (OCTAVES + 7.5) ** 4
    found = sweep(*(flat + tilt * (OCTAVES + 7.5) for tilt in (0.002, -0.002)), noise=0.005, seeds=4)
    assert found.drift.value > 0.5 and found.drift.low < 0.25
    assert found.passed


def test_a_moved_rate_that_is_better_than_the_vertex_costs_nothing():
    # The wide curve has a sharp minimum at the moved rate, which no parabola through its neighbors has.
    sharp = np.array([0.5, 0.45, 0.4, 0.33, 0.0, 0.62, 1.0, 1.4, 1.8])
    found = sweep(0.1 * (OCTAVES + 8) ** 2, sharp, noise=0.001, drift_bar=1.0)
    assert found.excess.high < -0.05
    assert found.verdict is TransferVerdict.TRANSFERS


def test_one_seed_has_no_interval_and_no_verdict():
    found = sweep(basin(OCTAVES, -8), basin(OCTAVES, -8), seeds=1)
    assert math.isnan(found.drift.low)
    assert found.verdict is TransferVerdict.UNDECIDED


def test_an_edge_is_named_with_the_side_to_widen():
    found = sweep(basin(OCTAVES, -8), basin(OCTAVES, -1))
    assert found.at_edge == {128: "higher"}
    assert "higher ones at width 128" in found.explain()
    nowhere = sweep(basin(OCTAVES, -8), np.full(len(OCTAVES), np.inf))
    assert nowhere.at_edge == {128: "lower"}
    assert math.isnan(nowhere.best_rates[1]) and nowhere.verdict is TransferVerdict.WIDEN


def test_a_best_rate_beside_divergence_is_known_to_a_step():
    curve = basin(OCTAVES, -8)
    wall = np.where(OCTAVES > -9, np.inf, curve)
    assert sweep(curve, curve).drift.high < 0.05
    found = sweep(curve, wall)
    assert found.drift.high - found.drift.value > 0.5
    assert found.excess.value == math.inf and found.verdict is TransferVerdict.FAILS
    assert "costs divergence" in found.explain()


def test_a_single_diverged_seed_is_divergence():
    losses = np.exp(np.stack([basin(OCTAVES, -8)] * 2))[..., None].repeat(3, 2)
    losses[1, -3, 1] = np.nan
    found = RateSweep((32, 128), tuple(2**OCTAVES), losses)
    assert found.log_losses[1, -3] == np.inf and np.isfinite(found.log_losses[1, -2])
    # The steep side of the basin has a point less in the fit.
    assert abs(found.drift.value) < 0.15


def test_seeds_without_noise_leave_what_the_grid_cannot_tell():
    assert sweep(basin(OCTAVES, -8), basin(OCTAVES, -8)).drift.high == pytest.approx(0.03)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds):
    generator = np.random.default_rng(seeds)
    drift, held, repeats = 0.6, 0, 200
    for _ in range(repeats):
        found = sweep(basin(OCTAVES, -8), basin(OCTAVES, -8 + drift), noise=0.04, seeds=seeds, generator=generator)
        held += found.drift.low <= drift <= found.drift.high
    # 95 % of 200 is 190 ± 3.
    assert 182 <= held <= 199


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(widths=(32,)), r"`RateSweep\(widths=\.\.\.\)`.*two widths"),
        (dict(widths=(64, 32)), r"`RateSweep\(widths=\.\.\.\)`.*increasing"),
        (dict(rates=(0.1, 0.2)), r"`RateSweep\(rates=\.\.\.\)`.*three"),
        (dict(rates=(0.1, 0.4, 0.2)), r"`RateSweep\(rates=\.\.\.\)`.*increasing"),
        (dict(rates=(0.0, 0.1, 0.2)), r"`RateSweep\(rates=\.\.\.\)`.*positive"),
        (dict(losses=np.ones((3, 2, 2))), r"`RateSweep\(losses=\.\.\.\)`.*shape"),
        (dict(losses=np.zeros((2, 3, 2))), r"`RateSweep\(losses=\.\.\.\)`.*positive"),
        (dict(drift_bar=-1.0), r"`RateSweep\(drift_bar=\.\.\.\)`"),
    ],
)
def test_what_says_nothing_is_refused(change, said):
    right = dict(widths=(32, 64), rates=(0.1, 0.2, 0.4), losses=np.ones((2, 3, 2)))
    with pytest.raises(Exception, match=said):
        RateSweep(**{**right, **change})
