"""Weights that are ordinary matrices in the π-limit: those that read data, or a layer's g without a φ."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mupi.architecture.pi_plan import Options, Plan, Step, apply
from mupi.architecture.pi_values import Data, Linear
from mupi.architecture.shape import Width
from mupi.architecture.weights import Conv, Dense, Embed, Table, WeightOperation
from mupi.layers import DenseMatrix, InputConv2d


def dense_matrix(operation: Dense, plan: Plan, place: int, x: Data | Linear) -> Step:
    """g' = M g: W = Ω̃' M Ω̃ᵀ/n has W Ω̃ g = Ω̃' M g at every width, and SGD on W, projected, is SGD on M."""
    return matrix(operation, plan, place, x, DenseMatrix, Step(apply))


def conv_matrix(operation: Conv, plan: Plan, place: int, x: Data | Linear) -> Step:
    """The same at each offset."""
    layer = partial(InputConv2d, **two_axes(operation))
    return matrix(operation, plan, place, x, layer, Step(partial(_convolve, axes=len(operation.size))))


def _convolve(layer: InputConv2d, x: Tensor, axes: int) -> Tensor:
    """Channels last, as all values have them, and one or two axes of positions."""
    x = x[..., None, :, :] if axes == 1 else x
    out = layer(x.movedim(-1, -3))
    return out.squeeze(-3) if axes == 1 else out


def two_axes(operation: Conv) -> dict[str, Any]:
    """The arguments of a convolution over two axes, of one row if there is one."""
    row = len(operation.size) == 1
    return dict(
        kernel_size=(1, *operation.size) if row else operation.size,
        stride=(1, *operation.stride) if row else operation.stride,
        padding=(0, *operation.padding) if row else operation.padding,
        padding_mode=operation.mode,
    )


def matrix(
    operation: Dense | Conv, plan: Plan, place: int, x: Data | Linear, layer: Callable[..., nn.Module], step: Step
) -> Step:
    """Register it, with the multipliers of its role."""
    node, options, role = plan.net.nodes[place], plan.options, plan.net.role(place)
    plan.scales[place] = options.input_scale if role == "input" else 1.0
    bias_scale, channels = options.bias_scale if operation.bias else 0.0, plan.net.shapes[node.inputs[0]].channels

    def make() -> nn.Module:
        d_in = plan.rank(x.junction) if isinstance(x, Linear) else channels
        return layer(d_in, plan.size(place), scale=plan.scales[place], bias_scale=bias_scale, **options.like)

    if plan.once(place, (operation, role), *([x.junction] if isinstance(x, Linear) else [])):
        plan.ordinary(node.owner, make, role)
    return step._replace(module=node.owner)


def embedding(operation: Embed, plan: Plan, place: int) -> Step:
    """Rows of norm 1, one for each integer: an input weight on one-hot vectors."""
    scale = _rows(operation, plan, place, (operation.count,))
    return Step(partial(_look_up, scale=scale), plan.net.nodes[place].owner)


def table(operation: Table, plan: Plan, place: int) -> Step:
    """Rows of norm 1, one for each position; one for all is a bias, which starts at 0.

    The input says how many samples there are, and how many positions.
    """
    scale = _rows(operation, plan, place, operation.positions)
    taken = partial(_for_all, scale=scale, axes=len(plan.net.input.axes), shorter=plan.shorter)
    return Step(taken, plan.net.nodes[place].owner, (0,))


def _rows(operation: WeightOperation, plan: Plan, place: int, sizes: tuple[int, ...]) -> float:
    node, options = plan.net.nodes[place], plan.options
    layer, vector = isinstance(operation.out, Width), not sizes
    if plan.once(place, operation):
        role = "vector" if vector else "input"
        plan.ordinary(node.owner, lambda: unit_rows(sizes, plan.size(place), options), role)
    return (options.bias_scale if vector else options.input_scale) if layer else 1.0


def unit_rows(sizes: tuple[int, ...], rank: int, options: Options) -> nn.Parameter:
    """Rows uniform on the sphere; 0 if there is one for all positions."""
    dtype, device = options.like["dtype"] or torch.get_default_dtype(), options.like["device"]
    if not sizes:
        return nn.Parameter(torch.zeros(rank, dtype=dtype, device=device))
    rows = torch.randn(*sizes, rank, dtype=torch.float64, generator=options.generator)
    rows = nn.functional.normalize(rows, dim=-1)
    return nn.Parameter(rows.to(device=device, dtype=dtype))


def _look_up(rows: Tensor, x: Tensor, scale: float) -> Tensor:
    g = nn.functional.embedding(x, rows)
    return g if scale == 1 else scale * g


def _for_all(rows: Tensor, x: Tensor, scale: float, axes: int, shorter: bool) -> Tensor:
    rows = rows[: x.shape[-1]] if shorter else rows
    g = rows.expand(*x.shape[: x.ndim - axes], *rows.shape)
    return g if scale == 1 else scale * g
