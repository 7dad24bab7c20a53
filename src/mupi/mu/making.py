"""What `MuLimit` is a limit of: a description or a perceptron of some depth, its exponents, its start and its rates."""

from dataclasses import dataclass, replace

from torch import Tensor

from mupi.activations import Activation
from mupi.architecture.description import Description
from mupi.architecture.start import Start
from mupi.architecture.zoo import perceptron
from mupi.checks import fail, positive_int
from mupi.conventions import without_address
from mupi.mu.optimizers import SGD, Optimizer
from mupi.mu.reaching import reaching
from mupi.mu.tangent import TangentPerceptron
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
    """

    net: int | Description
    activation: Activation
    given: Parametrization | Roles | None
    start: Start
    optimizer: Optimizer

    @property
    def description(self) -> Description | None:
        """The description, if it is one."""
        return self.net if isinstance(self.net, Description) else None

    @property
    def parametrization(self) -> Parametrization:
        """The exponents."""
        if self.given is None:
            return Parametrization.mup(self.net) if isinstance(self.net, int) else Roles.mup().parametrization
        return self.given.parametrization if isinstance(self.given, Roles) else self.given

    def conventions(self) -> list[str]:
        """What a state must have been made with to be one of this network's; rates may be others."""
        if self.description is None:
            network = [f"perceptron of depth {self.net}, {self.activation}"]
        else:
            network = [f"{node.name} = {node.operation}" for node in self.description]
        return [*map(without_address, network), *(f"{name} = {value}" for name, value in vars(self.start).items())]

    def checked(self) -> "Plan":
        """Itself.

        Raises:
            ValueError: If there is no such limit.
        """
        if isinstance(self.net, Description):
            p = self.parametrization
            if not p.is_maximal:
                hint = "for lazy training take net.ntk() in mupi.KernelDynamics"
                fail(PARAMETRIZATION, "μP, up to shift, for a description", f"one that is not: {p.verdict}", hint)
            TrainedNetwork(self.net, self.start, self.optimizer)  # which says what has no limit
            return self
        positive_int("MuLimit(depth=...)", self.net)
        p = self.parametrization
        if p.depth != self.net:
            fail(PARAMETRIZATION, f"of depth {self.net}", f"depth {p.depth}")
        if not (p.learns_features or p.kernel_regime):
            fail(PARAMETRIZATION, "stable and nontrivial", f"one that is not: {p.verdict}")
        if p.kernel_regime:
            plain = SGD(self.optimizer.lr, momentum=getattr(self.optimizer, "momentum", 0.0))
            if not isinstance(self.optimizer, SGD) or self.optimizer != plain:
                must = "SGD with lr and momentum alone in the kernel regime, where the kernel stays"
                fail("MuLimit(optimizer=...)", must, self.optimizer)
        elif not isinstance(self.optimizer, SGD) and not p.is_maximal:
            fail(PARAMETRIZATION, f"μP, up to shift, for {type(self.optimizer).__name__}", f"another: {p.verdict}")
        return self

    def made(self, x: Tensor, outputs: int) -> TrainedNetwork | TangentPerceptron:
        """The network, for inputs and outputs of such sizes, with the lines of its parameters."""
        if isinstance(self.net, Description):
            return TrainedNetwork(self.net, self.start, self.optimizer).begun(x[:1])
        p, start, d = self.parametrization, self.start, x.shape[1]
        if p.kernel_regime:
            first = start.sigma_w / d**0.5 if start.input_std is None else start.input_std
            last = start.sigma_w if start.readout_std is None else start.readout_std
            stds = first, start.sigma_w, last
            momentum = getattr(self.optimizer, "momentum", 0.0)
            return TangentPerceptron(
                d, outputs, self.net, self.activation, stds, self.optimizer.lr, momentum, reaching(p)
            )
        # An initial readout smaller than 1/n is not seen in the limit.
        start = start if p.readout_maximally_initialized else replace(start, readout_std=0.0)
        net = perceptron(d, outputs, self.net, self.activation, bias=False)
        still = {f"layers.{i}.weight" for i, learns in enumerate(reaching(p)) if not learns}
        return TrainedNetwork(net, start, self.optimizer, frozenset(still)).begun(x[:1])
