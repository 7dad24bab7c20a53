"""The last hidden layer of a pretrained network on the images of another data set."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.restore import restore_epoch
from mupi.data import Dataset
from mupi.features import RandomWeight
from mupi.kernels import CosineKernel, FeatureRegression, Kernel, KernelRegression
from mupi.nets import MLP, PiMLP
from mupi.recipes.comparison.learned_kernel import last_layer

Regression = KernelRegression | FeatureRegression


@dataclass(frozen=True, eq=False)
class Representation:
    """What a network makes of a data set.

    Attributes:
        config: How the network was pretrained.
        net: It.
        source: The data it was pretrained on, without the images.
        layer: The target's data with the last hidden layer in place of the images: g^L, of a μ-net h^L.
    """

    config: TrainConfig
    net: PiMLP | MLP
    source: Dataset
    layer: Dataset

    @classmethod
    def after(cls, config: TrainConfig, epoch: int, data: Dataset) -> "Representation":
        """By the network that a run has kept of an epoch.

        Raises:
            FileNotFoundError: If it has not.
            ValueError: If the network takes other images than those of ``data``, or is no perceptron.
        """
        net, source = restore_epoch(config, epoch)
        if not isinstance(net, PiMLP | MLP):
            fail("runs", "of perceptrons, whose last hidden layer can be evaluated", f"arch {config.arch}")
        if source.image_shape != data.image_shape:
            fail(
                "--target",
                f"a data set with images of {source.image_shape} as those of {source.name}",
                f"{data.name} with {data.image_shape}",
            )
        return cls(config, net, source, last_layer(net, data))

    @property
    def neurons(self) -> Callable[[Tensor], Tensor] | None:
        """Maps the last hidden layer to φ(h)/√n, of a network of finite width n; None at infinite width."""
        if isinstance(self.net, MLP):
            φ, n = self.net.activation, self.net.readout.width
            return lambda h: φ(h) / n**0.5
        weight = self.net.readout.weight
        if not isinstance(weight, RandomWeight):
            return None
        return lambda g: weight.activation(g @ weight.omega.T) / len(weight.omega) ** 0.5

    @torch.no_grad()
    def regression(self, unit_norm: bool, double: bool) -> tuple[Callable[[float], Regression], Kernel, Dataset]:
        """Regression with the feature kernel E φ(h)φ(h'), at finite width the average over the neurons.

        Args:
            unit_norm: Whether φ(h) is scaled to norm 1.
            double: Whether in float64.

        Returns:
            What makes a regression with a ridge, the kernel, and the data that both take.
        """
        neurons = self.neurons
        if neurons is None:
            weight = self.net.readout.weight
            assert not isinstance(weight, Tensor)
            kernel: Kernel = weight.feature_kernel
            if unit_norm:
                kernel = CosineKernel(kernel, diagonal_of(weight.activation))
            used = kernel
            data = self.layer.with_inputs(cast(self.layer.train_x, double), cast(self.layer.test_x, double))
            return lambda ridge: KernelRegression(used, ridge), used, data

        def features(h: Tensor) -> Tensor:
            psi = cast(neurons(h), double)
            return torch.nn.functional.normalize(psi, dim=1) if unit_norm else psi

        data = self.layer.with_inputs(features(self.layer.train_x), features(self.layer.test_x))
        return FeatureRegression, inner_products, data

    @torch.no_grad()
    def probed(self) -> Dataset:
        """What a linear probe sees: g, of a μ-net φ(h)."""
        neurons = self.neurons
        if isinstance(self.net, PiMLP) or neurons is None:
            return self.layer
        return self.layer.with_inputs(neurons(self.layer.train_x), neurons(self.layer.test_x))


def cast(x: Tensor, double: bool) -> Tensor:
    """In float64 if it is to be."""
    return x.double() if double else x


def inner_products(x1: Float[Tensor, "n p"], x2: Float[Tensor, "m p"]) -> Float[Tensor, "n m"]:
    """⟨ψ, ψ'⟩."""
    return x1 @ x2.T


def diagonal_of(activation) -> Callable[[Tensor], Tensor]:
    """κ_φ(g, g) of each row."""

    def diagonal(g: Float[Tensor, "n r"]) -> Float[Tensor, " n"]:
        variance = g.square().sum(1)
        return activation.dual(variance, variance, variance)

    return diagonal
