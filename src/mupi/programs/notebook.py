"""Lines as LaTeX, and lists of lines as tables: what notebooks show."""

import operator
import re
from collections.abc import Iterable, Sequence
from functools import singledispatch
from html import escape

from mupi.programs.line import Line, name_of
from mupi.programs.operations import (
    Average,
    Function,
    GaussianMatrix,
    InitialVector,
    Moment,
    Multiple,
    Operation,
    PlusOuter,
    Product,
    Sum,
)

ARITHMETIC = {
    operator.add: "{} + {}",
    operator.sub: "{} - {}",
    operator.mul: r"{} \odot {}",
    operator.truediv: "{} / {}",
    operator.matmul: r"{} \, {}",
    operator.pow: "{{{}}}^{{{}}}",
    operator.neg: "-{}",
}
"""How it is set."""

SPECIAL = str.maketrans({c: f"\\{c}" for c in "#$%&_{}"} | {"\\": r"\backslash ", "~": r"\sim ", "^": r"\hat{}"})
"""What TeX reads as something else."""


class Explained(str):
    """Lines, explained: text that notebooks show as a table.

    Attributes:
        table: In HTML, with formulas in LaTeX.
    """

    table: str

    def _repr_html_(self) -> str:
        return self.table


def latex(line: Line) -> str:
    r"""A line, ``x = W y``, in LaTeX without dollar signs.

    >>> from mupi.programs import Program
    >>> program = Program()
    >>> W, x = program.matrix("W"), program.vector("x")
    >>> print(latex(torch.tanh(W.T @ x)), "and", latex(program.lines[2]))
    v_{4} = \operatorname{tanh}(v_{3}) and v_{3} = W^\top x
    """
    return f"{symbol(line.name)} = {right_side(line.operation, *map(_argument, line.arguments))}"


def table(lines: Sequence[Line], columns: dict[str, Sequence[str]] | None = None) -> str:
    """An HTML table: a row for each line, with its number, its formula and more columns of text."""
    columns = columns or {}
    rows: Iterable[tuple[str, ...]] = zip(*columns.values(), strict=True) if columns else [()] * len(lines)
    return html_table(
        ["", "line", *map(escape, columns)],
        [
            [str(line.index + 1), f"${escape(latex(line))}$", *map(escape, row)]
            for line, row in zip(lines, rows, strict=True)
        ],
    )


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells in HTML."""
    body = "".join(_row("td", row) for row in rows)
    return f"<table><thead>{_row('th', head)}</thead><tbody>{body}</tbody></table>"


def symbol(name: str) -> str:
    """A name as a symbol: a letter and its index, or upright."""
    found = re.fullmatch(r"([^\W\d_])_?(\d*)('*)", name)
    if found is None:
        return rf"\mathrm{{{name.translate(SPECIAL)}}}"
    letter, index, primes = found.groups()
    return letter + (f"_{{{index}}}" if index else "") + primes


@singledispatch
def right_side(operation: Operation, *names: str) -> str:
    """An operation of arguments in LaTeX. Register more for operations of your own."""
    return (
        rf"\text{{{operation.formula().translate(SPECIAL)}}}" if not names else _called(type(operation).__name__, names)
    )


@right_side.register
def _(operation: InitialVector, *names: str) -> str:
    return (
        r"\text{initial vector}" if len(operation.factor) == 1 else rf"\text{{{len(operation.factor)} initial vectors}}"
    )


@right_side.register
def _(operation: GaussianMatrix, *names: str) -> str:
    return rf"\mathcal{{N}}(0, {operation.sigma:g}^2/n)"


@right_side.register
def _(operation: Function, *names: str) -> str:
    if not operation.template and operation.f in ARITHMETIC:
        return ARITHMETIC[operation.f].format(*names)
    if re.fullmatch(r"\{\}\[[^\]]*\]", operation.template):
        return names[0] + operation.template[2:].translate(SPECIAL)
    return _called(operation.template.split("(")[0] or getattr(operation.f, "__name__", "f"), names)


@right_side.register
def _(operation: Average, *names: str) -> str:
    return rf"\tfrac{{1}}{{n}} \textstyle\sum_\alpha {names[0]}"


@right_side.register
def _(operation: Moment, *names: str) -> str:
    return rf"\tfrac{{1}}{{n}} {names[0]}^\top {names[-1]}"


@right_side.register
def _(operation: Product, *names: str) -> str:
    transposed = r"^\top" if operation.transposed else ""
    return f"{names[0]}{transposed} {names[1]}"


@right_side.register
def _(operation: PlusOuter, *names: str) -> str:
    return rf"{names[0]} + \tfrac{{1}}{{n}} {names[1]} {names[2]}^\top"


@right_side.register
def _(operation: Sum, *names: str) -> str:
    return f"{names[0]} + {names[1]}"


@right_side.register
def _(operation: Multiple, *names: str) -> str:
    return rf"{names[1]} \, {names[0]}"


def _called(name: str, names: Sequence[str]) -> str:
    return rf"\operatorname{{{name.translate(SPECIAL)}}}({', '.join(names)})"


def _argument(x: object) -> str:
    if isinstance(x, Line):
        return symbol(x.name)
    if isinstance(x, bool | int | float):
        return name_of(x)
    return rf"\text{{{name_of(x).translate(SPECIAL)}}}"


def _row(tag: str, cells: Sequence[str]) -> str:
    style = ' style="text-align: left"'
    return f"<tr>{''.join(f'<{tag}{style}>{cell}</{tag}>' for cell in cells)}</tr>"
