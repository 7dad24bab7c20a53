"""A program's limit line by line: which Gaussian family, which correction, which size."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mupi.programs import operations
from mupi.programs.evaluation import evaluate
from mupi.programs.family import LimitMatrix
from mupi.programs.line import Line
from mupi.programs.matrices import Matrix
from mupi.programs.notebook import Explained, table
from mupi.programs.spaces import Space
from mupi.programs.vectors import Scalar, Vector


@dataclass(frozen=True)
class Product:
    """A product with a Gaussian matrix.

    Attributes:
        vector: The line Wx or Wᵀx.
        operand: The vector x that is multiplied.
        transposed: Whether it is Wᵀx.
    """

    vector: Line
    operand: Line
    transposed: bool


def explain(lines: list[Line], space: Space) -> Explained:
    """Every line with its Ẑ, its Ż written out, and its limit; in a notebook, a table.

    Args:
        lines: Lines of the program.
        space: Where the limit is evaluated.
    """
    notes: list[str] = []
    sizes: list[str] = []
    values: dict[Line, object] = {}
    earlier: dict[Line, list[Product]] = {}
    for line in lines:
        match line:
            case Vector() if isinstance(operation := line.operation, operations.Product):
                matrix, x = line.inputs
                assert isinstance(matrix, Matrix)
                made = Product(line, x, operation.transposed)
                products = earlier.setdefault(matrix.gaussian, [])
                note = _product(made, matrix, products, space, values)
                products.append(made)
            case Vector():
                note = "Gaussian" if not line.inputs else ""
            case _:
                note = ""
        evaluate([line], space, lines, values)
        notes.append(note)
        sizes.append(_size(line, space, values))
    text = Explained("\n".join(map(_row, lines, notes, sizes)))
    text.table = table(lines, {"in the limit": sizes, "made of": notes})
    return text


def _product(made: Product, matrix: Matrix, earlier: list[Product], space: Space, values: dict) -> str:
    """Ẑ and Ż of a product that is about to be made."""
    W: LimitMatrix = values[matrix]
    x, σ, ρ = values[made.operand], W.family.sigma, W.family.ratio
    # Of the Ẑ of this product, and of those of the other side that Ż is made of.
    own_square, other_root = (σ**2 * ρ, σ) if made.transposed else (σ**2, σ * ρ**0.5)
    name = matrix.gaussian.name
    own, other = (f"{name}ᵀ", name) if made.transposed else (name, f"{name}ᵀ")
    variance = own_square * (W.scale**2) * space.inner(x, x).diagonal()
    family = f"Ẑ in the family of {own}, E Ẑ² = {_number(variance)}"
    _, side = W.family.sides(made.transposed)
    slopes = W.family.project(side.images, x) * W.scale / other_root if σ else torch.zeros(0, 1)
    met = [p for p in earlier if p.transposed != made.transposed]
    terms = []
    if met and side.basis:
        # Ż = σ Σ_i p_i ⟨h_i, x⟩ in the y themselves: E ∂Z^x/∂Ẑ solves y v = p ⟨h, x⟩/σ.
        coordinates = [W.family.project(side.basis, values[p.operand]) for p in met]
        solution = torch.linalg.pinv(torch.cat(coordinates, 1), rtol=1e-6) @ slopes[: len(coordinates[0])]
        for p, rows in zip(met, solution.split([c.shape[1] for c in coordinates]), strict=True):
            if rows.abs().max() > 1e-9:
                derivative = f"E ∂{made.operand.name}/∂{other}{p.operand.name}"
                terms.append(f"{_number(own_square * rows)} {p.operand.name}   ({derivative} = {_number(rows)})")
    rank_one = "" if W.update.numel() == 0 else "; and its outer products"
    return f"{family}; Ż = {' + '.join(terms) or '0'}{rank_one}"


def _size(line: Line, space: Space, values: dict) -> str:
    """Its variance or value."""
    if isinstance(line, Scalar):
        return f"→ {_number(values[line])}"
    if not isinstance(line, Vector):
        return ""
    mean, square = space.mean(values[line]), space.inner(values[line], values[line]).diagonal()
    return f"Var Z = {_number(square - mean**2)}" + (f", E Z = {_number(mean)}" if mean.abs().max() > 1e-9 else "")


def _row(line: Line, note: str, size: str) -> str:
    """The line, its variance or value, and its note below."""
    head = f"{line.index + 1:>3}  {line.name} = {line.formula}"
    return "\n".join([f"{head:<44} {size}".rstrip(), *([f"       {note}"] if note else [])])


def _number(value: Tensor) -> str:
    """Few digits of a number, or of a small table."""
    if value.numel() == 1:
        return f"{value.item():.4g}"
    if value.numel() > 16:
        return f"<{'×'.join(map(str, value.shape))}>"
    return (
        "[" + "; ".join(" ".join(f"{v:.4g}" for v in row) for row in value.reshape(-1, value.shape[-1]).tolist()) + "]"
    )
