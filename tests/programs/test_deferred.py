"""Entries that are computed row by row, all together, are those that each line would have computed for itself."""

import pytest
import torch

from cases import randn
from mupi.programs import Program, entries, entrywise, mean, over_n
from mupi.programs.deferred import AT_ONCE, Deferred, Products, applied, settle, times_entries


def test_rows_together_are_lines_one_by_one():
    n = int(1.5 * AT_ONCE**0.5)  # more than one block, the last one short
    d, x, m = randn(n, 3), randn(n, 3, seed=1), randn(n, n, seed=2)
    g = Products(d, x)
    mean_ = applied(lambda g, m: 0.9 * m + 0.1 * g, g, m)
    square = applied(torch.square, g)
    quotient = applied(lambda m, v, eps: m / (v.sqrt() + eps), mean_, square, 0.1)
    settle([mean_, quotient])
    expected = 0.9 * m + 0.1 * (d @ x.T)
    torch.testing.assert_close(mean_.value, expected)
    torch.testing.assert_close(quotient.value, expected / ((d @ x.T).abs() + 0.1))
    assert square.value is None and quotient.finite and quotient.arguments == ()
    # What is known is not computed again, and what is not deferred is computed at once.
    again = applied(torch.neg, quotient)
    settle([again])
    torch.testing.assert_close(again.value, -quotient.value)
    assert not isinstance(applied(torch.neg, m), Deferred)


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_entries_with_some_columns_are_those_of_each_group_with_the_next(groups):
    n, size = 5 * 2 * 36, 360 // groups
    d, x, y = randn(n, 3), randn(n, 3, seed=1), randn(n, 2, seed=2)
    q = applied(torch.sign, Products(d, x, size))
    settle([q])
    assert q.value.shape == (n, size)
    group = torch.arange(n) // size
    mask = group[None, :] == (group[:, None] + 1) % groups
    whole = torch.sign(d @ x.T) * mask / size
    torch.testing.assert_close(times_entries(q.value, y, False), whole @ y)
    torch.testing.assert_close(times_entries(q.value, y, True), whole.T @ y)


def test_entries_that_are_not_finite_are_refused_by_their_line():
    p = Program()
    W, d, x = p.matrix("W"), p.vector("d"), p.vector("x")
    q = entrywise(lambda g: (1e200 * g).pow(2), entries(d, x), name="blown")
    mean((W + 1.0 * over_n(q)) @ x)
    with pytest.raises(ValueError, match=r"over_n\(E5\)` must be finite; got NaN or infinity"):
        p.limit(samples=50)
