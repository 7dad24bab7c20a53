"""`PiMLP`: the π-limit of a multilayer perceptron, and its finite relatives, by choice of features."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation, ReLU, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, finite, last_axis, non_negative, positive_int
from mupi.features import Atoms, Expansion, Features, Hermite
from mupi.layers import DenseMatrix, PiLinear, pi_initialization
from mupi.layers.pi_layers import PiLayer
from mupi.layers.pi_network import PiNetwork

AtomArrays = tuple[Tensor, Tensor, Tensor, Tensor | None]


@takes_numpy
class PiMLP(PiNetwork):
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
        input_scale: α of the first layer.
        output_scale: α of the readout.
        bias_scale: α of all biases; 0 leaves them out.
        readout_std: Standard deviation of the initial readout's a (the paper's CIFAR-10 runs take 1/r); 0 for a
            network that starts at zero.
        generator: Draws the initial weights and whatever is random in the features; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer or a scale that is negative or not finite.
    """

    input: DenseMatrix
    replayable = True

    def __init__(
        self,
        d_in: int,
        d_out: int,
        rank: int = 400,
        depth: int = 2,
        *,
        features: Features | None = None,
        activation: Activation | Callable[[Tensor], Tensor] | None = None,
        input_scale: float = 1.0,
        output_scale: float = 0.5,
        bias_scale: float = 0.5,
        readout_std: float = 0.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        for name, value in dict(d_in=d_in, d_out=d_out, rank=rank, depth=depth).items():
            positive_int(f"PiMLP({name}=...)", value)
        scales = dict(input_scale=input_scale, output_scale=output_scale, bias_scale=bias_scale)
        for name, value in dict(**scales, readout_std=readout_std).items():
            non_negative(f"PiMLP({name}=...)", value)
        layer: dict[str, Any] = dict(
            features=Hermite() if features is None else features,
            activation=ReLU() if activation is None else as_activation(activation, "PiMLP(activation=...)"),
            bias_scale=bias_scale,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        self.input = DenseMatrix(
            d_in,
            rank,
            scale=input_scale,
            bias_scale=bias_scale,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        # All draws of the initial atoms come before those of feature maps: with equal seeds, networks with different
        # features start from the same atoms. They are the same function where both feature maps have it exactly; a
        # subspace, a degree and a width leave out of it what `error_report` says.
        initial = [pi_initialization(rank, rank, generator=generator) for _ in range(depth - 1)]
        initial.append(pi_initialization(rank, d_out, readout_std, generator))
        hidden = [PiLinear(rank, rank, initial=atoms, **layer) for atoms in initial[:-1]]
        readout = PiLinear(rank, d_out, scale=output_scale, initial=initial[-1], **layer)
        self.layers = nn.ModuleList([*hidden, readout])

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
        for i, ((c, a, b, bias), old) in enumerate(zip(layers, net.pi_layers, strict=True)):
            new = PiLinear(
                old.weight.rank_in,
                old.weight.rank_out,
                features=Atoms(),
                activation=old.weight.activation,
                scale=old.scale,
                bias_scale=bias_scale,
                initial=Expansion(c, a, b),
                **like,
            )
            _fill(new.bias, bias, f"PiMLP.from_atoms(layers[{i}]) bias")
            net.layers[i] = new
        with torch.no_grad():
            net.input.weight.copy_(input_weight)
        _fill(net.input.bias, input_bias, "PiMLP.from_atoms(input_bias=...)")
        return net

    def hidden(self, x: Float[Tensor, "*batch d"]) -> list[Float[Tensor, "*batch r"]]:
        """g¹, …, g^L."""
        last_axis("x", x, len(self.input.weight), self.input.weight.dtype)
        finite("x", x)
        g = [self.input(x)]
        for layer in self.pi_layers[:-1]:
            g.append(layer(g[-1]))
        return g

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d_out"]:
        """f(x).

        Raises:
            ValueError: If ``x`` has another last dimension, or a NaN or infinity.
        """
        return self.readout(self.hidden(x)[-1])

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`."""
        return super().conventions() | {"input_scale": self.input.scale}

    @property
    def readout(self) -> PiLinear:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last layer."""
        return cast(PiLinear, self.layers[-1])

    @property
    def junctions(self) -> list[Sequence[PiLayer]]:
        """One for each layer."""
        return [[layer] for layer in self.pi_layers]

    @property
    def pi_layers(self) -> list[PiLinear]:
        """The hidden layers after the first, and the readout."""
        return [cast(PiLinear, layer) for layer in self.layers]


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
