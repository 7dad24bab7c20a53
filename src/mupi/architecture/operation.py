"""What all operations have in common: data that say which shape comes out of which, and no tensors, widths or devices.

What an operation *does* is said by the rules of the readings (`mupi.architecture.rules`). Called on values it becomes
a step of a description that is being written down: see `mupi.architecture.describe`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from mupi.architecture.shape import Shape
from mupi.checks import fail, positive_int


class Operation(ABC):
    """A step of a network; subclasses are frozen dataclasses, and may come from outside of mupi."""

    reads: ClassVar[int] = 1
    """How many values it reads."""

    @abstractmethod
    def shape(self, *inputs: Shape) -> Shape:
        """The shape of what comes out.

        Raises:
            ValueError: If it cannot read such values.
        """

    def __call__(self, first: Any, *others: Any, name: str = "") -> Any:
        """Write the step down behind the values that it reads: see `mupi.architecture.draft.Value`."""
        return first.then(self, *others, name=name)

    def __str__(self) -> str:
        """The first argument, and what of the others is no default."""
        arguments = fields(self)  # pyright: ignore[reportArgumentType]
        given = [(f.name, getattr(self, f.name)) for f in arguments if getattr(self, f.name) != f.default]
        parts = (shown(value, "" if name == arguments[0].name else name) for name, value in given)
        return f"{type(self).__name__}({', '.join(parts)})"

    def needs(self, holds: bool, must: str, got: Any) -> None:
        """Raise ``ValueError`` about what it was given to read, unless something holds."""
        if not holds:
            fail(f"{type(self).__name__}(value)", must, got)


def shown(value: Any, name: str) -> str:
    """An argument; sizes as 3×3."""
    text = "×".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"{name}={text}" if name else text


@dataclass(frozen=True)
class Input(Operation):
    """The data, one sample of it.

    Args:
        axes: Its axes, as the network takes them.
        integers: Whether it is made of integers (tokens).
    """

    axes: tuple[int, ...]
    integers: bool = False

    reads = 0

    def __post_init__(self):
        for size in self.axes:
            positive_int("Input(axes=...)", size)

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        if self.integers:
            return Shape(self.axes, None)
        if not self.axes:
            fail("Input(axes=...)", "at least one axis beside the batch", self.axes)
        return Shape(self.axes[:-1], self.axes[-1])
