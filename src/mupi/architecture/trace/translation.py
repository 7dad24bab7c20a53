"""What has been written of a description."""

from dataclasses import dataclass, field
from typing import Any

from mupi.architecture.draft import Draft, Value
from mupi.architecture.operation import Input, Operation
from mupi.architecture.shape import Shape
from mupi.architecture.trace.capture import Capture
from mupi.architecture.trace.layout import (
    BATCH,
    CHANNELS,
    Axes,
    whole,
)
from mupi.architecture.trace.values import Parameter, Traced


@dataclass
class Translation:
    """What has been written.

    Attributes:
        capture: The graphs.
        draft: The description so far.
        shapes: Those of its nodes.
        uses: For each node with parameters, each of them by what it is to the node (weight, bias, gain, shift), and its
            axes in the order of the node's.
        written: What was already written for a step, so that it is written once.
    """

    capture: Capture
    draft: Draft = field(default_factory=Draft)
    shapes: list[Shape] = field(default_factory=list)
    uses: dict[int, dict[str, tuple[Parameter, Axes]]] = field(default_factory=dict)
    written: dict[Any, Value] = field(default_factory=dict)

    def input(self, axes: tuple[int, ...], integers: bool) -> Traced:
        """Begin with the input."""
        operation = Input(axes, integers)
        place = self.draft.write(operation, (), "x")
        self.shapes.append(operation.shape())
        return Traced(place, self.axes(place))

    def shape(self, place: Value) -> Shape:
        """Of a node."""
        return self.shapes[place.place]

    def operation(self, place: Value) -> Operation:
        """Of a node."""
        return self.draft.nodes[place.place].operation

    def axes(self, place: Value) -> Axes:
        """Those of a node's value: batch, positions, channels."""
        shape, experiment = self.shape(place), self.capture.experiment
        count = len(shape.positions)
        positions = (whole(i - count - 1, (size, size)) for i, size in enumerate(shape.positions))
        channels = () if shape.channels is None else (whole(CHANNELS, experiment.pair(shape.channels)),)
        return (whole(BATCH, experiment.batches), *positions, *channels)
