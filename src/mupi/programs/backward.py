"""What comes back through a function of which no rule is known, by autograd."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mupi.programs.operations import Function


@dataclass(frozen=True, eq=False)
class Backward:
    """(arguments, δ) ↦ δᵀ ∂f/∂argument, for one of the arguments.

    Attributes:
        function: The function f.
        place: Which argument.
    """

    function: Function
    place: int

    def __call__(self, *given: Any) -> Tensor:
        """By autograd."""
        *arguments, coming = given

        def at(x: Tensor) -> Tensor:
            return self.function(*arguments[: self.place], x, *arguments[self.place + 1 :])

        value, back, *_ = torch.func.vjp(at, arguments[self.place])
        return back(coming.expand_as(value))[0]


@dataclass(frozen=True, eq=False)
class BackwardRows:
    """The same for a scalar among vectors: a row for each coordinate, which are to be averaged.

    Attributes:
        function: The function f.
        place: Which argument.
        vectors: Which arguments are vectors.
    """

    function: Function
    place: int
    vectors: tuple[bool, ...]

    def __call__(self, *given: Any) -> Tensor:
        """By autograd, row by row."""
        back = Backward(self.function, self.place)

        def row(*one: Any) -> Tensor:
            return back(*(x[None] if vector else x for x, vector in zip(one, kinds, strict=True))).flatten()

        kinds = (*self.vectors, True)
        return torch.func.vmap(row, in_dims=tuple(0 if vector else None for vector in kinds))(*given)
