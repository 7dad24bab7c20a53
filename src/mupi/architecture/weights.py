"""Operations with parameters: they make a new layer, or read a layer out."""

from dataclasses import dataclass

from mupi.architecture.operation import Operation, shown
from mupi.architecture.shape import Shape, Size, Width
from mupi.checks import fail


class WeightOperation(Operation):
    """A linear map with parameters: it makes a new layer, or reads a layer out."""

    out: Size
    bias: bool

    def role(self, read: Shape) -> str:
        """What μP calls a weight that reads a value of this shape: input, hidden, readout, or finite."""
        if isinstance(self.out, Width):
            return "hidden" if read.is_layer else "input"
        return "readout" if read.is_layer else "finite"


@dataclass(frozen=True)
class Dense(WeightOperation):
    """W x + b: `torch.nn.Linear`; of a flattened layer, with entries of its own for each position.

    Args:
        out: Channels of the output: a number, or a `Width`.
        bias: Whether there is a b.
    """

    out: Size
    bias: bool = True

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        (x,) = inputs
        self.needs(x.channels is not None, "numbers, no integers", x)
        return Shape(x.positions, self.out)


@dataclass(frozen=True)
class Conv(WeightOperation):
    """Σ_o W_o x(stride·p + o − padding) + b: a convolution over one or two axes of positions.

    Args:
        out: Channels of the output.
        size: Sides of the kernel, one for each axis of positions.
        stride: Every how many positions there is one of the output, for each axis.
        padding: Positions that are added at both ends of each axis.
        mode: What is there: "zeros" or "circular".
        bias: Whether there is a b.
    """

    out: Size
    size: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    mode: str = "zeros"
    bias: bool = True

    def __post_init__(self):
        object.__setattr__(self, "stride", self.stride or (1,) * len(self.size))
        object.__setattr__(self, "padding", self.padding or (0,) * len(self.size))
        if not len(self.size) == len(self.stride) == len(self.padding) or len(self.size) not in (1, 2):
            fail("Conv(size=..., stride=..., padding=...)", "one number for each of one or two axes", self)
        for name, least in (("size", 1), ("stride", 1), ("padding", 0)):
            if any(not isinstance(k, int) or k < least for k in getattr(self, name)):
                fail(f"Conv({name}=...)", f"made of integers ≥ {least}", getattr(self, name))
        if self.mode not in ("zeros", "circular"):
            fail("Conv(mode=...)", '"zeros" or "circular"', repr(self.mode))

    def __str__(self) -> str:
        """As it is written, without what is as if not given."""
        axes = len(self.size)
        parts = [str(self.out), shown(self.size, "")]
        parts += [shown(self.stride, "stride")] if self.stride != (1,) * axes else []
        parts += [shown(self.padding, "padding")] if self.padding != (0,) * axes else []
        parts += [self.mode] if self.mode != "zeros" else []
        return f"Conv({', '.join(parts + ['bias=False'] * (not self.bias))})"

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        (x,) = inputs
        self.needs(
            x.channels is not None and len(x.positions) == len(self.size), f"{len(self.size)} axes of positions", x
        )
        sizes = zip(x.positions, self.size, self.stride, self.padding, strict=True)
        out = tuple((n + 2 * padding - size) // stride + 1 for n, size, stride, padding in sizes)
        self.needs(all(n > 0 for n in out), "at least as large as the kernel", x)
        if self.mode == "circular":
            fits = all(p <= n for n, p in zip(x.positions, self.padding, strict=True))
            self.needs(fits, "at least as large as the padding", x)
        return Shape(out, self.out)


@dataclass(frozen=True)
class Embed(WeightOperation):
    """W[x] for integers x: `torch.nn.Embedding`, an input weight that reads one-hot vectors.

    Args:
        count: How many different integers there are.
        out: Channels of the output.
    """

    count: int
    out: Size

    bias = False

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        (x,) = inputs
        self.needs(x.channels is None, "integers", x)
        return Shape(x.positions, self.out)

    def role(self, read: Shape) -> str:
        """See `WeightOperation.role`."""
        return "input"


@dataclass(frozen=True)
class Table(WeightOperation):
    """A parameter with a vector for each position, the same for all samples: a positional embedding, a class token.

    Args:
        positions: Axes of positions.
        out: Number of channels that it writes.
    """

    positions: tuple[int, ...]
    out: Size

    bias = False
    reads = 0

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        return Shape(self.positions, self.out)

    def role(self, read: Shape | None = None) -> str:
        """See `WeightOperation.role`."""
        return "input"
