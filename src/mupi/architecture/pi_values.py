"""What the values of a network are in its π-limit, before there are numbers; and which of them share a junction."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mupi.activations import Activation
from mupi.architecture.operation import Operation


@dataclass(frozen=True)
class Data:
    """A tensor with no infinite axis: it is itself."""


@dataclass(frozen=True)
class Linear:
    """A sum of outputs of weights: coordinates ⟨g, z⟩, with a vector g ∈ R^r at each position.

    Attributes:
        junction: The z that it belongs to: see `Junctions`.
    """

    junction: int


@dataclass(frozen=True)
class Factor:
    """φ of a linear value.

    Attributes:
        place: Of the node whose g it is.
        junction: Of it.
        activation: The activation φ.
    """

    place: int
    junction: int
    activation: Activation


@dataclass(frozen=True)
class Pending:
    """c·A(φ(⟨g, z⟩)), or of a product of two φ's: kept as g until a weight reads it.

    Attributes:
        factors: φ, or the two.
        moves: A: linear maps between positions, in order, and the positions that each is applied to.
        scale: The factor c.
    """

    factors: tuple[Factor, ...]
    moves: tuple[tuple[Operation, tuple[int, ...]], ...] = ()
    scale: float = 1.0

    def scaled(self, factor: float) -> "Pending":
        """Times a number."""
        return replace(self, scale=factor * self.scale)

    def moved(self, operation: Operation, positions: tuple[int, ...]) -> "Pending":
        """With another map between positions."""
        return replace(self, moves=(*self.moves, (operation, positions)))


Value = Data | Linear | Pending


class Groups:
    """Disjoint sets of numbers that are joined step by step."""

    def __init__(self) -> None:
        self.parent: dict[int, int] = {}

    def root(self, i: int) -> int:
        """The number that stands for a set."""
        while (parent := self.parent.get(i, i)) != i:
            i = parent
        return i

    def join(self, i: int, j: int) -> int:
        """Make two sets one; the earlier root stands for it."""
        first, second = sorted((self.root(i), self.root(j)))
        self.parent[second] = first
        return first

    def same(self, i: int, j: int) -> bool:
        """Whether two numbers are of one set."""
        return self.root(i) == self.root(j)

    def __iter__(self) -> Iterator[int]:
        return iter(self.parent)
