"""The forecast from narrow widths, against curves of which the law is known."""

import math

import numpy as np
import pytest

from mupi.mup.width_law import WidthLaw

TIMES = np.linspace(0.05, 1, 12)
WIDTHS = (32, 64, 128)


def runs(width, seeds, generator, curvature=0.0, noise=0.3):
    """Losses of which the mean is e^{−2t} + 2t/n + curvature·t/n², with smooth noise that falls as n^{−1/2}."""
    smooth = generator.standard_normal((seeds, 3)) @ np.stack([TIMES, TIMES**0.5, TIMES**2])
    rough = 0.07 * generator.standard_normal((seeds, len(TIMES)))
    mean = np.exp(-2 * TIMES) + 2 * TIMES / width + curvature * TIMES / width**2
    return mean + noise * (smooth + rough) / width**0.5


def law_of(generator, seeds=4, width=1024.0, widths=WIDTHS, **known):
    return WidthLaw(widths, np.stack([runs(n, seeds, generator, **known) for n in widths]), width)


def test_without_noise_the_limit_the_slope_and_the_wide_mean_are_exact():
    law = law_of(np.random.default_rng(0), noise=0.0)
    np.testing.assert_allclose(law.limit, np.exp(-2 * TIMES), rtol=1e-9)
    np.testing.assert_allclose(law.slope, 2 * TIMES, rtol=1e-9)
    np.testing.assert_allclose(law.mean, np.exp(-2 * TIMES) + 2 * TIMES / 1024, rtol=1e-9)
    np.testing.assert_allclose(law.half_width, 0, atol=1e-8)
    assert law.fits


def test_the_band_holds_runs_of_the_width_as_often_as_it_says():
    generator, held = np.random.default_rng(1), []
    for _ in range(40):
        law = law_of(generator)
        held += [law.covers(curve) for curve in runs(1024, 4, generator)]
    # Above .9, since a spread that falls faster than n^{−1/2} is not believed.
    assert 0.88 <= np.mean(held) <= 0.985


def test_at_infinite_width_the_band_is_of_the_limit():
    generator, held = np.random.default_rng(2), []
    for _ in range(40):
        law = law_of(generator, width=math.inf)
        np.testing.assert_array_equal(law.mean, law.limit)
        held.append(law.covers(np.exp(-2 * TIMES)))
    assert np.mean(held) >= 0.88


def test_the_band_is_narrower_for_more_seeds_and_wider_for_wilder_ones():
    few, many = (law_of(np.random.default_rng(3), seeds=seeds).half_width.mean() for seeds in (3, 24))
    assert many < 0.7 * few
    quiet, wild = (law_of(np.random.default_rng(3), noise=noise).half_width.mean() for noise in (0.1, 0.4))
    assert wild == pytest.approx(4 * quiet, rel=0.2)


def test_widths_that_are_too_small_are_said_to_be_and_widen_the_band():
    told, held = [], []
    for seed in range(10):
        law = law_of(np.random.default_rng(seed), widths=(4, 8, 16), curvature=40, noise=0.05)
        told.append(not law.fits and "do not follow" in law.explain())
        held.append(law.covers(np.exp(-2 * TIMES) + 2 * TIMES / 1024 + 40 * TIMES / 1024**2))
        alone = law.half_width**2
        assert (alone >= np.square(law_of(np.random.default_rng(seed), widths=(4, 8, 16), noise=0.05).half_width)).all()
    assert np.mean(told) >= 0.9
    assert np.mean(held) >= 0.9


def test_a_misfit_is_rarely_seen_where_there_is_none():
    generator = np.random.default_rng(4)
    assert np.mean([law_of(generator).fits for _ in range(40)]) >= 0.85


def test_the_spread_is_not_made_to_fall_faster_than_it_is_seen_to():
    generator = np.random.default_rng(5)
    steady = np.stack([np.exp(-TIMES) + 0.1 * generator.standard_normal((8, 1)) for _ in WIDTHS])
    law = WidthLaw(WIDTHS, steady, 1024)
    assert law.spread_exponent < 0.3
    assert law.half_width.min() > 0.05
    assert law_of(generator, seeds=32).spread_exponent == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(widths=(32, 64)), r"`WidthLaw\(widths=\.\.\.\)`.*three"),
        (dict(widths=(64, 32, 128)), r"`WidthLaw\(widths=\.\.\.\)`.*increasing"),
        (dict(width=128), r"`WidthLaw\(width=\.\.\.\)`.*above"),
        (dict(width=math.nan), r"`WidthLaw\(width=\.\.\.\)`.*above"),
        (dict(losses=np.ones((3, 1, 5))), r"`WidthLaw\(losses=\.\.\.\)`.*seeds ≥ 2"),
        (dict(losses=np.full((3, 2, 5), np.inf)), r"`WidthLaw\(losses=\.\.\.\)`.*diverged run at width 32"),
        (dict(level=1.0), r"`WidthLaw\(level=\.\.\.\)`"),
    ],
)
def test_what_cannot_be_extrapolated_is_refused(change, said):
    right = dict(widths=WIDTHS, losses=np.ones((3, 2, 5)), width=1024)
    with pytest.raises(ValueError, match=said):
        WidthLaw(**{**right, **change})


def test_constant_losses_are_forecast_without_a_band():
    law = WidthLaw(WIDTHS, np.ones((3, 2, 5)), 1024)
    np.testing.assert_allclose(law.mean, 1)
    assert law.fits and (law.half_width < 1e-9).all()
