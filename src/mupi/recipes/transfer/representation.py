"""The last hidden layer of a pretrained network on the images of another data set."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mupi.checks import fail
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.restore import restore_epoch
from mupi.data import Dataset
from mupi.kernels import CosineKernel, FeatureRegression, Kernel, KernelRegression
from mupi.nets import Network
from mupi.recipes.comparison.learned_kernel import last_hidden

Regression = KernelRegression | FeatureRegression

ROWS = 500
"""Images whose pre-activations at all positions are made to features at a time."""


@dataclass(frozen=True, eq=False)
class Representation:
    """What a network makes of a data set.

    Attributes:
        config: How the network was pretrained.
        net: The network.
        source: The data it was pretrained on, without the images.
        layer: The target's data with what the readout takes in place of the images, the last of `Network.hidden`: g^L,
            of a μ-net h^L, at all positions one after the other.
        shape: Of that, for one image.
    """

    config: TrainConfig
    net: Network
    source: Dataset
    layer: Dataset
    shape: tuple[int, ...]

    @classmethod
    def after(cls, config: TrainConfig, epoch: int, data: Dataset) -> "Representation":
        """By the network that a run has kept of an epoch.

        Raises:
            FileNotFoundError: If it has not.
            ValueError: If the network takes other images than those of ``data``.
        """
        net, source = restore_epoch(config, epoch)
        if source.image_shape != data.image_shape:
            fail(
                "--target",
                f"a data set with images of {source.image_shape} as those of {source.name}",
                f"{data.name} with {data.image_shape}",
            )
        train, test = (last_hidden(net, x) for x in (data.train_x, data.test_x))
        return cls(config, net, source, data.with_inputs(train.flatten(1), test.flatten(1)), tuple(train.shape[1:]))

    @torch.no_grad()
    def regression(self, unit_norm: bool, double: bool) -> tuple[Callable[[float], Regression], Kernel, Dataset]:
        """Regression with the feature kernel E φ̄(h)φ̄(h'), at finite width the average over the neurons.

        Args:
            unit_norm: Whether φ̄(h) is scaled to norm 1.
            double: Whether it is computed in float64.

        Returns:
            What makes a regression with a ridge, the kernel, and the data that both take.
        """
        readout = self.net.readout
        if readout.width is None:
            kernel: Kernel = CosineKernel(readout.kernel, readout.diagonal) if unit_norm else readout.kernel
            data = self._of(readout.features, double)
            return lambda ridge: KernelRegression(kernel, ridge), kernel, data

        def features(h: Tensor) -> Tensor:
            psi = cast(readout.features(h), double)
            return torch.nn.functional.normalize(psi, dim=1) if unit_norm else psi

        return FeatureRegression, readout.kernel, self._of(features, double)

    @torch.no_grad()
    def probed(self) -> Dataset:
        """What a linear probe sees: g averaged over positions, of a μ-net φ̄(h)."""
        readout = self.net.readout
        if readout.rank is None:
            return self._of(readout.features)
        return self._of(lambda g: g.flatten(1, -2).mean(1) if g.ndim > 2 else g)

    def _of(self, function: Callable[[Tensor], Tensor], double: bool = False) -> Dataset:
        """The data with a function of the last layer in place of the images, computed in batches where it is large."""

        def rows(x: Tensor) -> Tensor:
            blocks = x.unflatten(1, self.shape).split(ROWS if len(self.shape) > 1 else max(1, len(x)))
            return cast(torch.cat([function(block).flatten(1) for block in blocks]), double)

        return self.layer.with_inputs(rows(self.layer.train_x), rows(self.layer.test_x))


def cast(x: Tensor, double: bool) -> Tensor:
    """In float64 if it is to be."""
    return x.double() if double else x
