"""Parameters of a module, by the names of its ``state_dict``, and what they are to a description."""

from dataclasses import dataclass

from mupi.architecture.shape import Size


@dataclass(frozen=True)
class Cut:
    """A part of an axis: the axis seen as (slower, size, faster), from start to stop of the middle one.

    Args:
        axis: Which axis.
        size: Size of the middle one.
        faster: Size of what varies faster.
        start: First index.
        stop: First index that is not in the part.
    """

    axis: int
    size: Size
    faster: Size
    start: Size
    stop: Size


@dataclass(frozen=True)
class Use:
    """How a node's parameter is made of a module's: the cuts one after the other, then ``reshape`` and ``permute``.

    The result has the node's axes: `Dense` (out, flattened positions, channels), `Conv` (out, channels, kernel),
    `Embed` (integers, out), `Table` (positions, out), and of a bias, gain or shift the channels. Each of them may have
    been permuted into several of these.

    Args:
        node: The name of the node.
        kind: What it is there: weight, bias, gain or shift.
        cuts: Parts that are taken.
        factors: The axes that are then seen.
        order: Their order.
    """

    node: str
    kind: str
    cuts: tuple[Cut, ...] = ()
    factors: tuple[Size, ...] = ()
    order: tuple[int, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """A parameter.

    Args:
        name: In the ``state_dict``.
        axes: Its axes, with n for the width.
        role: What μP calls it: input, hidden or readout (weights), vector (biases and gains), or finite.
        uses: What it is to which nodes; several for one that is tied, or fused.
    """

    name: str
    axes: tuple[Size, ...]
    role: str
    uses: tuple[Use, ...]
