"""In which pieces a kernel matrix is computed."""

from collections.abc import Iterator

import torch

TILE_ENTRIES_PER_THREAD = 2**17
"""256 KB in float32: a tile and the temporaries of its layers stay in a core's cache."""

ACCELERATOR_TILE_ENTRIES = 2**24
"""Enough that launching the operations costs little beside running them."""

BLOCK_ENTRIES = 2**22
"""Entries of a block of whole rows, 16 MB in float32."""


def row_blocks(rows: int, columns: int, entries: int = BLOCK_ENTRIES) -> Iterator[slice]:
    """Blocks of whole rows with about ``entries`` entries; one empty block if there are no rows."""
    step = max(1, entries // max(1, columns))
    for start in range(0, max(1, rows), step):
        yield slice(start, min(start + step, rows))


def tiles(rows: int, columns: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Row and column ranges that cover a matrix once."""
    on_cpu = device.type == "cpu"
    entries = TILE_ENTRIES_PER_THREAD * torch.get_num_threads() if on_cpu else ACCELERATOR_TILE_ENTRIES
    width = max(1, min(columns, 2048, entries))
    height = max(1, entries // width)
    for i in range(0, rows, height):
        for j in range(0, columns, width):
            yield slice(i, min(i + height, rows)), slice(j, min(j + width, columns))
