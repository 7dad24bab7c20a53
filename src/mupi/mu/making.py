"""What `MuLimit` is a limit of: a description or a perceptron of some depth, its exponents, its start and its rates."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction

import torch
from torch import Tensor

from mupi.activations import Activation
from mupi.architecture.description import Description
from mupi.architecture.start import Start
from mupi.architecture.weights import Conv, Dense
from mupi.architecture.zoo import perceptron
from mupi.checks import fail, positive_int
from mupi.conventions import without_address
from mupi.mu.initial_functions import InitialFunctions
from mupi.mu.kernel_descent import KernelDescent
from mupi.mu.optimizers import SGD, Optimizer
from mupi.mu.regime import Regime
from mupi.mu.tangent_kernels import tangent_kernels
from mupi.mu.trained_network import TrainedNetwork
from mupi.parametrization import Parametrization, Roles

PARAMETRIZATION = "MuLimit(parametrization=...)"


@dataclass(frozen=True)
class Plan:
    """Everything but the sizes of data.

    Attributes:
        net: A description, or the depth of a perceptron without biases.
        activation: φ of that perceptron.
        given: The parametrization that was asked for; None for μP.
        start: Multipliers and standard deviations.
        optimizer: The rule of steps.
        centered: Whether f_0 is left out, where it is random.
    """

    net: int | Description
    activation: Activation
    given: Parametrization | Roles | None
    start: Start
    optimizer: Optimizer
    centered: bool = True

    def __str__(self) -> str:
        regime = Regime.of(self.described(), self.given)
        scaling = "μP" if regime.parametrization.is_maximal else regime.parametrization.verdict.split(":")[0].lower()
        if regime.in_kernel_regime:
            scaling += ", centered" if self.centered else ", from a random f_0"
        net = f"perceptron of depth {self.net}" if isinstance(self.net, int) else f"{len(self.net)} operations"
        other = (f"{field.name}={getattr(self.optimizer, field.name)}" for field in fields(self.optimizer)
                 if getattr(self.optimizer, field.name) != field.default)  # fmt: skip
        return f"{net}, {scaling}, {type(self.optimizer).__name__}({', '.join(other)})"

    @property
    def description(self) -> Description | None:
        """The description, if it is one."""
        return self.net if isinstance(self.net, Description) else None

    def described(self, inputs: int = 1, outputs: int = 1) -> Description:
        """The description, or that of a perceptron with as many inputs and outputs."""
        if isinstance(self.net, Description):
            return self.net
        return perceptron(inputs, outputs, self.net, self.activation, bias=False)

    def conventions(self) -> list[str]:
        """What a state must have been made with to be one of this network's; rates may be others."""
        if self.description is None:
            network = [f"perceptron of depth {self.net}, {self.activation}"]
        else:
            network = [f"{node.name} = {node.operation}" for node in self.description]
        p = Regime.of(self.described(), self.given).parametrization
        other = (
            [] if p.is_maximal else [f"a = {_shown(p.a)}, b = {_shown(p.b)}, c = {p.c}", f"centered={self.centered}"]
        )
        start = (f"{name} = {value}" for name, value in vars(self.start).items())
        return [*map(without_address, network), *start, *other]

    def checked(self) -> "Plan":
        """Itself.

        Raises:
            ValueError: If there is no such limit.
        """
        if isinstance(self.net, int):
            positive_int("MuLimit(depth=...)", self.net)
            depth = self.net if self.given is None or isinstance(self.given, Roles) else self.given.depth
            if depth != self.net:
                fail(PARAMETRIZATION, f"of depth {self.net}", f"depth {depth}")
        net = self.described()
        regime = Regime.of(net, self.given)
        p = regime.parametrization
        if regime.in_kernel_regime:
            if not isinstance(self.optimizer, SGD) or self.optimizer.weight_decay:
                must = "SGD without weight decay in the kernel regime, where the kernel stays"
                fail("MuLimit(optimizer=...)", must, self.optimizer)
            tangent_kernels(regime, self.start, self.optimizer)  # which says what has no kernel
        elif not isinstance(self.optimizer, SGD) and not p.is_maximal:
            fail(PARAMETRIZATION, f"μP, up to shift, for {type(self.optimizer).__name__}", f"another: {p.verdict}")
        self._network(net, regime)  # which says what has no limit
        return self

    def made(self, x: Tensor, outputs: int) -> TrainedNetwork:
        """The network, for inputs and outputs of such sizes, with the lines of its parameters.

        In the kernel regime it is the network as it starts, with its features, and without random biases of outputs.
        """
        net = self.described(x.shape[-1], outputs)
        return self._network(net, Regime.of(net, self.given)).begun(x[:1])

    def descent(
        self, x: Tensor, outputs: int, draws: int, generator: torch.Generator | None, dtype: torch.dtype
    ) -> KernelDescent | None:
        """How f is trained in the kernel regime, for inputs and outputs of such sizes; None elsewhere.

        Args:
            x: Inputs of the first batch, whose shape counts.
            outputs: How many outputs there are, at each position.
            draws: How many functions f_0.
            generator: Draws these.
            dtype: Of outputs.
        """
        net = self.described(x.shape[-1], outputs)
        regime = Regime.of(net, self.given)
        if not regime.in_kernel_regime:
            return None
        assert isinstance(self.optimizer, SGD)
        kernels, positions = tangent_kernels(regime, self.start, self.optimizer), net.output.positions
        start = None
        if not self.centered:
            start = InitialFunctions(kernels.start, torch.Size(positions).numel(), outputs, draws, generator)
        return KernelDescent(kernels.tangent, (*positions, outputs), self.optimizer, start, dtype)

    def _network(self, net: Description, regime: Regime) -> TrainedNetwork:
        start = self.start
        if regime.in_kernel_regime:
            return TrainedNetwork(_without_output_biases(net), start, self.optimizer)
        if not regime.parametrization.readout_maximally_initialized:
            start = replace(start, readout_std=0.0)  # smaller than 1/n, so not seen in the limit
        return TrainedNetwork(net, start, self.optimizer, regime.still, regime.vectors_move)


def _shown(exponents: Sequence[Fraction]) -> str:
    return f"({', '.join(map(str, exponents))})"


def _without_output_biases(net: Description) -> Description:
    """The same features, of a network whose outputs do not matter."""
    nodes = [
        replace(node, operation=replace(node.operation, bias=False))
        if net.role(place) == "readout" and isinstance(node.operation, Dense | Conv)
        else node
        for place, node in enumerate(net)
    ]
    return Description(tuple(nodes))
