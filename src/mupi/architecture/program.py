"""The Tensor Program of a described network's forward pass."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.architecture.description import Description, Node
from mupi.architecture.forward_writer import ForwardWriter, Initial
from mupi.architecture.inputs import read_inputs
from mupi.architecture.kernel.settings import Scales, Setting, scales
from mupi.architecture.on_data import on_data
from mupi.architecture.program_rules import program as rules
from mupi.architecture.program_values import Columns, Known, Layer, Outputs, Value, check_size
from mupi.architecture.program_weights import first_reads
from mupi.architecture.rules import Refused
from mupi.architecture.weights import Dense, Embed, WeightOperation
from mupi.arrays import takes_numpy
from mupi.programs import Program, Scalar, Values, Vector, mean

NONE = Scales(0.0, 0.0, 0.0, 0.0)
"""Of operations without parameters."""


@takes_numpy
class ForwardProgram(Program):
    """The lines of a network on some inputs, which `run` evaluates at a width and `limit` in the limit.

    A column stands for an input and one of its positions; a layer is a vector for each column. The first weights are
    initial vectors: their outputs W u, jointly Gaussian with covariance σ_w² u·u'/d over the fan-in d (of an embedding
    σ_w² where tokens are the same). A hidden weight is a matrix with N(0, σ_w²/n) entries; a convolution one for each
    of the k offsets, with σ_w²/(k n), applied to columns that are moved; a weight that reads flattened positions one
    for each of them. A layer of 4n coordinates is one of n, whose limit is the same. Normalizations and attention with
    logits q·k/d are functions of moments. Biases are N(0, σ_b²), gains 1, shifts 0; dropout lets all pass.

    What the program can do and a kernel of pairs can't: functions of sums of functions, weights that are used twice,
    positions and samples that depend on each other; ``limit(samples=…)`` takes whatever `limit` has no closed form for.

    The readout is not drawn. In NTK or standard parametrization its outputs are, given all before it, independent
    Gaussians with the covariance that the line ``K`` averages to, Σ σ_w² xᵀx/n + σ_b² over what it reads. So `limit` of
    ``K`` is the network's NNGP, and `run` gives σ_w² times the feature kernel of a finite network, plus σ_b². Where the
    readout is the transpose of an embedding, outputs f = Eᵀx/n converge to numbers, the line ``f``.

    >>> from mupi.architecture.zoo import perceptron
    >>> p = perceptron(3, 10).program(torch.eye(3))
    >>> p.covariance(p.limit()).shape
    torch.Size([3, 3])

    Args:
        net: The description.
        x: Inputs (batch, *axes), or flattened.
        sigma_w: σ_w of the weights, as for `mupi.architecture.Architecture.nngp`: a number, or some by name or role;
            None for √2.
        sigma_b: σ_b of the biases, likewise; None for 0.

    Attributes:
        layers: The vector of each node that is a layer, by the node's name.
        output: The line ``K`` of covariances (columns, columns), or ``f`` (columns, channels).
        columns: Its axes: inputs, and positions of the output.

    Raises:
        ValueError: For an operation that has no rule or no limit, inputs that do not fit, a σ that is negative, or
            more columns than there is room for.
    """

    def __init__(self, net: Description, x: Tensor, *, sigma_w: Setting = None, sigma_b: Setting = None):
        super().__init__()
        self.description = net
        found = scales("program", net, sigma_w, sigma_b)
        inputs, _ = read_inputs(net, x, None)
        inputs = inputs.detach() if net.input.integers else inputs.detach().double()
        initial = _initial(self, net, _data(net, inputs), found)
        self.layers: dict[str, Vector] = {}
        values: list[Value] = [inputs]
        for place, node in enumerate(net.nodes[1:], 1):
            σ = found.get(place, NONE)
            of_data = partial(on_data, net, place)
            write = ForwardWriter(self, node.name, node.owner, of_data, float(σ.sigma_w), float(σ.sigma_b), initial)
            values.append(rules(node, write, *(values[i] for i in node.inputs)))
            if isinstance(value := values[-1], Layer):
                self.layers[node.name] = value.vector
        self.output, self.columns = self._read_out(values[-1], len(inputs))

    def covariance(self, values: Values) -> Float[Tensor, "*pairs"]:
        """Of the outputs, (batch, *positions, batch, *positions), from the program's values.

        Args:
            values: What `run` or `limit` returned.
        """
        axes = (self.columns.batch, *self.columns.positions)
        return values[self.output].reshape(*axes, *(axes if self.output.name == "K" else (-1,)))

    def _read_out(self, value: Value, batch: int) -> tuple[Scalar, Columns]:
        match value:
            case Known():
                return value.scalar.named("f"), value.columns
            case Outputs():
                out = value.widened(Columns(batch, value.columns.positions))
                total: Any = 0.0
                for name, part in out.parts.items():
                    last = part.vector.named(f"last.{name}")
                    total = mean(last, last) + total
                for bias in out.biases.values():
                    total = total + torch.outer(bias, bias)
                return total.named("K"), out.columns
            case Layer():
                out = value.widened(Columns(batch, value.columns.positions))
                return mean(out.vector, out.vector).named("K"), out.columns
            case _:
                raise ValueError("`program(x)` must be of a network with a layer; got one of data alone")


def _data(net: Description, inputs: Tensor) -> list[Tensor | None]:
    """The values that depend on no weight; None for others."""
    values: list[Tensor | None] = [inputs]
    for place, node in enumerate(net.nodes[1:], 1):
        read = [values[i] for i in node.inputs]
        known = [v for v in read if v is not None]
        is_data = len(known) == len(read) and not isinstance(node.operation, WeightOperation)
        values.append(on_data(net, place, *known) if is_data and rules.covers(node.operation) else None)
    return values


def _initial(
    program: Program, net: Description, data: list[Tensor | None], found: Mapping[int, Scales]
) -> dict[str, Initial]:
    """The vectors of weights that read data, each with all its uses."""
    uses: dict[str, list[tuple[Node, Tensor, Columns]]] = {}
    sigmas: dict[str, Scales] = {}
    for place, node in enumerate(net):
        o, read = node.operation, [data[i] for i in node.inputs]
        if isinstance(o, WeightOperation) and net.shapes[place].is_layer and all(v is not None for v in read):
            try:
                rows, columns, fan_in = first_reads(o, *(v for v in read if v is not None))
                check_size(columns)
            except Refused as reason:
                rules.refuse(node, reason.reason, reason.hint)
            uses.setdefault(node.owner, []).append((node, rows / fan_in**0.5, columns))
            sigmas.setdefault(node.owner, found[place])
    for place, node in enumerate(net):
        embeds = [o for n, *_ in uses.get(node.owner, []) if isinstance(o := n.operation, Embed)]
        if embeds and isinstance(node.operation, Dense) and net.role(place) == "readout":
            rows = torch.eye(embeds[0].count, dtype=torch.float64)
            uses[node.owner].append((node, rows, Columns(1, (len(rows),))))
    initial = {}
    for owner, of_owner in uses.items():
        nodes, rows, columns = zip(*of_owner, strict=True)
        if len({u.shape[1] for u in rows}) > 1:
            rules.refuse(nodes[-1], f"its weight is that of {nodes[0].name}, which has another fan-in")
        u, first, places = torch.cat(rows), 0, {}
        for node, own, axes in of_owner:
            places[node.name] = slice(first, first + len(own)), axes
            first += len(own)
        σ = sigmas[owner]
        alone = len(nodes) == 1 and not (σ.sigma_b and getattr(nodes[0].operation, "bias", False))
        name = f"h.{nodes[0].name}" if alone else f"W.{owner}"
        initial[owner] = Initial(program.vector(name, σ.sigma_w**2 * u @ u.T), places)
    return initial
