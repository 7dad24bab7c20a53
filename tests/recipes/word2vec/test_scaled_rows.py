import math

import pytest
import torch

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi.recipes.word2vec.banded import banded_product
from mupi.recipes.word2vec.scaled_rows import PIECE, ScaledRows, sums_of_repeats


def everything(rows: ScaledRows, ids: torch.Tensor) -> torch.Tensor:
    """Where whole rows are."""
    return rows.locate(ids, rows.columns)


@pytest.mark.parametrize("columns", [3, PIECE, PIECE + 1, 3 * PIECE])
def test_rows_are_what_was_added_times_what_they_were_shrunk_by(columns):
    rows = ScaledRows(5, columns, torch.float64)
    ids = torch.tensor([1, 3, 1])
    change = randn(3, rows.padded(columns))
    change[:, columns:] = 0
    rows.add(everything(rows, ids), change)
    expected = torch.zeros(5, rows.padded(columns)).double().index_add_(0, ids, change)
    rows.shrink(torch.tensor([[3, 3, 0]]), torch.tensor([[1, 2, 4]]), math.log(0.5))
    assert_close(rows.dense(), (expected * torch.tensor([2**-4, 1, 1, 2**-3, 1]).double()[:, None])[:, :columns])


def test_shrinking_gives_the_scales_before_each_step():
    rows = ScaledRows(4, 2, torch.float64)
    ids, times = torch.tensor([[0, 1, 0], [2, 0, 1], [0, 0, 2]]), torch.tensor([[1, 2, 3], [0, 5, 1], [1, 1, 1]])
    exponent, expected = torch.zeros(4).long(), []
    for step in range(3):
        expected.append(exponent[ids[step]])
        exponent.index_add_(0, ids[step], times[step])
    assert_close(rows.shrink(ids, times, math.log(0.9)), 0.9 ** torch.stack(expected).double())
    assert_close(rows.log_scale[:4], exponent * math.log(0.9))
    assert_close(rows.shrink(ids[:1], times[:1], math.log(0.9))[0], 0.9 ** exponent[ids[0]].double())


def test_only_the_pieces_asked_for_are_moved():
    rows = ScaledRows(2, 3 * PIECE)
    rows.table.fill_(1)
    ids = torch.tensor([1])
    assert rows.read(rows.locate(ids, PIECE + 1), PIECE + 1).shape == (1, 2 * PIECE) == (1, rows.padded(PIECE + 1))
    rows.add(rows.locate(ids, PIECE), torch.ones(1, PIECE))
    assert_equal(rows.dense()[1], torch.tensor([2.0] * PIECE + [1.0] * 2 * PIECE))


def test_small_scales_are_multiplied_in_before_they_underflow():
    rows = ScaledRows(2, 4, torch.float32)
    ids = torch.tensor([[0, 1]])
    for _ in range(30):
        # What is added counts after the step's shrinking as much as before it.
        scale = rows.shrink(ids, torch.tensor([[5, 0]]), -1.0)
        rows.add(ids[0], torch.ones(2, 4) / scale[0][:, None])
        rows.renormalize()
    assert_close(rows.dense()[0], torch.full((4,), 1 / (torch.e**5 - 1)))
    assert_close(rows.dense()[1], torch.full((4,), 30.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_sums_of_repeats_are_added_to_the_first_and_leave_the_spare_row_at_zero(dtype):
    rows = ScaledRows(5, 4, dtype)
    ids = torch.tensor([[1, 3, 1, 1, 0], [2, 2, 4, 4, 5]])
    once, sums = sums_of_repeats(ids, 5, torch.float32)
    assert once.tolist() == [[1, 3, 5, 5, 0], [2, 5, 4, 5, 5]]
    change = torch.arange(20.0).view(5, 4)
    for step in range(2):
        rows.add(once[step], (sums[step] @ change).to(rows.dtype))
    expected = torch.zeros(6, 4).index_add_(0, ids[0], change).index_add_(0, ids[1], change)
    assert_close(rows.dense().float(), expected[:5])


def test_rounding_to_bfloat16_is_right_on_average_where_rounding_to_nearest_is_not():
    rows = ScaledRows(400, 256, torch.bfloat16)
    ids = torch.arange(400)
    rows.add(ids, torch.ones(400, 256))
    for _ in range(10):
        rows.add(ids, torch.full((400, 256), 1e-3))
    assert rows.dense().mean().item() == pytest.approx(1.01, abs=5e-4)
    assert (torch.ones(1).bfloat16() + 1e-3).item() == 1  # what would be lost
    assert rows.dense().unique().numel() > 1


@pytest.mark.parametrize("k, b, reach", [(1, 1, 1), (4, 8, 24), (5, 2, 12), (3, 4, 4)])
def test_a_banded_product_is_the_dense_product(k, b, reach):
    blocks, x = randn(k, b, reach), randn((k - 1) * b + reach, 5, seed=1)
    dense = torch.zeros(k * b, len(x)).double()
    for i in range(k):
        dense[i * b : (i + 1) * b, i * b : i * b + reach] = blocks[i]
    assert_close(banded_product(blocks, x), dense @ x)


def test_a_generator_draws_the_rounding_so_that_it_repeats():
    a, b = (ScaledRows(3, 8, torch.bfloat16) for _ in range(2))
    for rows in (a, b):
        rows.add(torch.tensor([0, 2]), torch.rand(2, 8, generator=seeded(1)))
    assert_equal(a.table, b.table)
