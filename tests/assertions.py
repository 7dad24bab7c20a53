"""The comparisons that every test uses, of the package's own."""

from mupi.testing.closeness import assert_close, assert_equal, fitted_slope, root_mean_square, tolerance

__all__ = ["assert_close", "assert_equal", "fitted_slope", "root_mean_square", "tolerance"]
