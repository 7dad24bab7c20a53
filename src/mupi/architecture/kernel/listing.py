"""The list of a kernel's steps while it is being written."""

from collections.abc import Callable, Generator, Sequence
from math import prod

from mupi.activations import Activation
from mupi.architecture.kernel.forms import Function
from mupi.architecture.kernel.gains import times_slope
from mupi.architecture.kernel.settings import Scales
from mupi.architecture.kernel.steps import Compute, Key, Step, total
from mupi.architecture.kernel.structure import Structure

HOLD = "hold the gain: weight_lr={name of the normalization: 0}"

Rule = Generator[Key, int | None, int | None]
"""What a rule is: it yields what it needs, is sent the place of the step that makes it (None for 0), and returns its
own. So a deep network does not need a deep stack."""


class Listing:
    """Steps that are being listed.

    Args:
        rule: The rule that computes each quantity.
        structure: What is known of the network's structure.
        scales: The σ's and learning rates.
        own: Whether of each input by itself; if not, what is of one input only is found in the `Pairs`.
        tangent: Whether there will be tangents, so that both expectations of a φ are taken at once.
        everywhere: Quantities (kind, a, b) that are known to be needed at all pairs of positions, so that those at
            p = p' are taken from there.
    """

    def __init__(
        self,
        rule: Callable[["Listing", Key], Rule],
        structure: Structure,
        scales: dict[int, Scales],
        *,
        own: bool,
        tangent: bool,
        everywhere: frozenset[tuple[str, int, int]] = frozenset(),
    ):
        self.rule = rule
        self.structure, self.scales, self.own = structure, scales, own
        self.both = tangent and not own
        self.known_everywhere = everywhere
        self.everywhere: set[tuple[str, int, int]] = set()
        self.per_input: dict[Key, None] = {}
        self.steps: list[Step] = []
        self.places: dict[Key, int | None] = {}
        self._times_slope: dict[int, Activation] = {}

    def times_slope(self, place: int) -> Activation:
        """ψ(x) = xφ'(x) of the φ at a place, made once."""
        form = self.structure[place].form
        assert isinstance(form, Function)
        if place not in self._times_slope:
            try:
                self._times_slope[place] = times_slope(form.activation)
            except ValueError as error:
                reason = f"its NTK, to which a gain before it adds E ψψ with ψ(x) = xφ'(x): {error}"
                self.structure.refuse(place, reason, HOLD)
        return self._times_slope[place]

    def need(self, wanted: Key) -> int | None:
        """The place of a quantity's step, None if it is 0."""
        stack: list[tuple[Key, Rule]] = [(wanted, self.rule(self, wanted))]
        sent: int | None = None
        while wanted not in self.places:
            key, rule = stack[-1]
            try:
                asked = rule.send(sent)
            except StopIteration as done:
                self.places[key] = sent = done.value
                stack.pop()
            else:
                if asked in self.places:
                    sent = self.places[asked]
                else:
                    stack.append((asked, self.rule(self, asked)))
                    sent = None
        return self.places[wanted]

    def add(self, key: Key, reads: Sequence[int], compute: Compute) -> int:
        """Another step."""
        self.steps.append(Step(key, tuple(reads), compute))
        return len(self.steps) - 1

    def sum(self, key: Key, parts: list[int]) -> int | None:
        """A step that sums others."""
        return None if not parts else parts[0] if len(parts) == 1 else self.add(key, parts, total)

    def size(self, place: int) -> int:
        """How many positions a value has."""
        return prod(self.structure.positions(place))

    def count(self, place: int, everywhere: bool) -> int:
        """Axes of positions of a value that is the other side of something."""
        return len(self.structure.positions(place)) if everywhere else 0

    def counts(self, key: Key) -> tuple[int, int]:
        """Of a pair's values each, the axes of positions of the other."""
        return self.count(key.b, key.everywhere), self.count(key.a, key.everywhere)

    def entries(self) -> int:
        """Pairs of positions of the largest quantity."""
        keys = [step.key for step in self.steps]
        return max([1, *(self.size(key.a) * (self.size(key.b) if key.everywhere else 1) for key in keys)])
