"""`PiMLP`: the π-limit of a multilayer perceptron, and its finite relatives, by choice of features."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation, ReLU, as_activation
from mupi.architecture import Dense, PiArchitecture, Width, chain, describe, named
from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.features import Atoms, Expansion, Features
from mupi.layers import DenseMatrix

AtomArrays = tuple[Tensor, Tensor, Tensor, Tensor | None]


@takes_numpy
class PiMLP(PiArchitecture):
    """A perceptron with L hidden layers in the π-limit (Yang, Santacroce & Hu 2022), or near it.

    g¹ = input_scale·(x A + bias_scale·β¹),  g^{l+1} = C^l ψ(g^l) + bias_scale·β^{l+1},
    f(x) = output_scale·(C^L ψ(g^L) + bias_scale·β^{L+1}), where C ψ(g) is Σ_m c_m a_m κ_φ(b_m, g) for the exact
    limit; hidden layer l has pre-activations ⟨g^l, z⟩, z ~ N(0, I_r). All learning rates are independent of width.

    >>> net = mupi.PiMLP(64, 10, rank=20, features=mupi.Hermite(2))
    >>> optimizer = mupi.SGD(net.parameter_groups(lr=0.5), clip=0.5)
    >>> torch.nn.functional.cross_entropy(net(torch.randn(8, 64)), torch.arange(8)).backward()
    >>> optimizer.step()
    >>> net.sample(width=512)(torch.randn(3, 64)).shape  # a finite network of the limit
    torch.Size([3, 10])

    Args:
        d_in: Input dimension d.
        d_out: Output dimension.
        rank: Rank r of the junctions.
        depth: L ≥ 1, the number of hidden layers.
        features: `mupi.Hermite` (constant memory), `mupi.Atoms` (exact), `mupi.RandomFeatures` (finite π-net).
        activation: φ, an `Activation` or any callable.
        **options: Of `mupi.architecture.Architecture.pi`: ``input_scale``, ``output_scale`` and ``bias_scale``, α of
            the first layer (1), of the readout (½) and of all biases (½; 0 leaves them out); ``readout_std``, the
            standard deviation of the initial readout's a (the paper's CIFAR-10 runs take 1/r; 0, the default, for a
            network that starts at zero); ``generator``, ``dtype`` and ``device``.

    Raises:
        ValueError: For a size that is not a positive integer or a scale that is negative or not finite.
    """

    input: DenseMatrix
    layers: nn.ModuleList

    def __init__(
        self,
        d_in: int,
        d_out: int,
        rank: int = 400,
        depth: int = 2,
        *,
        features: Features | None = None,
        activation: Activation | Callable[[Tensor], Tensor] | None = None,
        **options: Any,
    ):
        for name, value in dict(d_in=d_in, d_out=d_out, depth=depth).items():
            positive_int(f"PiMLP({name}=...)", value)
        φ = ReLU() if activation is None else as_activation(activation, "PiMLP(activation=...)")
        hidden = [part for i in range(depth - 1) for part in (named(f"layers.{i}", Dense(Width())), φ)]
        readout = named(f"layers.{depth - 1}", Dense(d_out))
        network = describe((d_in,), chain(named("input", Dense(Width())), φ, *hidden, readout))
        super().__init__(network, rank, features, **options)

    @classmethod
    def from_atoms(
        cls,
        input_weight: Float[Tensor, "d r"],
        input_bias: Float[Tensor, " r"] | None,
        layers: Sequence[AtomArrays],
        *,
        input_scale: float = 1.0,
        output_scale: float = 0.5,
        bias_scale: float = 0.5,
        activation: Activation | Callable[[Tensor], Tensor] | None = None,
    ) -> "PiMLP":
        """An exact net from given arrays, in their dtype and on their device.

        Args:
            input_weight: A of the first layer.
            input_bias: β¹, or None for zeros.
            layers: (c (m,), A (m, r_out), B (m, r), bias (r_out,) or None) of each weight after the first, readout
                last; rows of B of any norm.
            input_scale: α of the first layer.
            output_scale: α of the readout.
            bias_scale: Multiplier of the biases.
            activation: The activation φ.

        Raises:
            ValueError: If shapes do not fit together.
        """
        if not layers:
            fail("PiMLP.from_atoms(layers=...)", "at least the readout", "none")
        if input_weight.ndim != 2:
            fail("PiMLP.from_atoms(input_weight=...)", "of shape (d, r)", f"shape {tuple(input_weight.shape)}")
        (d_in, rank), like = input_weight.shape, dict[str, Any](dtype=input_weight.dtype, device=input_weight.device)
        ranks = [rank] * len(layers) + [layers[-1][1].shape[-1]]
        for i, (c, a, b, _) in enumerate(layers):
            if not (a.shape == (*c.shape, ranks[i + 1]) and b.shape == (*c.shape, ranks[i]) and c.ndim == 1):
                fail(
                    f"PiMLP.from_atoms(layers[{i}])",
                    f"(c (m,), A (m, {ranks[i + 1]}), B (m, {ranks[i]}), bias)",
                    "shapes " + ", ".join(str(tuple(t.shape)) for t in (c, a, b)),
                )
        net = cls(
            d_in,
            ranks[-1],
            rank,
            len(layers),
            features=Atoms(),
            activation=activation,
            input_scale=input_scale,
            output_scale=output_scale,
            bias_scale=bias_scale,
            generator=torch.Generator(),
            **like,
        )
        for i, ((c, a, b, bias), layer) in enumerate(zip(layers, net.pi_layers, strict=True)):
            layer.weight = Atoms().weight(Expansion(c, a, b), layer.weight.activation)
            _fill(layer.bias, bias, f"PiMLP.from_atoms(layers[{i}]) bias")
        with torch.no_grad():
            net.input.weight.copy_(input_weight)
        _fill(net.input.bias, input_bias, "PiMLP.from_atoms(input_bias=...)")
        return net


def _fill(bias: nn.Parameter | None, value: Tensor | None, argument: str) -> None:
    """Set a bias, refusing one that the network has no place for."""
    if value is None:
        return
    if bias is None:
        fail(argument, "None where bias_scale is 0", "a tensor")
    if bias.shape != value.shape:
        fail(argument, f"of shape {tuple(bias.shape)}", f"shape {tuple(value.shape)}")
    with torch.no_grad():
        bias.copy_(value)
