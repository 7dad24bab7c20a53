"""Intervals cover what they are to cover, on simulated seeds, images and widths; exponents are those of power laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mupi.statistics import (
    Gain,
    PowerLaw,
    exponent,
    leave_one_out,
    number,
    of_mean_of_many,
    spread,
    student,
    weighted_exponent,
)

WIDTHS = np.array([64, 128, 256, 512])
NUMBERS = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8)


def share(inside: list[bool]) -> float:
    """Of simulations whose interval holds the truth; within ±0.02 of 0.95 in 600 of them, at two standard errors."""
    return float(np.mean(inside))


@given(NUMBERS)
@settings(max_examples=20, deadline=None)
def test_leaving_seeds_out_of_a_mean_is_students_interval(values: list[float]):
    usual = student(len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    assert leave_one_out(lambda some: float(np.mean(some)), values) == pytest.approx(usual, rel=1e-6, abs=1e-9)


def test_students_factor_is_that_of_the_tables():
    assert [student(freedom) for freedom in (1, 3, 10)] == pytest.approx([12.706, 3.182, 2.228], abs=1e-3)
    assert student(10**6) == pytest.approx(1.96, abs=1e-3)


@pytest.mark.parametrize("seeds", [3, 8])
def test_leaving_seeds_out_of_a_slope_covers_it(seeds: int):
    """Of seeds whose measurements at all widths depend on each other, which a fit to all of them takes for many."""
    rng, inside, naive = np.random.default_rng(0), [], []
    for _ in range(600):
        slopes = -0.5 + 0.1 * rng.standard_normal((seeds, 1))
        sizes = WIDTHS**slopes * np.exp(0.01 * rng.standard_normal((seeds, len(WIDTHS))))

        def slope(some: list) -> float:
            return exponent(WIDTHS, np.exp(np.mean(np.log(some), axis=0)))[0]

        inside.append(abs(slope(list(sizes)) + 0.5) <= leave_one_out(slope, list(sizes)))
        law = PowerLaw("", "", tuple(WIDTHS.tolist()), tuple(map(tuple, sizes.T.tolist())))
        naive.append(abs(law.slope + 0.5) <= law.half_width)
    assert 0.92 <= share(inside) <= 0.98
    assert seeds < 8 or share(naive) != pytest.approx(0.95, abs=0.02), "seeds that depend on each other are not many"


def test_one_seed_has_no_interval():
    assert math.isnan(leave_one_out(np.mean, [1.0]))


def test_the_interval_of_a_mean_of_many_covers_it():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(600):
        x = rng.exponential(size=400)
        inside.append(abs(x.mean() - 1) <= of_mean_of_many(x.std(ddof=1), 400))
    assert 0.92 <= share(inside) <= 0.98
    assert of_mean_of_many(0.0, 1) == math.inf


def test_an_exponent_and_its_error_are_those_of_a_power_law():
    assert exponent(WIDTHS, 3 * WIDTHS**-0.5)[0] == pytest.approx(-0.5)
    assert weighted_exponent(WIDTHS, 3 * WIDTHS**-1.0, np.array([0.1, 0.2, 0.1, 1.0]))[0] == pytest.approx(-1)
    # With equal weights they are the same.
    sizes, equal = np.array([3.0, 2.5, 1.0, 0.7]), np.full(4, 0.1)
    assert weighted_exponent(WIDTHS, sizes, equal) == pytest.approx(exponent(WIDTHS, sizes, equal))


@pytest.mark.parametrize("fit", [exponent, weighted_exponent])
def test_the_standard_error_of_an_exponent_covers_it(fit):
    rng, errors = np.random.default_rng(1), np.array([0.01, 0.02, 0.05, 0.1])
    inside = []
    for _ in range(600):
        found, error = fit(WIDTHS, WIDTHS**-0.5 * np.exp(errors * rng.standard_normal(4)), errors)
        inside.append(abs(found + 0.5) <= 1.96 * error)
    assert 0.92 <= share(inside) <= 0.98


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_interval_of_a_gain_covers_it_over_images(seeds: int):
    """Answers to the same images depend on each other over methods and seeds: what is hard for one is for all."""
    rng, inside, gain = np.random.default_rng(2), [], 0.1
    for _ in range(400):
        hard = rng.random(300)
        better, worse = ([(hard < p) ^ (rng.random(300) < 0.1) for _ in range(seeds)] for p in (0.6 + gain / 0.8, 0.6))
        found = Gain.of(better, worse)
        inside.append(abs(found.mean - gain) <= found.over_images)
    assert 0.92 <= share(inside) <= 0.98


def test_the_interval_of_a_gain_covers_it_over_seeds():
    rng, inside = np.random.default_rng(3), []
    for _ in range(600):
        answers = [rng.random(200) < 0.5 + 0.05 * rng.standard_normal() for _ in range(4)]
        found = Gain.of(answers, [np.zeros(200)])
        assert found.over_seeds is not None
        inside.append(abs(found.mean - 0.5) <= found.over_seeds)
    assert 0.92 <= share(inside) <= 0.98
    assert Gain.of(answers[:1], [np.zeros(200)]).over_seeds is None


def test_spreads_and_numbers_are_said_as_they_are():
    assert [spread([]), spread([1.0]), spread([1.0, 3.0]), spread([1000.0, 1002.0], 1)] == [
        "", "1.00", "2.00 ± 1.41", "1,001.0 ± 1.4"
    ]  # fmt: skip
    assert [number(x) for x in (1.5, math.nan, math.inf)] == [1.5, None, None]
