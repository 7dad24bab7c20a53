"""The comparisons themselves: a helper that never fails would hide every bug."""

import pytest
import torch

from assertions import assert_close, assert_equal, fitted_slope, root_mean_square, tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_assert_close_fails_just_beyond_the_tolerance_of_the_dtype(dtype):
    expected = torch.tensor([1.0, -4.0], dtype=dtype)
    step = torch.tensor([4 * tolerance(dtype), 0.0], dtype=dtype)
    assert_close(expected + 0.9 * step, expected)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(expected + 1.1 * step, expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_assert_close_refuses_what_is_not_finite(bad):
    with pytest.raises(AssertionError, match="not finite"):
        assert_close(torch.tensor([bad]), torch.tensor([bad]))


def test_assert_close_does_not_broadcast():
    with pytest.raises(AssertionError, match="shape"):
        assert_close(torch.ones(3), torch.ones(1))


def test_assert_close_to_zero_asks_for_zero_unless_told_the_scale():
    assert_close(torch.tensor([1e-9]), torch.zeros(1), scale=1.0)
    with pytest.raises(AssertionError, match="off by"):
        assert_close(torch.tensor([1e-9]), torch.zeros(1))


def test_assert_equal_sees_one_bit():
    x = torch.ones(1)
    assert_equal(x, torch.ones(1))
    with pytest.raises(AssertionError, match="differ"):
        assert_equal(x, torch.nextafter(x, 2 * x))


def test_fitted_slope_is_the_exponent():
    assert fitted_slope([10, 100, 1000], [3 * n**-0.5 for n in (10, 100, 1000)]) == pytest.approx(-0.5)


def test_root_mean_square_of_3_and_4():
    assert root_mean_square([3, 4]) == pytest.approx(12.5**0.5)
