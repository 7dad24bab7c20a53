"""Operations that act on each position by itself."""

from dataclasses import dataclass

from mupi.activations import Activation, Quadrature
from mupi.activations.function_check import name_of
from mupi.architecture.operation import Operation
from mupi.architecture.shape import Shape
from mupi.checks import non_negative


@dataclass(frozen=True)
class Activate(Operation):
    """φ of each coordinate.

    Args:
        activation: The activation φ.
    """

    activation: Activation

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        (x,) = inputs
        self.needs(x.channels is not None and not x.flat, "numbers, not flattened", x)
        return x

    def __str__(self) -> str:
        φ = self.activation
        return name_of(φ.function) if isinstance(φ, Quadrature) else str(φ)


@dataclass(frozen=True)
class Add(Operation):
    """x + y: a residual sum; positions that only one of them has, or of size 1, are those of the other."""

    reads = 2

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        return _together(self, *inputs)


@dataclass(frozen=True)
class Multiply(Operation):
    """x·y, coordinate by coordinate: a gate."""

    reads = 2

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        return _together(self, *inputs)


def _together(operation: Operation, x: Shape, y: Shape) -> Shape:
    """The shape of two values that act on each other coordinate by coordinate."""
    operation.needs(x.channels == y.channels and x.channels is not None, f"of as many channels as {x}", y)
    operation.needs(not x.flat and not y.flat, "not flattened", f"{x} and {y}")
    longer, shorter = sorted((x.positions, y.positions), key=len, reverse=True)
    padded = (1,) * (len(longer) - len(shorter)) + shorter
    fits = all(a == b or 1 in (a, b) for a, b in zip(longer, padded, strict=True))
    operation.needs(fits, f"of positions that fit {x}", y)
    return Shape(tuple(map(max, longer, padded)), x.channels)


@dataclass(frozen=True)
class Scale(Operation):
    """c·n^e·x.

    Args:
        factor: The factor c.
        exponent: e, of the width; 0 but where a network has multipliers of its own that depend on width.
    """

    factor: float
    exponent: float = 0.0

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        return inputs[0]


@dataclass(frozen=True)
class Normalize(Operation):
    """LayerNorm or RMSNorm over the channels of a layer: γ·(x − mean)/√(variance + eps) + β, or without the mean.

    Args:
        subtract: Whether the mean over channels is subtracted: LayerNorm; if not, RMSNorm.
        eps: Added to the variance.
        gain: Whether there is a γ, a parameter that starts at 1.
        shift: Whether there is a β, a parameter that starts at 0.
    """

    subtract: bool = True
    eps: float = 0.0
    gain: bool = False
    shift: bool = False

    def __post_init__(self):
        non_negative("Normalize(eps=...)", self.eps)

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        (x,) = inputs
        self.needs(x.is_layer and not x.flat, "a layer, over whose width it normalizes", x)
        return x

    def __str__(self) -> str:
        return f"{'LayerNorm' if self.subtract else 'RMSNorm'}(eps={self.eps:g})"


@dataclass(frozen=True)
class Center(Operation):
    """x less its mean over all samples of the batch and all positions, for each channel: see `mupi.layers`."""

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        return inputs[0]


@dataclass(frozen=True)
class Dropout(Operation):
    """Each coordinate of a layer kept with probability 1 − p, and divided by it, in training.

    Args:
        p: Probability of leaving one out.
    """

    p: float

    def shape(self, *inputs: Shape) -> Shape:
        """See `Operation.shape`."""
        return inputs[0]
