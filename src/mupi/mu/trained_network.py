"""The program of a described network's training: forward, backward and SGD, line by line."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from mupi.architecture.coordinates import Activate, Dropout
from mupi.architecture.description import Description
from mupi.architecture.inputs import read_inputs
from mupi.architecture.on_data import on_data
from mupi.architecture.program_rules import program as rules
from mupi.architecture.program_values import Columns, Known, Layer, Value
from mupi.architecture.start import Start
from mupi.checks import fail
from mupi.mu.descent import Loss
from mupi.mu.training_writer import Parameters, TrainingWriter, multiplied
from mupi.parametrization import Roles
from mupi.programs import Matrix, Program, Scalar, Vector, apply, gradients
from mupi.programs.line import Line


@dataclass(frozen=True)
class Rates:
    """SGD: v ← momentum·v + gradient + weight_decay·w, w ← w − lr·v, with multipliers of lr by role.

    Attributes:
        lr: Learning rate η.
        momentum: Momentum μ.
        weight_decay: λ; not multiplied, so that every parameter shrinks by 1 − ηλ a step.
        nesterov: Whether the step is along gradient + momentum·v.
        first: Multiplier for the input weights.
        last: Multiplier for readouts.
        bias: Multiplier for biases, gains and shifts.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    first: float = 1.0
    last: float = 1.0
    bias: float = 1.0

    def of(self, role: str) -> float:
        """The learning rate of a role."""
        factors = {"input": self.first, "readout": self.last, "vector": self.bias, "finite": self.bias}
        return self.lr * factors.get(role, 1.0)


@dataclass(frozen=True)
class Pass:
    """A forward pass.

    Attributes:
        values: Of all nodes.
        h: What activations are applied to, in order.
        features: What the last weight reads.
        f: Outputs (batch, *axes).
    """

    values: list[Value]
    h: list[Vector]
    features: Vector
    f: Scalar


class TrainedNetwork:
    """The lines of a network's training in μP, which writes a step of SGD at a time.

    Every parameter is a line in the scale of its limit (Yang & Hu 2021): of weights that read data, embeddings, biases,
    gains and shifts a vector for each number that they read, U = √n u; hidden weights are matrices; of readouts
    V = n v; an output's bias is a number. With these, all rates are η: with g = n ∂loss/∂U, n ∂loss/∂V, ∂loss/∂W or
    ∂loss/∂b, which `mupi.gradients` writes, a step is w ← w − η g. Where a layer has t·n coordinates, its vectors'
    gradients are in units of t·n, and η is divided by t.

    Args:
        net: The description.
        start: Multipliers and standard deviations, as for a finite network.
        rates: Of SGD.
    """

    def __init__(self, net: Description, start: Start, rates: Rates):
        for node in net:
            if isinstance(node.operation, Dropout) and node.operation.p:
                fail("MuLimit(net)", "a network without dropout", str(node), "trace it with p=0")
        self.net, self.start, self.rates = net, start, rates
        self.program = Program()
        self.parameters = Parameters(self.program)
        self.velocity: dict[str, Any] = {}
        self.passes = 0

    @property
    def state(self) -> list[Line]:
        """The lines from which the next step goes on."""
        return [*self.parameters.lines.values(), *self.velocity.values()]

    def forward(self, x: Tensor) -> Pass:
        """Write the lines of a forward pass."""
        inputs, _ = read_inputs(self.net, x, None)
        inputs = inputs.detach() if self.net.input.integers else inputs.detach().double()
        if not self.parameters.lines:
            self._begin(inputs[:1])
        at = self._forward(inputs, self.parameters)
        self.passes += 1
        return at

    def step(self, x: Tensor, y: Tensor, loss: Loss) -> Pass:
        """Write the lines of a step of SGD; returns its forward pass."""
        at = self.forward(x)
        names, lines = zip(*self.parameters.lines.items(), strict=True)
        found = gradients(apply(loss, at.f, y, name="loss"), lines)
        for name, line, gradient in zip(names, lines, found, strict=True):
            self.parameters.lines[name] = self._descend(name, line, gradient)
        return at

    def _begin(self, inputs: Tensor) -> None:
        """Write the first lines of all parameters, before any other: which there are is found in a trial pass."""
        trial = Parameters(Program())
        self._forward(inputs, trial)
        for name, kind in trial.kinds.items():
            self.parameters.find(name, kind)

    def _forward(self, inputs: Tensor, parameters: Parameters) -> Pass:
        net, mup = self.net, Roles.mup().parametrization
        owners = {node.name: node for node in net}
        values: list[Any] = [inputs]
        for place, node in enumerate(net.nodes[1:], 1):
            owner = owners.get(node.owner, node)
            shared = getattr(owner.operation, "bias", False)
            # Lines of later passes have the names of the first's, numbered.
            name = node.name if not self.passes else f"{node.name}[{self.passes}]"
            # At width 1 all powers of n are 1: the lines are in the scales of the limit.
            write = TrainingWriter(
                parameters.program, name, node.owner, partial(on_data, net, place), parameters,
                self.start.place(net, place, 1, 1, mup), tuple(net.shapes[i] for i in node.inputs),
                net.shapes[place].channels, node.owner if shared else node.name,
            )  # fmt: skip
            values.append(rules(node, write, *(values[i] for i in node.inputs)))
        f = values[-1]
        if not isinstance(f, Known):
            fail("MuLimit(net)", "a network whose outputs a weight reads from a layer", f"{net.nodes[-1]}")
        axes = (len(inputs), *net.output.axes)
        shaped = f.widened(Columns(len(inputs), f.columns.positions)).scalar
        if tuple(shaped.probe.shape) != axes:
            shaped = apply(lambda s: s.reshape(axes), shaped, name="reshape")
        h = [values[node.inputs[0]] for node in net if isinstance(node.operation, Activate)]
        readout = max(i for i in range(len(net)) if net.role(i) == "readout")
        last = values[net.nodes[readout].inputs[0]]
        assert isinstance(last, Layer)
        return Pass(values, [v.vector for v in h if isinstance(v, Layer)], last.vector, shaped)

    def _descend(self, name: str, line: Any, gradient: Any) -> Any:
        """Write the lines of the optimizer for one parameter."""
        rates, kind = self.rates, self.parameters.kinds[name]
        lr = rates.of(kind.role)
        η = lr / kind.times
        shrink = rates.lr * rates.weight_decay
        if not rates.momentum:
            start = line if shrink == 0 else (1 - shrink) * line
            return stepped(start, -η, gradient)
        if lr == 0:
            return line if shrink == 0 else (1 - shrink) * line
        # In units of the velocity of the finite network times t: w − η v with η = lr/t.
        decay = rates.weight_decay * rates.lr / lr * kind.times
        total = stepped(0.0 * line, 1.0, gradient)
        if decay:
            total = total + decay * line
        known = self.velocity.get(name)
        velocity = total if known is None else rates.momentum * known + total
        self.velocity[name] = velocity
        along = total + rates.momentum * velocity if rates.nesterov else velocity
        return line + -η * along


def stepped(line: Any, factor: float, gradient: Any) -> Any:
    """A parameter and a multiple of its gradient."""
    if isinstance(line, Matrix):
        for part in gradient:
            line = line + factor * part
        return line
    return line + multiplied(factor, gradient)
