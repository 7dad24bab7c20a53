"""Write a network down by hand: `describe`, and what makes it short."""

from collections.abc import Callable

from mupi.activations import Activation, as_activation
from mupi.architecture.architecture import Architecture
from mupi.architecture.coordinates import Activate, Add, Scale
from mupi.architecture.draft import Draft, Value
from mupi.architecture.operation import Input, Operation

Part = Operation | Activation | Callable[[Value], Value]
"""What a chain is made of: an operation, an activation, or a function from a value to a value."""


def describe(axes: tuple[int, ...], network: Part, *, integers: bool = False) -> Architecture:
    """The architecture of a network.

    >>> from mupi.architecture import Dense, Normalize, Width, chain, describe, residual
    >>> n = Width()
    >>> block = residual(Normalize(), Dense(n), mupi.ReLU(), Dense(n))
    >>> net = describe((64,), chain(Dense(n), mupi.ReLU(), block, Dense(10)))

    Args:
        axes: Axes of one input.
        network: From the input to the output.
        integers: Whether inputs are integers (tokens).

    Raises:
        ValueError: If an operation does not take what it is given.
    """
    draft = Draft()
    output = chain(network)(draft.write(Input(tuple(axes), integers), (), "x"))
    return Architecture(draft.finish(output))


def chain(*parts: Part) -> Callable[[Value], Value]:
    """One part after the other."""

    def through(x: Value) -> Value:
        for part in parts:
            x = part(x) if isinstance(part, Operation) or not isinstance(part, Activation) else activate(part)(x)
        return x

    return through


def residual(*parts: Part, scale: float = 1.0) -> Callable[[Value], Value]:
    """x + scale·(the parts of x)."""

    def around(x: Value) -> Value:
        branch = chain(*parts)(x)
        return Add()(x, branch if scale == 1 else Scale(scale)(branch))

    return around


def named(name: str, operation: Operation) -> Callable[[Value], Value]:
    """The operation, with a name for its node: that which its parameters have in a ``state_dict``."""
    return lambda x: operation(x, name=name)


def activate(activation: Callable) -> Activate:
    """φ of each coordinate, of an `Activation` or what `mupi.activations.as_activation` takes for one."""
    return Activate(as_activation(activation, "activate(activation)"))
