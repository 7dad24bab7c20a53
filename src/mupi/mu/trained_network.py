"""The program of a described network's training: forward, backward and SGD, line by line."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mupi.architecture.coordinates import Activate, Dropout
from mupi.architecture.description import Description
from mupi.architecture.inputs import read_inputs
from mupi.architecture.on_data import on_data
from mupi.architecture.program_rules import program as rules
from mupi.architecture.program_values import Columns, Known, Layer, Value
from mupi.architecture.start import Start
from mupi.checks import fail
from mupi.mu.losses import Loss
from mupi.mu.optimizers import Optimizer
from mupi.mu.training_writer import Parameters, TrainingWriter
from mupi.parametrization import Roles
from mupi.programs import Entries, Matrix, Program, Scalar, Vector, apply, gradients
from mupi.programs.line import Line
from mupi.programs.operations import Given
from mupi.programs.probe import ROWS
from mupi.programs.vectors import multiplied


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
        optimizer: The rule of steps.
        still: Names of nodes whose weights' updates do not reach the limit; they only decay.
        vectors_move: Whether those of biases, gains and shifts of layers do.
    """

    def __init__(
        self, net: Description, start: Start, optimizer: Optimizer, still: frozenset[str] = frozenset(),
        vectors_move: bool = True,
    ):  # fmt: skip
        for node in net:
            if isinstance(node.operation, Dropout) and node.operation.p:
                fail("MuLimit(net)", "a network without dropout", str(node), "trace it with p=0")
        if net.output.is_layer or not any(net.role(i) == "readout" for i in range(len(net))):
            fail("MuLimit(net)", "a network whose outputs a weight reads from a layer", f"{net.nodes[-1]}")
        self.net, self.start, self.optimizer = net, start, optimizer
        self.still, self.vectors_move = still, vectors_move
        self.program = Program()
        self.parameters = Parameters(self.program)
        self.memory: dict[str, dict[str, Any]] = {}
        self.passes = self.steps = 0

    @property
    def state(self) -> list[Line]:
        """The lines from which the next step goes on."""
        return list(self.named_state.values())

    @property
    def named_state(self) -> dict[str, Line]:
        """The same by name."""
        kept = {f"{name}.{kind}": line for name, own in self.memory.items() for kind, line in own.items()}
        return self.parameters.lines | kept

    def begun(self, x: Tensor) -> "TrainedNetwork":
        """Itself, with the first lines of all parameters, before any other: a trial pass finds which there are."""
        trial = Parameters(Program())
        self._forward(self.read(x), trial)
        for name, kind in trial.kinds.items():
            self.parameters.find(name, kind)
        return self

    def forward(self, x: Tensor) -> Pass:
        """Write the lines of a forward pass."""
        inputs = self.read(x)
        if not self.parameters.lines:
            self.begun(x[:1])
        at = self._forward(inputs, self.parameters)
        self.passes += 1
        return at

    def read(self, x: Tensor) -> Tensor:
        """Inputs (batch, *axes): integers, or numbers in float64."""
        inputs, _ = read_inputs(self.net, x, None)
        return inputs.detach() if self.net.input.integers else inputs.detach().double()

    def step(self, x: Tensor, y: Tensor, loss: Loss) -> Pass:
        """Write the lines of a step of SGD; returns its forward pass."""
        at = self.forward(x)
        weights = self.parameters.lines
        moving = [name for name in weights if self._moves(name)]
        found = gradients(apply(loss, at.f, y, name="loss"), [weights[name] for name in moving])
        for name, gradient in zip(moving, found, strict=True):
            kind, memory = self.parameters.kinds[name], self.memory.setdefault(name, {})
            weights[name] = self.optimizer.step(weights[name], gradient, kind, memory, self.steps)
        for name in weights.keys() - set(moving):
            weights[name] = self.optimizer.shrunk(weights[name])
        self.steps += 1
        return at

    def _moves(self, name: str) -> bool:
        """Whether the update of a parameter reaches the limit."""
        if self.parameters.kinds[name].role == "vector":
            return self.vectors_move
        return name.rpartition(".weight")[0] not in self.still

    def restart(self) -> dict[Line, Line]:
        """Go on in a program of its own from the lines of now; which new line stands for which old one.

        Whoever evaluates it gives the new lines the values of the old, and nothing grows with the number of steps.
        """
        self.program, new = Program(), {}
        weights = self.parameters.lines
        for name, line in weights.items():
            weights[name] = new[line] = self._given(name, line)
        for name, own in self.memory.items():
            for kind, line in own.items():
                # A matrix is one on the bases of the weight's.
                given = (
                    multiplied(0.0, weights[name]) if isinstance(line, Matrix) else self._given(f"{name}.{kind}", line)
                )
                own[kind] = new[line] = given
        self.parameters.program, self.passes = self.program, 0
        return new

    def _given(self, name: str, line: Line) -> Line:
        """A line of a value that is known."""
        match line:
            case Matrix():
                return self.program.matrix(name, line.sigma, line.ratio)
            case Vector():
                return self.program.given(line.columns, name)
            case Entries():
                return self.program.write(Entries, Given(), (), line.probe, name)
            case _:
                return self.program.constant(line.probe, name)

    def remember(self, names: Iterable[str], steps: int) -> None:
        """Let there be lines of what an optimizer keeps, by their names in `named_state`, to be given values."""
        self.steps = steps
        for whole in names:
            name, _, kind = whole.rpartition(".")
            line = self.parameters.lines[name]
            entries = isinstance(line, Matrix) and kind != "velocity"
            trial = torch.zeros(ROWS, ROWS, dtype=torch.float64)
            made = self.program.write(Entries, Given(), (), trial) if entries else multiplied(0.0, line)
            self.memory.setdefault(name, {})[kind] = made

    def mark(self) -> Any:
        """What `go_back` takes."""
        kept = (dict(self.parameters.lines), dict(self.parameters.kinds), _copied(self.memory), self.passes)
        return self.program, len(self.program.lines), self.steps, kept

    def go_back(self, mark: Any) -> None:
        """To lines and parameters as they were."""
        self.program, count, self.steps, (lines, kinds, memory, passes) = mark
        self.program.forget(count)
        self.parameters = Parameters(self.program, dict(kinds), dict(lines))
        self.memory, self.passes = _copied(memory), passes

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


def _copied(memory: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: dict(own) for name, own in memory.items()}
