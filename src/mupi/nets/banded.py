"""Products with a matrix whose entries lie in a band, run by run as small dense products."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

RUN = 16
"""Rows of the band multiplied together: measured to be fastest for bands of 17 columns and long factors."""


def banded_product(
    band: Float[Tensor, "rows places"], x: Float[Tensor, "places columns"], first: int, reach: int
) -> Float[Tensor, "rows columns"]:
    """``band @ x``, where band_ij is zero unless |j − (first + i)| ≤ reach."""
    out = x.new_empty(len(band), x.shape[1])
    for rows, places in _blocks(len(band), band.shape[1], first, reach):
        torch.mm(band[rows, places], x[places], out=out[rows])
    return out


def banded_transpose_product(
    band: Float[Tensor, "rows places"], y: Float[Tensor, "rows columns"], first: int, reach: int
) -> Float[Tensor, "places columns"]:
    """``band.T @ y`` for the same kind of matrix."""
    out = y.new_zeros(band.shape[1], y.shape[1])
    for rows, places in _blocks(len(band), band.shape[1], first, reach):
        out[places].addmm_(band[rows, places].T, y[rows])
    return out


def runs(length: int) -> Iterator[slice]:
    """Cut ``length`` rows into runs."""
    for start in range(0, length, RUN):
        yield slice(start, min(length, start + RUN))


def _blocks(rows: int, places: int, first: int, reach: int) -> Iterator[tuple[slice, slice]]:
    """Runs of rows, each with the columns that its entries can lie in."""
    for run in runs(rows):
        yield run, slice(max(0, first + run.start - reach), min(places, first + run.stop + reach))
