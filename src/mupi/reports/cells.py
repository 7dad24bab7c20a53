"""What stands in the cells of a table that a console prints."""

from rich.table import Table
from rich.text import Text


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """The header of a table of rich's, and its rows.

    Args:
        table: Of strings, with markup or without, or `Text`.
    """
    columns = [[_plain(cell) for cell in column.cells] for column in table.columns]
    return [_plain(column.header) for column in table.columns], [list(row) for row in zip(*columns, strict=True)]


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain
