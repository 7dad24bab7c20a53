"""A finite network computed from its description, each operation in plain PyTorch from its definition.

Values are tensors (batch, *positions, channels); integers (batch, *positions); a flattened layer keeps its positions
until a weight reads it. Parameters come by their names in the description, from a module's ``state_dict`` or drawn.
"""

from itertools import product
from math import prod

import torch

from mupi.architecture import (
    Activate,
    Add,
    Attention,
    AveragePool,
    Center,
    Conv,
    Dense,
    Dropout,
    Embed,
    Flatten,
    Join,
    Multiply,
    Normalize,
    Permute,
    Reshape,
    Scale,
    Select,
    Table,
    Width,
)


def at(size, width):
    """A size where n is the width."""
    return int(size.times * width) if isinstance(size, Width) else size


def node_parameters(net, state, width):
    """For each node's name the parameters of its own, by what they are to it."""
    found = {}
    for parameter in net.parameters:
        full = state[parameter.name]
        assert tuple(full.shape) == tuple(at(size, width) for size in parameter.axes), parameter.name
        for use in parameter.uses:
            part = full
            for cut in use.cuts:
                size, faster = at(cut.size, width), at(cut.faster, width)
                apart = part.unflatten(cut.axis, (-1, size, faster))
                apart = apart.narrow(cut.axis + 1, at(cut.start, width), at(cut.stop, width) - at(cut.start, width))
                part = apart.flatten(cut.axis, cut.axis + 2)
            part = part.reshape([at(size, width) for size in use.factors]).permute(use.order)
            found.setdefault(use.node, {})[use.kind] = part
    return found


def drawn(net, width, generator):
    """Random parameters for a description, by their names."""
    return {
        p.name: torch.randn([at(size, width) for size in p.axes], dtype=torch.float64, generator=generator)
        for p in net.parameters
    }


def interpret(net, state, x, width, *, every=False):
    """The output for a batch; with ``every``, the values of all nodes."""
    own = node_parameters(net, state, width)
    values = [x]
    for place, node in list(enumerate(net))[1:]:
        given = own.get(node.name) or own.get(node.weights) or {}
        inputs = [values[i] for i in node.inputs]
        shapes = [net.shapes[i] for i in node.inputs]
        values.append(step(node.operation, inputs, shapes, given, width, len(x)))
        shape = net.shapes[place]
        expected = (*(shape.flat or shape.positions), *(() if shape.channels is None else (at(shape.channels, width),)))
        assert tuple(values[-1].shape[1:]) == expected, (node, values[-1].shape, expected)
    return values if every else values[-1]


def step(operation, inputs, shapes, given, width, batch):
    """One operation."""
    match operation:
        case Dense(out, bias):
            return dense(inputs[0], shapes[0], given, at(out, width), bias)
        case Conv():
            return convolution(operation, inputs[0], given)
        case Embed():
            table = given["weight"]
            return torch.stack([table[i] for i in inputs[0].flatten().tolist()]).reshape(*inputs[0].shape, -1)
        case Table(positions, out):
            weight = given["weight"].reshape(*positions, at(out, width))
            return weight.expand(batch, *weight.shape)
        case Activate(activation):
            return activation(inputs[0])
        case Add():
            x, y = broadcast(*inputs)
            return x + y
        case Multiply():
            x, y = broadcast(*inputs)
            return x * y
        case Scale(factor, exponent):
            return factor * float(width) ** exponent * inputs[0]
        case Normalize():
            return normalize(operation, inputs[0], given)
        case Center():
            return inputs[0] - inputs[0].flatten(0, -2).mean(0)
        case Dropout():
            return inputs[0]
        case AveragePool():
            return average(operation, inputs[0])
        case Flatten():
            return inputs[0]
        case Reshape(axes):
            kept = inputs[0].shape[-1:] if shapes[0].is_layer else ()
            return inputs[0].reshape(batch, *axes, *kept)
        case Permute(order):
            kept = (len(order) + 1,) if shapes[0].is_layer else ()
            return inputs[0].permute(0, *(i + 1 for i in order), *kept)
        case Join():
            return torch.cat(inputs, 1)
        case Select(start, stop):
            return inputs[0][:, start] if stop is None else inputs[0][:, start:stop]
        case Attention():
            return attention(operation, *inputs)
    raise NotImplementedError(operation)


def dense(x, shape, given, out, bias):
    """Σ over channels, and over the positions of a flattened layer."""
    axes = len(shape.flat) + 1
    weight = given["weight"].reshape(out, *x.shape[x.ndim - axes :])
    y = x.flatten(-axes) @ weight.flatten(1).T
    return y + given["bias"].reshape(out) if bias else y


def convolution(operation, x, given):
    """Σ_o W_o x(stride·p + o − padding)."""
    weight, count = given["weight"], len(operation.size)
    sizes = x.shape[1:-1]
    weight = weight.reshape(weight.shape[0], x.shape[-1], *operation.size)
    out = [
        (n + 2 * p - k) // s + 1
        for n, k, s, p in zip(sizes, operation.size, operation.stride, operation.padding, strict=True)
    ]
    y = torch.zeros(x.shape[0], *out, weight.shape[0], dtype=x.dtype)
    for position in product(*map(range, out)):
        for offset in product(*map(range, operation.size)):
            read = [operation.stride[i] * position[i] + offset[i] - operation.padding[i] for i in range(count)]
            if operation.mode == "circular":
                read = [r % n for r, n in zip(read, sizes, strict=True)]
            if all(0 <= r < n for r, n in zip(read, sizes, strict=True)):
                y[(slice(None), *position)] += x[(slice(None), *read)] @ weight[(..., *offset)].T
    return y + given["bias"].flatten() if operation.bias else y


def broadcast(x, y):
    """Positions from the last, those that one has not of size 1."""
    rank = max(x.ndim, y.ndim)
    return [v.reshape(v.shape[0], *(1,) * (rank - v.ndim), *v.shape[1:]) for v in (x, y)]


def normalize(operation, x, given):
    """Over the channels."""
    if operation.subtract:
        x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + operation.eps).sqrt()
    x = x * given["gain"].flatten() if operation.gain else x
    return x + given["shift"].flatten() if operation.shift else x


def average(operation, x):
    """Over blocks of positions."""
    if not operation.size:
        return x.flatten(1, -2).mean(1)
    out = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], operation.size, operation.stride, strict=True)]
    y = torch.zeros(x.shape[0], *out, x.shape[-1], dtype=x.dtype)
    for position in product(*map(range, out)):
        for offset in product(*map(range, operation.size)):
            read = (s * p + o for s, p, o in zip(operation.stride, position, offset, strict=True))
            y[(slice(None), *position)] += x[(slice(None), *read)]
    return y / prod(operation.size)


def attention(operation, query, key, value):
    """Head by head, query by query."""
    size, heads = query.shape[-1] // operation.heads, []
    factor = (1.0 if operation.factor is None else operation.factor) * float(size) ** operation.exponent
    for q, k, v in zip(*(x.chunk(operation.heads, -1) for x in (query, key, value)), strict=True):
        rows = []
        for p in range(q.shape[1]):
            seen = p + 1 if operation.causal else k.shape[1]
            weights = (factor * (k[:, :seen] * q[:, p : p + 1]).sum(-1)).exp()
            rows.append((weights[..., None] * v[:, :seen]).sum(1) / weights.sum(1, keepdim=True))
        heads.append(torch.stack(rows, 1))
    return torch.cat(heads, -1)
