"""`PiMLP`: the π-limit of a multilayer perceptron, and its finite relatives, by choice of features."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation, ReLU, as_activation
from mupi.checks import fail, finite, last_axis, non_negative, positive_int
from mupi.features import Atoms, Expansion, Features, Hermite, RandomWeight, whitened_gaussian
from mupi.layers import InputLayer, LayerError, PiLinear, layer_error, pi_initialisation
from mupi.optim import check_rates, rate_groups

AtomArrays = tuple[Tensor, Tensor, Tensor, Tensor | None]


class PiMLP(nn.Module):
    """A perceptron with L hidden layers in the π-limit (Yang, Santacroce & Hu 2022), or near it.

    g¹ = input_scale·(x A + bias_scale·β¹),  g^{l+1} = C^l ψ(g^l) + bias_scale·β^{l+1},
    f(x) = output_scale·(C^L ψ(g^L) + bias_scale·β^{L+1}), where C ψ(g) is Σ_m c_m a_m κ_φ(b_m, g) for the exact
    limit; hidden layer l has pre-activations ⟨g^l, z⟩, z ~ N(0, I_r). All learning rates are independent of width.

    Args:
        d_in: Input dimension d.
        d_out: Output dimension.
        rank: r.
        depth: L ≥ 1, the number of hidden layers.
        features: `mupi.Hermite` (constant memory), `mupi.Atoms` (exact), `mupi.Random` (finite π-net).
        activation: φ, an `Activation` or any callable.
        input_scale: α of the first layer.
        output_scale: α of the readout.
        bias_scale: α of all biases; 0 leaves them out.
        readout_std: Standard deviation of the initial readout's a (the paper's CIFAR-10 runs take 1/r); 0 for a
            network that starts at zero.
        generator: Randomness.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer or a scale that is negative or not finite.
    """

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
            activation=ReLU() if activation is None else as_activation(activation),
            bias_scale=bias_scale,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        self.input = InputLayer(
            d_in,
            rank,
            scale=input_scale,
            bias_scale=bias_scale,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        # All draws of the initial function come before those of feature maps: with equal seeds, networks with
        # different features start as the same function.
        initial = [pi_initialisation(rank, rank, generator=generator) for _ in range(depth - 1)]
        initial.append(pi_initialisation(rank, d_out, readout_std, generator))
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
            input_scale: See the class.
            output_scale: See the class.
            bias_scale: See the class.
            activation: See the class.

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

    @property
    def pi_layers(self) -> list[PiLinear]:
        """The hidden layers after the first, and the readout."""
        return [cast(PiLinear, layer) for layer in self.layers]

    @property
    def readout(self) -> PiLinear:
        """The last layer."""
        return self.pi_layers[-1]

    def feature_kernel(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """E φ(h)φ(h') of the last hidden layer's coordinates h(x₁), h(x₂)."""
        return self.readout.weight.feature_kernel(self.hidden(x1)[-1], self.hidden(x2)[-1])

    @torch.no_grad()
    def sample(self, width: int, generator: torch.Generator | None = None) -> "PiMLP":
        """The finite network of width n that this one describes: the same network with `Random` features.

        Each junction draws Ω̃ (n × r, Ω̃ᵀΩ̃ = n I) with rows z_α; the weight after it has columns w(z_α)/√n.

        Raises:
            ValueError: If ``width`` is below the rank, or the network is finite already.
        """
        positive_int("sample(width=...)", width)
        net = deepcopy(self)
        for layer in net.pi_layers:
            like = layer.weight.finite(self.input.weight.new_empty(0, layer.weight.rank_in))
            omega = whitened_gaussian(width, layer.weight.rank_in, generator).to(like)
            old = layer.weight
            layer.weight = RandomWeight(omega, old.finite(omega), old.activation).train(old.training)
            layer.weight.requires_grad_(next(old.parameters()).requires_grad)
        return net

    def error_report(self, x: Float[Tensor, "n d"]) -> list[LayerError]:
        """The relative error of output and input gradient of each weight's feature map against κ_φ, on a batch.

        Measured on a sum of atoms known both ways: the last ones of the training (`Hermite(window=...)`; the initial
        ones before), evaluated under the exact kernel and under the features' own, at the junctions g of the batch.
        It is the error of the function that these samples added. The gradient's is for Gaussian δ, that is, of the
        whole Jacobian. `Atoms` has no error, `Random` is its own exact finite network: both report 0.
        """
        names = [*(f"layer {i + 1}" for i in range(len(self.layers) - 1)), "readout"]
        with torch.no_grad():
            hidden = self.hidden(x)
        return [layer_error(n, layer.weight, g) for n, layer, g in zip(names, self.pi_layers, hidden, strict=True)]

    @property
    def num_atoms(self) -> int:
        """How many atoms are stored in all layers; 0 at constant memory."""
        return sum(layer.weight.num_atoms for layer in self.pi_layers)

    def parameter_groups(
        self,
        lr: float,
        first: float = 1.0,
        last: float = 1.0,
        bias: float = 1.0,
        weight_decay: float = 0.0,
    ) -> list[dict]:
        """Parameter groups for `mupi.SGD` and other optimisers, with a learning rate for each kind of layer.

        Args:
            lr: Learning rate of the hidden weights; the others multiply it.
            first: Multiplier for the first layer's weight.
            last: Multiplier for the readout's weight.
            bias: Multiplier for all biases.
            weight_decay: Not multiplied: lr·weight_decay is the same for all groups.

        Raises:
            ValueError: For a negative or non-finite value.
        """
        check_rates(lr=lr, first=first, last=last, bias=bias, weight_decay=weight_decay)
        hidden = [p for layer in self.pi_layers[:-1] for p in layer.weight.parameters()]
        biases = [m.bias for m in (self.input, *self.pi_layers) if m.bias is not None]
        kinds = [
            ("first", [self.input.weight], first),
            ("hidden", hidden, 1.0),
            ("last", list(self.readout.weight.parameters()), last),
            ("bias", biases, bias),
        ]
        return rate_groups(kinds, lr, weight_decay)


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
