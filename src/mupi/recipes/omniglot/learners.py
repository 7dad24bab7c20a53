"""What classifies the images of an episode: a kernel, a network whose readout adapts, or one that adapts as a whole."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations import Identity
from mupi.data.episodes import Episodes
from mupi.nets import MLP, LinearMuLimit, Network
from mupi.recipes.omniglot.adaptation import LinearLayers, kernel_descent, maml, task_kernel

Kernel = Callable[[Tensor, Tensor], Tensor]


class Learner(ABC):
    """Adapts to the support set of each task by gradient descent on its cross-entropy.

    Args:
        step_size: Size of the steps of adaptation.
    """

    def __init__(self, step_size: float):
        self.step_size = step_size

    @property
    def net(self) -> Network | None:
        """What meta-training changes, if anything."""
        return None

    @abstractmethod
    def logits(self, episodes: Episodes, steps: int) -> Float[Tensor, "tasks query ways"]:
        """Of the query images, after so many steps."""

    @abstractmethod
    def kernel(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
        """Inner products of the representations that it classifies by."""


class KernelLearner(Learner):
    """A fixed kernel: `NNGP` adapts the readout of an untrained network, `NTK` a network in the kernel regime.

    Args:
        kernel: The kernel k.
        step_size: Size of the steps of adaptation.
    """

    def __init__(self, kernel: Kernel, step_size: float):
        super().__init__(step_size)
        self._kernel = kernel

    def logits(self, episodes: Episodes, steps: int) -> Float[Tensor, "tasks query ways"]:
        """See `kernel_descent`."""
        support, query = episodes.support, episodes.query
        return kernel_descent(
            lambda: task_kernel(self._kernel, support, support),
            task_kernel(self._kernel, query, support),
            episodes.support_y,
            episodes.ways,
            steps,
            self.step_size,
        )

    def kernel(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
        """k."""
        return self._kernel(x, x)


class ReadoutLearner(Learner):
    """A network with its readout fixed at 0 outside of tasks, adapting the readout only (ANIL, Raghu et al. 2020).

    What meta-training changes is the last hidden representation; its kernel κ(g, g') decides the adapted output.

    Args:
        net: The network, with any `features`; its readout is not used.
        step_size: Size of the steps of adaptation.
    """

    def __init__(self, net: Network, step_size: float):
        super().__init__(step_size)
        self._net = net

    @property
    def net(self) -> Network:
        """Whose hidden layers meta-training changes."""
        return self._net

    def logits(self, episodes: Episodes, steps: int) -> Float[Tensor, "tasks query ways"]:
        """See `kernel_descent`."""
        n = episodes.support.shape[1]
        g = self._represent(torch.cat([episodes.support, episodes.query], 1))
        support, query = g[:, :n], g[:, n:]
        return kernel_descent(
            lambda: task_kernel(self._inner, support, support),
            task_kernel(self._inner, query, support),
            episodes.support_y,
            episodes.ways,
            steps,
            self.step_size,
        )

    def kernel(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
        """E φ(h)φ(h') of the last hidden layer; its mean over neurons in a finite network."""
        g = self._represent(x[None])[0]
        return self._inner(g, g)

    def _represent(self, x: Float[Tensor, "tasks n d"]) -> Float[Tensor, "tasks n r"]:
        """The last junction's g; φ(h)/√n in a finite network."""
        return self.net.features(x.flatten(0, 1)).view(*x.shape[:2], -1)

    def _inner(self, g1: Tensor, g2: Tensor) -> Tensor:
        return self.net.readout.kernel(g1, g2)


class WholeLearner(Learner):
    """A network of which all weights adapt, meta-trained by first-order MAML.

    Args:
        net: `LinearMuLimit`, or a finite network.
        step_size: Size of the steps of adaptation.
    """

    def __init__(self, net: LinearMuLimit | MLP, step_size: float):
        super().__init__(step_size)
        self._net = net

    @property
    def net(self) -> LinearMuLimit | MLP:
        """Whose weights meta-training changes."""
        return self._net

    def logits(self, episodes: Episodes, steps: int) -> Float[Tensor, "tasks query ways"]:
        """By `LinearLayers` where the network is linear with one hidden layer, else by `maml`."""
        net = self.net
        if isinstance(net.activation, Identity) and len(net.layers) == 2:
            return LinearLayers.of(net).first_order_maml(episodes, steps, self.step_size)
        return maml(net, episodes, steps, self.step_size, first_order=True)

    def kernel(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
        """E hh' over the last hidden layer, before adaptation."""
        return self.net.feature_kernel(x, x)
