"""What a kernel is given: samples in the axes of the network, or flattened to rows as kernel methods have them."""

from math import prod

import torch
from torch import Tensor

from mupi.architecture.kernel.data_values import HOMOGENEOUS, on_data
from mupi.architecture.kernel.structure import Structure
from mupi.architecture.weights import Embed
from mupi.checks import fail, finite, is_eager


def rows_of(argument: str, x: Tensor, structure: Structure) -> Tensor:
    """Samples as rows (n, d).

    Raises:
        ValueError: For another shape, a dtype that does not fit, or what is not finite; names the argument.
    """
    axes, integers = structure.net.input.axes, structure.net.input.integers
    d = prod(axes)
    if not isinstance(x, Tensor) or x.ndim < 1 or x.shape[1:] not in (axes, (d,)):
        shapes = " or ".join(dict.fromkeys(f"(n, {', '.join(map(str, s))})" for s in (axes, (d,))))
        fail(argument, f"of shape {shapes}", f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__)
    x = x.reshape(len(x), d)
    if not integers:
        if not x.is_floating_point():
            fail(argument, "of a floating dtype", x.dtype, "use x.float()")
        finite(argument, x)
        return x
    if x.dtype == torch.bool or x.is_complex():
        fail(argument, "integers", x.dtype)
    count = min(node.operation.count for node in structure.net if isinstance(node.operation, Embed))
    if is_eager(x) and x.numel():
        finite(argument, x) if x.is_floating_point() else None
        wrong = (x < 0) | (x >= count) | (x != x.round() if x.is_floating_point() else False)
        if wrong.any():
            fail(argument, f"integers 0 to {count - 1}", x[wrong][0].item())
    return x


def check_alike(name: str, x1: Tensor, x2: Tensor) -> None:
    """Raise ``ValueError`` unless the second samples are of the dtype and device of the first."""
    if (x2.dtype, x2.device) != (x1.dtype, x1.device):
        must = f"of x1's dtype and device, {x1.dtype} on {x1.device}"
        fail(f"{name}(x2)", must, f"{x2.dtype} on {x2.device}", "use x2.to(x1)")


def shrinkable(structure: Structure) -> bool:
    """Whether inputs may be multiplied by a number, since weights read multiples of them."""
    if structure.net.input.integers:
        return False
    nodes = structure.net.nodes[1:]
    return all(
        isinstance(node.operation, HOMOGENEOUS)
        for node, fact in zip(nodes, structure.facts[1:], strict=True)
        if fact.is_data
    )


def data_of(x: Tensor, structure: Structure) -> dict[int, Tensor]:
    """The data that weights read, (n, positions, channels) each."""
    values: list[Tensor | None] = [x.reshape(len(x), *structure.net.input.axes)]
    if structure.net.input.integers:
        values[0] = values[0].long() if values[0] is not None else None
    for place, node in enumerate(structure.net.nodes[1:], 1):
        read = [values[i] for i in node.inputs]
        values.append(on_data(node, *read) if structure[place].is_data else None)
    return {place: value for place in structure.roots if (value := values[place]) is not None}
