"""The values of a network's lines in each replicate of the limit, which go forward step by step or not at all."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mupi.checks import fail
from mupi.programs import Scalar
from mupi.programs.evaluation import evaluate
from mupi.programs.family import Family, LimitMatrix, Side
from mupi.programs.line import Line
from mupi.programs.spaces import Samples


class LimitValues:
    """What lines have come to, in independent replicates.

    Args:
        spaces: Where each replicate is evaluated.
    """

    def __init__(self, spaces: Sequence[Samples]):
        self.spaces = list(spaces)
        self.values: list[dict[Line, Any]] = [{} for _ in spaces]

    def advance(self, lines: Sequence[Line], state: Sequence[Line], keep: Sequence[Line] = ()) -> None:
        """Evaluate lines; of these and of all before, scalars are kept, the state, and what is to be kept."""
        for space, known in zip(self.spaces, self.values, strict=True):
            evaluate(lines, space, [*state, *keep], known)

    @contextmanager
    def tried(self, keep: bool) -> Iterator[None]:
        """Values and directions are as before if what is done inside fails, or is not to be kept."""
        lengths = [[len(x) for x in space.held] for space in self.spaces]
        families = [len(space.families) for space in self.spaces]
        before = [dict(values) for values in self.values]
        done = False
        try:
            yield
            done = True
        finally:
            if not (done and keep):
                for space, count, held in zip(self.spaces, families, lengths, strict=True):
                    del space.families[count:]
                    for x, length in zip(space.held, held, strict=True):
                        del x[length:]
                self.values = before

    def rename(self, new: Mapping[Line, Line]) -> None:
        """Lines stand for others now; what was known of all others is forgotten."""
        self.values = [{new[line]: value for line, value in known.items() if line in new} for known in self.values]

    def stack(self, scalar: Scalar) -> Tensor:
        """A scalar's value in each replicate."""
        return torch.stack([known[scalar] for known in self.values])

    def state_dict(self, lines: Mapping[str, Line]) -> list[dict[str, Any]]:
        """For each replicate the directions met, and the values of lines, as tensors by name."""
        return [
            {
                "initial": list(space.initial),
                "families": [
                    [f.sigma, f.ratio, *(list(x) for s in (f.right, f.left) for x in (s.basis, s.images))]
                    for f in space.families
                ],
                "values": {name: _packed(space, known[line]) for name, line in lines.items()},
            }
            for space, known in zip(self.spaces, self.values, strict=True)
        ]

    def load_state_dict(self, state: Sequence[Mapping[str, Any]], lines: Mapping[str, Line]) -> None:
        """Take what `state_dict` gave.

        Raises:
            ValueError: If it is of another number of replicates or samples, or of other lines.
        """
        if len(state) != len(self.spaces):
            fail("load_state_dict(state)", f"of {len(self.spaces)} replicates", len(state))
        for space, one in zip(self.spaces, state, strict=True):
            if set(one["values"]) != set(lines):
                differing = sorted(set(one["values"]) ^ set(lines))
                fail("load_state_dict(state)", "of the network's parameters", f"others: {', '.join(differing[:4])}")
            rows = {len(x) for x in one["initial"]}
            if rows - {space.n}:
                fail("load_state_dict(state)", f"of {space.n} samples", f"{rows.pop()}")
        for place, (space, one) in enumerate(zip(self.spaces, state, strict=True)):
            space.initial = list(one["initial"])
            space.families = []
            for sigma, ratio, *sides in one["families"]:
                family = Family(space, sigma, ratio)
                family.right, family.left = Side(*map(list, sides[:2])), Side(*map(list, sides[2:]))
                space.families.append(family)
            self.values[place] = {lines[name]: _unpacked(space, value) for name, value in one["values"].items()}


def _packed(space: Samples, value: Any) -> Any:
    """A value as tensors."""
    if not isinstance(value, LimitMatrix):
        return value
    return [space.families.index(value.family), value.scale, value.update]


def _unpacked(space: Samples, value: Any) -> Any:
    if isinstance(value, Tensor):
        return value
    family, scale, update = value
    return LimitMatrix(space.families[family], scale, update)
