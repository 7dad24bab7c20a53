"""An operation of the graph while its rule is at work."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from torch import fx

from mupi.activations import Activation, as_activation
from mupi.architecture.coordinates import Activate, Dropout, Scale
from mupi.architecture.draft import Value
from mupi.architecture.operation import Operation
from mupi.architecture.positions import Permute, Reshape
from mupi.architecture.shape import Shape, Size, Width
from mupi.architecture.trace.extents import Pair, Scaling, over
from mupi.architecture.trace.formula import Formula, X, closed
from mupi.architecture.trace.layout import (
    BATCH,
    CHANNELS,
    POSITION,
    Atom,
    Axes,
    Axis,
    Unreadable,
    joined,
    size_of,
    whole,
)
from mupi.architecture.trace.registry import RULES
from mupi.architecture.trace.sources import line_of, module_of
from mupi.architecture.trace.translation import Translation
from mupi.architecture.trace.values import Parameter, Traced, Varying
from mupi.checks import fail
from mupi.torch_internals import OPERATOR, operator_name


@dataclass(frozen=True)
class Step:
    """An operation of the graph while its rule is at work: where it stands, and what can be written for it.

    Attributes:
        translation: What has been written so far.
        first: The operation at the first width.
        second: The same at the second.
        options: Its arguments that are named only.
    """

    translation: Translation
    first: fx.Node
    second: fx.Node
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The user's line."""
        built = self.translation.capture.built
        module = module_of(self.first)
        while module and not built.get(module):
            module = module.rpartition(".")[0]
        return line_of(self.first) or built.get(module, "")

    @property
    def called(self) -> str:
        """The operation as messages call it."""
        target = self.first.target
        if not isinstance(target, OPERATOR):
            return self.first.name
        space, name, _ = operator_name(target)
        return name if space == "aten" else f"{space}.{name}"

    def sizes(self, index: int | None = None) -> tuple[Pair, ...]:
        """The sizes of the result at both widths; of one of several by its index."""
        values = self.first.meta["val"], self.second.meta["val"]
        if index is not None:
            values = values[0][index], values[1][index]
        return tuple((int(a), int(b)) for a, b in zip(values[0].shape, values[1].shape, strict=True))

    def refuse(self, reason: str, hint: str = "") -> NoReturn:
        """Raise ``ValueError`` about the operation, with its module and line."""
        where = ", ".join(part for part in (module_of(self.first), self.source) if part)
        fail(
            f"{self.called}{f' ({where})' if where else ''}",
            "something that mupi.trace can read",
            reason,
            hint,
        )

    def size(self, pair: Pair) -> Size:
        """A number or a multiple of n, of an axis of channels."""
        found = self.translation.capture.experiment.size(pair)
        if found is None:
            widths, batches = self.translation.capture.experiment.widths, self.translation.capture.experiment.batches
            if pair[0] * batches[1] == pair[1] * batches[0]:
                raise Unreadable("an axis whose size is that of the batch", "samples must not see each other")
            raise Unreadable(
                f"an axis of {pair[0]} at width {widths[0]} and {pair[1]} at width {widths[1]}",
                "make every size that depends on the width a multiple of it",
            )
        return found

    def finite(self, pair: Pair) -> int:
        """A number, of an axis of positions."""
        found = self.size(pair)
        if isinstance(found, Width):
            raise Unreadable(f"{found} positions, a second axis that grows with the width", "keep positions finite")
        return found

    @staticmethod
    def both(x: Any) -> tuple[Any, Any]:
        """An argument at both widths."""
        return (x.first, x.second) if isinstance(x, Varying) else (x, x)

    def number(self, first: float, second: float, precision: float = 2e-15) -> Scaling:
        """A number that the code computes, from its two values."""
        found = self.translation.capture.experiment.scaling(first, second, precision)
        if found is None:
            widths = self.translation.capture.experiment.widths
            raise Unreadable(
                f"the number {first:g} at width {widths[0]} and {second:g} at width {widths[1]}",
                "make numbers that depend on the width a number times a power of it",
            )
        return found

    def write(
        self, operation: Operation, *places: Value, uses: dict[str, tuple[Parameter, Axes]] | None = None
    ) -> Value:
        """Write a node behind others, or find it, if it was written before.

        Raises:
            Unreadable: If the operation does not take what it is given.
        """
        state = self.translation
        once = (self.first.name,) if isinstance(operation, Dropout) else ()
        known = (operation, *once, tuple(p.place for p in places), tuple(sorted((uses or {}).items())))
        if known in state.written:
            return state.written[known]
        try:
            shape = operation.shape(*(state.shape(p) for p in places))
        except ValueError as error:
            raise Unreadable(str(error).replace("\n", " ")) from None
        place = state.draft.write(operation, [p.place for p in places], source=self.source)
        state.shapes.append(shape)
        if uses:
            state.uses[place.place] = uses
        state.written[known] = place
        return place

    def plain(self, x: Traced) -> Traced:
        """The value itself, with nothing pending."""
        place = x.place
        if x.formula != X:
            known = closed(x.formula)
            if known is None and x.scaling.exponent == 0 and x.scaling.factor != 1:
                folded = Formula("mul.Tensor", (x.formula, x.scaling.factor))
                return self.plain(replace(x, formula=folded, scaling=Scaling()))
            place = self.write(Activate(known or self.activation(x.formula)), place)
        if x.scaling != Scaling():
            place = self.write(Scale(x.scaling.factor, x.scaling.exponent), place)
        return Traced(place, x.axes)

    @staticmethod
    def activation(formula: Formula) -> Activation:
        """The activation of a formula that PyTorch has no name for."""
        try:
            return as_activation(formula, "activation")
        except ValueError as error:
            raise Unreadable("a function that is no activation: " + str(error).partition(" must be ")[2]) from None

    def apply(self, operation: Operation, *values: Traced) -> Traced:
        """An operation of values that have their axes in order: batch, positions, channels."""
        ready = [self.canonical(self.plain(x)) for x in values]
        place = self.write(operation, *(x.place for x in ready))
        return Traced(place, self.translation.axes(place))

    def canonical(self, x: Traced) -> Traced:
        """The value with positions in the order of the tensor's axes, whose last must be the channels.

        Raises:
            Unreadable: If they are not.
        """
        last = len(x.axes) - 1
        if self.shape(x).channels is None:
            x = self.settled(x, range(1, last + 1))
        elif self.shape(x).is_layer:
            x = self.settled(x, range(1, last))
        else:
            x = self.settled(x, range(1, last), last)
        if x.axes != self.translation.axes(x.place):
            raise Unreadable("axes in another order than batch, positions, width", "put the width last")
        return x

    def call(self, operation: Any, *arguments: Any) -> Any:
        """What the rule of another operation makes of something."""
        return RULES[operation](self, *arguments)

    def linear(self, x: Traced) -> Traced:
        """The value with a multiplier pending at most."""
        return x if x.formula == X else self.plain(x)

    def shape(self, x: Traced) -> Shape:
        """Of the value's node."""
        return self.translation.shape(x.place)

    def whole_channels(self, x: Traced) -> Axis:
        """The axis that has all of the width."""
        channels = self.shape(x).channels
        return () if channels is None else whole(CHANNELS, self.translation.capture.experiment.pair(channels))

    def settled(self, x: Traced, dims: Sequence[int], channel: int | None = None) -> Traced:
        """The value with positions that are these axes of the tensor, in this order; of data, channels too.

        Args:
            x: The value.
            dims: Axes of the tensor.
            channel: The axis of the tensor that has the channels, of data.
        """
        shape = self.shape(x)
        moving = list(dims)
        if not shape.is_layer and shape.channels is not None:
            if channel is None:
                raise Unreadable("a value without an axis for channels")
            moving.append(channel)
        wanted = [atom for d in moving for atom in x.axes[d]]
        if any(atom.axis == BATCH or (atom.axis == CHANNELS and shape.is_layer) for atom in wanted):
            raise Unreadable("axes of the batch or of the width where positions are wanted")
        others = [a for i, axis in enumerate(x.axes) if i not in moving for a in axis]
        if any(atom.axis != BATCH and not (atom.axis == CHANNELS and shape.is_layer) for atom in others):
            raise Unreadable("positions that are part of the batch or of the width here")
        old: tuple[Any, ...] = shape.positions
        if not shape.is_layer and shape.channels is not None:
            old = (*old, shape.channels)
        target = tuple(self.finite(size_of(x.axes[d])) for d in moving)
        place = self.arranged(x.place, old, [x.axes[d] for d in moving], target)
        new = self.translation.axes(place)
        axes = list(x.axes)
        for d, axis in zip(moving, new[1:-1] if shape.is_layer else new[1:], strict=True):
            axes[d] = axis
        return replace(x, place=place, axes=tuple(axes))

    def arranged(self, place: Value, old: tuple[int, ...], wanted: Sequence[Axis], target: tuple[int, ...]) -> Value:
        """A node's axes, but for the batch and a layer's channels, cut, ordered and joined anew.

        Args:
            place: The node.
            old: Their sizes now.
            wanted: Of what parts each new one is made.
            target: The sizes that they are to have.
        """
        shape = self.translation.shape(place)
        last = POSITION if shape.is_layer or shape.channels is None else CHANNELS
        names = range(last + 1 - len(old), last + 1)
        ones, moves = [i for i, size in enumerate(old) if size == 1], []
        for axis in wanted:
            whole_ones = [i for i, name in enumerate(names) if axis and axis == whole(name, (old[i], old[i]))]
            moves += whole_ones or ([ones.pop(0)] if not axis and ones else [])
        if len(moves) == len(old) == len(wanted):
            return place if moves == sorted(moves) else self.write(Permute(tuple(moves)), place)
        atoms = [atom for axis in wanted for atom in axis]
        ordered = sorted(atoms, key=lambda atom: (atom.axis, [-i for i in atom.inner]))
        order, sizes = tuple(ordered.index(atom) for atom in atoms), old
        if order != tuple(range(len(order))):
            sizes = tuple(self.finite(atom.size) for atom in ordered)
            place = self.write(Reshape(sizes), place) if sizes != old else place
            place, sizes = self.write(Permute(order), place), tuple(sizes[i] for i in order)
        return self.write(Reshape(target), place) if sizes != target else place

    def is_whole(self, atoms: Sequence[Atom], x: Traced) -> bool:
        """Whether an axis of the tensor is the width, all of it and nothing else."""
        return joined(atoms) == self.whole_channels(x)

    def heads(self, x: Traced, axis: Axis) -> int:
        """How many heads there are, if this axis of the tensor is what one head has."""
        channels = size_of(self.whole_channels(x))
        if not axis or len(axis) != 1 or axis[0].axis != CHANNELS or axis[0].inner != (1, 1):
            raise Unreadable("a product over something else than one head's coordinates")
        heads = self.size(over(channels, size_of(axis)))
        if isinstance(heads, Width) or not isinstance(self.size(size_of(axis)), Width):
            raise Unreadable(
                f"{heads} heads, whose number grows with the width", "keep the number of heads, and let their size grow"
            )
        return heads
