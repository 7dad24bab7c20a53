"""`Network`: what every network answers, each with one meaning."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.layers.error import LayerError


class Readout(Protocol):
    """The last layer of a network, as a function of what it reads. A module; `mupi.PiLinear` is one."""

    @property
    def width(self) -> int | None:
        """n of a finite network, whose features are vectors; None at infinite width, where g stands for them."""
        ...

    @property
    def rank(self) -> int | None:
        """r of the g that it takes; None if it takes the pre-activations of n neurons themselves."""
        ...

    def __call__(self, h: Tensor) -> Tensor:
        """The outputs, from the last of `Network.hidden`."""
        ...

    def features(self, h: Tensor) -> Tensor:
        """`Network.features`, from the last of `Network.hidden`."""
        ...

    def kernel(self, features1: Tensor, features2: Tensor) -> Tensor:
        """`Network.feature_kernel`, from features."""
        ...

    def diagonal(self, features: Tensor) -> Tensor:
        """That of each with itself."""
        ...

    def read_alike(self, other: Any) -> None:
        """Read the coordinates that another readout, of the same kind, reads: see `mupi.PiLinear.read_alike`."""
        ...


@takes_numpy
class Network(nn.Module, ABC):
    """A network with hidden layers and a readout.

    Attributes:
        readout: The last layer, a module that takes the last of `hidden` to the outputs; see `Readout`.
        replayable: Whether a step does the same operations whatever the values, so that it may be recorded once and
            replayed. A subclass that looks at values must say no.
    """

    readout: Readout
    replayable: ClassVar[bool] = False

    @abstractmethod
    def hidden(self, x: Tensor) -> list[Tensor]:
        """What each activation is applied to that a weight reads, in order, after any normalization.

        In a finite network the pre-activations h, of shape (batch, *positions, n); in a π-network the g that stand for
        them, (batch, *positions, r), at every width. The last is what `readout` takes.
        """

    def features(self, x: Tensor) -> Float[Tensor, "batch *left k"]:
        """What the readout's linear map reads: φ(h)/√n in a finite network, averaged over positions if the readout is.

        Their inner products are the feature kernel. At infinite width g stands for them, (batch, *positions, r). The
        kernel of features that are computed once is ``net.readout.kernel(features1, features2)``:

        >>> net, x, y = mupi.PiMLP(64, 10, rank=8), torch.randn(30, 64), torch.arange(30) % 10
        >>> learned = mupi.KernelRegression(net.readout.kernel, ridge=1e-2).fit(net.features(x).detach().flatten(1), y)
        """
        return self.readout.features(self.hidden(x)[-1])

    def feature_kernel(self, x1: Tensor, x2: Tensor) -> Float[Tensor, "*pairs"]:
        """E φ(h)φ(h') of the last hidden layer, (n, m), of averages over positions if the readout takes them.

        In a finite network the mean over the neurons. Where each position has an output it is the kernel between
        positions, (n, *positions, m, *positions).
        """
        return self.readout.kernel(self.features(x1), self.features(x2))

    def error_report(self, x: Tensor) -> list[LayerError]:
        """The relative error of each weight's feature map, on a batch: see `mupi.error_report`; empty without any."""
        return []

    @property
    def num_atoms(self) -> int:
        """How many atoms are stored in all layers; 0 at constant memory."""
        return 0

    @abstractmethod
    def parameter_groups(
        self, lr: float, first: float = 1.0, last: float = 1.0, bias: float = 1.0, weight_decay: float = 0.0
    ) -> list[dict]:
        """Parameter groups for `mupi.SGD` and other optimizers, with a learning rate for each kind of layer.

        Args:
            lr: Learning rate of the hidden weights; the others multiply it.
            first: Multiplier for the weights before the first hidden layer.
            last: Multiplier for the readout's weight.
            bias: Multiplier for all biases.
            weight_decay: Not multiplied: lr·weight_decay is the same for all groups.

        Raises:
            ValueError: For a negative or non-finite value.
        """


def readout_of(net: nn.Module) -> Any:
    """The module that ``net`` calls `readout`.

    Raises:
        ValueError: If there is none, or it does not say what it reads.
    """
    readout = getattr(net, "readout", None)
    if not all(callable(getattr(readout, name, None)) for name in ("features", "kernel", "diagonal")):
        fail(
            f"{type(net).__name__}.readout",
            "its last layer, a mupi.PiLinear or mupi.AveragedReadout",
            "nothing of that name" if readout is None else type(readout).__name__,
            "register the last layer by this name: self.readout = mupi.PiLinear(...)",
        )
    return readout
