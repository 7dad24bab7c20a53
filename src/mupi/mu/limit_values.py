"""The values of a network's lines in each replicate of the limit, which go forward step by step or not at all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.distributed.processes import ALONE, Processes
from mupi.programs import Scalar
from mupi.programs.evaluation import evaluate
from mupi.programs.family import Family, LimitMatrix, Side
from mupi.programs.line import Line
from mupi.programs.spaces import Samples

R = TypeVar("R")


class LimitValues:
    """What lines have come to, in independent replicates.

    Args:
        spaces: Where each replicate is evaluated; of several processes, those that are this one's.
        processes: Those that share the replicates, in their order.
    """

    def __init__(self, spaces: Sequence[Samples], processes: Processes = ALONE):
        self.spaces, self.processes = list(spaces), processes
        self.values: list[dict[Line, Any]] = [{} for _ in spaces]

    def advance(self, lines: Sequence[Line], state: Sequence[Line]) -> None:
        """Evaluate lines; of these and of all before, scalars and the state are kept. If one fails, nothing is."""
        marks = [_Mark(space, known) for space, known in zip(self.spaces, self.values, strict=True)]

        def own() -> None:
            for space, known in zip(self.spaces, self.values, strict=True):
                evaluate(lines, space, state, known)

        try:
            self.processes.each(own)
        except BaseException:
            self.values = [mark.restored() for mark in marks]
            raise

    def glimpse(
        self, first: Sequence[Line], lines: Sequence[Line], state: Sequence[Line], wanted: Sequence[Line]
    ) -> list[Float[Tensor, "replicates ..."]]:
        """What wanted lines come to, of which nothing is kept: no values, and no directions that were met.

        Args:
            first: Lines to evaluate before, which are kept: what was drawn once is not to be drawn again.
            lines: The lines to evaluate.
            state: What of the first is kept.
            wanted: Some of the lines.
        """

        def own() -> list[list[Tensor]]:
            found = []
            for place, space in enumerate(self.spaces):
                evaluate(first, space, state, self.values[place])
                mark = _Mark(space, self.values[place])
                try:
                    known = evaluate(lines, space, [*state, *wanted], dict(self.values[place]))
                    found.append([known[line] for line in wanted])
                finally:
                    self.values[place] = mark.restored()
            return found

        return [torch.stack(values) for values in zip(*self._all(own), strict=True)]

    def rename(self, new: Mapping[Line, Line]) -> None:
        """Lines stand for others now; what was known of all others is forgotten."""
        self.values = [{new[line]: value for line, value in known.items() if line in new} for known in self.values]

    def stack(self, scalar: Scalar) -> Tensor:
        """A scalar's value in each replicate."""
        return torch.stack(self._all(lambda: [known[scalar] for known in self.values]))

    def of_each(self, find: Callable[[Samples], R]) -> list[R]:
        """What is found in each replicate."""
        return self._all(lambda: [find(space) for space in self.spaces])

    def _all(self, own: Callable[[], list[R]]) -> list[R]:
        """What all processes have of their replicates."""
        return [one for part in self.processes.each(own) for one in part]

    def state_dict(self, lines: Mapping[str, Line]) -> list[dict[str, Any]]:
        """For each replicate the directions met, and the values of lines, as tensors by name."""
        return self._all(lambda: self._own_state(lines))

    def _own_state(self, lines: Mapping[str, Line]) -> list[dict[str, Any]]:
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
        together = self.processes.together
        count = len(self.of_each(id))
        if len(state) != count:
            fail("load_state_dict(state)", f"of {count} replicates", len(state))
        if together is not None:
            state = state[together.slice_of(count)]
        for space, one in zip(self.spaces, state, strict=True):
            if set(one["values"]) != set(lines):
                differing = sorted(set(one["values"]) ^ set(lines))
                fail("load_state_dict(state)", "of the network's parameters", f"others: {', '.join(differing[:4])}")
            rows = {len(x) for x in one["initial"]}
            if rows - {space.n}:
                fail("load_state_dict(state)", f"of {space.n} samples", f"{rows.pop()}")
            found = {value[-1].shape[1] for value in one["values"].values() if _has_entries(value)}
            if found - {space.copies or space.n}:
                fail("load_state_dict(state)", f"of {space.copies or space.n} copies", found.pop())
        for place, (space, one) in enumerate(zip(self.spaces, state, strict=True)):
            space.initial = list(one["initial"])
            space.families = []
            for sigma, ratio, *sides in one["families"]:
                family = Family(space, sigma, ratio)
                right, left = sides[:2], sides[2:]
                family.right, family.left = (Side(list(q), list(c)) for q, c in (right, left))
                space.families.append(family)
            self.values[place] = {lines[name]: _unpacked(space, value) for name, value in one["values"].items()}


class _Mark:
    """A replicate as it was."""

    def __init__(self, space: Samples, known: dict[Line, Any]):
        self.space, self.known = space, dict(known)
        self.families, self.lengths = len(space.families), [len(x) for x in space.held]

    def restored(self) -> dict[Line, Any]:
        """Directions that were met since are forgotten; the values of then."""
        del self.space.families[self.families :]
        for x, length in zip(self.space.held, self.lengths, strict=True):
            del x[length:]
        return self.known


def _packed(space: Samples, value: Any) -> Any:
    """A value as tensors."""
    if not isinstance(value, LimitMatrix):
        return value
    return [space.families.index(value.family), value.scale, value.update, value.entries]


def _has_entries(packed: Any) -> bool:
    return not isinstance(packed, Tensor) and packed[-1] is not None


def _unpacked(space: Samples, value: Any) -> Any:
    if isinstance(value, Tensor):
        return value
    family, scale, update, entries = value
    return LimitMatrix(space.families[family], scale, update, entries=entries)
