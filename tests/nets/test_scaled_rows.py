import pytest
import torch

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi.nets.banded import banded_product, banded_transpose_product
from mupi.nets.scaled_rows import PIECE, ScaledRows


@pytest.mark.parametrize("columns", [3, PIECE, PIECE + 1, 3 * PIECE])
def test_rows_are_what_was_added_times_what_they_were_shrunk_by(columns):
    rows = ScaledRows(5, columns, torch.float64)
    ids = torch.tensor([1, 3, 1])
    change = randn(3, rows.padded(columns))
    change[:, columns:] = 0
    rows.add(ids, change)
    expected = torch.zeros(5, rows.padded(columns)).double().index_add_(0, ids, change)
    rows.shrink(torch.tensor([3, 3, 0]), torch.log(torch.tensor([0.5, 0.25, 0.1]).double()))
    expected[3] *= 0.125
    assert_close(rows.dense(), expected[:, :columns])
    stored, scale = rows.read(torch.tensor([3, 1]), columns)
    assert_close(stored * scale[:, None], expected[[3, 1]])


def test_only_the_pieces_asked_for_are_moved():
    rows = ScaledRows(2, 3 * PIECE)
    rows.table.fill_(1)
    stored, _ = rows.read(torch.tensor([1]), PIECE + 1)
    assert stored.shape == (1, 2 * PIECE) == (1, rows.padded(PIECE + 1))
    rows.add(torch.tensor([1]), torch.ones(1, PIECE))
    assert_equal(rows.dense()[1], torch.tensor([2.0] * PIECE + [1.0] * 2 * PIECE))


def test_small_scales_are_multiplied_in_before_they_underflow():
    rows = ScaledRows(2, 4, torch.float32)
    for _ in range(30):
        rows.add(torch.tensor([0, 1]), torch.ones(2, 4) / rows.read(torch.tensor([0, 1]), 4)[1][:, None])
        rows.shrink(torch.tensor([0]), torch.tensor([-5.0]).double())
        rows.renormalise()
    assert_close(rows.dense()[0], torch.full((4,), 1 / (torch.e**5 - 1)))
    assert_close(rows.dense()[1], torch.full((4,), 30.0))


def test_rounding_to_bfloat16_is_right_on_average_where_rounding_to_nearest_is_not():
    rows = ScaledRows(400, 256, torch.bfloat16)
    ids = torch.arange(400)
    rows.add(ids, torch.ones(400, 256))
    for _ in range(10):
        rows.add(ids, torch.full((400, 256), 1e-3))
    assert rows.dense().mean().item() == pytest.approx(1.01, abs=5e-4)
    assert (torch.ones(1).bfloat16() + 1e-3).item() == 1  # what would be lost
    assert rows.dense().unique().numel() > 1


@pytest.mark.parametrize("rows, first, extra", [(1, 0, 0), (16, 3, 3), (50, 0, 3), (50, 3, 0), (37, 2, 1)])
def test_banded_products_are_dense_products(rows, first, extra):
    reach, places = 3, first + rows + extra
    band = randn(rows, places)
    distance = torch.arange(places) - (first + torch.arange(rows)[:, None])
    band[distance.abs() > reach] = 0
    x, y = randn(places, 5, seed=1), randn(rows, 5, seed=2)
    assert_close(banded_product(band, x, first, reach), band @ x)
    assert_close(banded_transpose_product(band, y, first, reach), band.T @ y)


def test_a_generator_draws_the_rounding_so_that_it_repeats():
    a, b = (ScaledRows(3, 8, torch.bfloat16) for _ in range(2))
    for rows in (a, b):
        rows.add(torch.tensor([0, 2]), torch.rand(2, 8, generator=seeded(1)))
    assert_equal(a.table, b.table)
