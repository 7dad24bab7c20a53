"""`MLP`: the finite perceptron in any abc-parametrization."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Activation, ReLU, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, finite, last_axis, non_negative, positive_int
from mupi.conventions import Conventional, function
from mupi.layers.network import Network
from mupi.nets.neuron_readout import NeuronReadout
from mupi.optim import check_rates, rate_groups
from mupi.parametrization import LearningRates, Parametrization


@takes_numpy
class ScaledLinear(nn.Linear):
    """x ↦ scale·(n^{-a} w x + bias_scale·n^{-a_β} β), with w ~ N(0, std² n^{-2b}), β ~ N(0, bias_std² n^{-2b_β}).

    It is the l-th weight of a perceptron in a parametrization, which gives a, b and those of the bias: (a_1, b_1) in a
    hidden layer, (−c/2, c/2) in the readout. A ``state_dict`` carries the multipliers, and loading one with other
    multipliers is refused: the same numbers would be another function.

    Args:
        d_in: Input dimension.
        d_out: Output dimension.
        layer: l, from 1 to L+1.
        width: The width n.
        parametrization: The exponents.
        scale: α of the layer: multiplies its output.
        bias_scale: α of the bias; 0 leaves it out.
        std: Standard deviation of n^b w.
        bias_std: Standard deviation of n^{b_β} β.
        generator: Draws the initial weights; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        layer: int,
        width: int,
        parametrization: Parametrization,
        scale: float = 1.0,
        bias_scale: float = 0.0,
        std: float = 1.0,
        bias_std: float = 0.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        # torch's own initialization would draw from the global generator: made on "meta", then replaced.
        super().__init__(d_in, d_out, bias=bias_scale != 0, device="meta", dtype=dtype)
        p = parametrization
        self.layer, self.width, self.parametrization = layer, width, p
        bias_a, bias_b = p.readout_bias if self.is_readout else p.hidden_bias
        self.weight_multiplier = scale * width ** -float(p.a[layer - 1])
        self.bias_multiplier = scale * bias_scale * width ** -float(bias_a)
        self.weight = _gaussian(self.weight, std * width ** -float(p.b[layer - 1]), generator, device)
        if self.bias is not None:
            self.bias = _gaussian(self.bias, bias_std * width ** -float(bias_b), generator, device)

    @property
    def is_readout(self) -> bool:
        """Whether this is W^{L+1}."""
        return self.layer == self.parametrization.depth + 1

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See the class."""
        out = self.weight_multiplier * nn.functional.linear(x, self.weight)
        return out if self.bias is None else out + self.bias_multiplier * self.bias

    def learning_rates(self, rates: LearningRates) -> tuple[float, float]:
        """n^{−c} of the weight and of the bias."""
        bias = rates.readout_bias if self.is_readout else rates.hidden_bias
        return self.width ** -float(rates.weights[self.layer - 1]), self.width ** -float(bias)

    def get_extra_state(self) -> Float[Tensor, "3"]:
        """The two multipliers and the learning rate's n^{−c}, for the ``state_dict``."""
        rate, _ = self.learning_rates(self.parametrization.sgd_rates)
        return torch.tensor([self.weight_multiplier, self.bias_multiplier, rate], dtype=torch.float64)

    def set_extra_state(self, state: Float[Tensor, "3"]) -> None:
        """Compare with a ``state_dict``'s.

        Raises:
            ValueError: If the multipliers differ.
        """
        own = self.get_extra_state()
        if not torch.allclose(state.to(own), own, rtol=1e-6, atol=0):
            fail(
                "load_state_dict(state_dict)",
                f"of a net whose multipliers and rate in layer {self.layer} are {own.tolist()}",
                state.tolist(),
                "make the net with the parametrization, width and scales that were saved",
            )

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        return f"{super().extra_repr()}, layer={self.layer}, weight_multiplier={self.weight_multiplier:.4g}"


def _gaussian(
    like: Tensor, std: float, generator: torch.Generator | None, device: torch.device | str | None
) -> nn.Parameter:
    """N(0, std²) entries in shape and dtype of ``like``; drawn in float64, so that every dtype starts the same."""
    if std == 0:
        return nn.Parameter(torch.zeros(like.shape, dtype=like.dtype, device=device))
    draw = torch.randn(like.shape, dtype=torch.float64, generator=generator)
    return nn.Parameter(draw.mul_(std).to(device=device, dtype=like.dtype))


@takes_numpy
class MLP(Conventional, Network):
    """A perceptron with L hidden layers of width n in an abc-parametrization (Yang & Hu 2021).

    h^1 = input_scale·(n^{-a_1} w^1 x + bias_scale·n^{-a_β} β^1),
    h^l = hidden_scale·(n^{-a_l} w^l φ(h^{l−1}) + bias_scale·n^{-a_β} β^l),  l = 2 … L,
    f   = output_scale·(n^{-a_{L+1}} w^{L+1} φ(h^L) + bias_scale·n^{-a'_β} β^{L+1}),

    with w^l ~ N(0, σ_l² n^{-2 b_l}), where σ_1 = sigma_w/√d_in, the others sigma_w, and β ~ N(0, sigma_b² n^{-2b_β}).
    A scale also scales the gradient; a σ does not. In μP's own form (`Parametrization.mup`), where c = 0, all
    gradients have norm Θ(1): a clipping norm then is independent of width.

    The network whose limits are `NNGP` and `NTK` with σ_w and σ_b has ``parametrization=Parametrization.ntk(depth)``,
    all three scales σ_w, input_std = 1, bias_scale = σ_b/σ_w, sigma_b = 1, and takes x/√d_in.

    >>> net = mupi.MLP(64, 10, width=256, depth=2)  # μP
    >>> optimizer = torch.optim.SGD(net.parameter_groups(lr=0.1))
    >>> net(torch.randn(3, 64)).shape
    torch.Size([3, 10])

    Args:
        d_in: Input dimension d.
        d_out: Output dimension.
        width: The width n.
        depth: L ≥ 1, the number of hidden layers.
        parametrization: Its exponents; None for μP.
        activation: φ, an `Activation` or any callable.
        input_scale: α of the first layer.
        hidden_scale: α of the layers between.
        output_scale: α of the readout.
        bias_scale: α of all biases; 0 leaves them out.
        sigma_w: σ of the weights.
        sigma_b: σ of the biases; 0 starts them at 0.
        input_std: σ_1, if not sigma_w/√d_in.
        readout_std: σ_{L+1}, if not sigma_w; 0 for a network that starts at zero.
        generator: Draws the initial weights; None for torch's own.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer, a scale or σ that is negative or not finite, or a
            parametrization of another depth.
    """

    replayable = True

    def __init__(
        self,
        d_in: int,
        d_out: int,
        width: int,
        depth: int = 2,
        *,
        parametrization: Parametrization | None = None,
        activation: Activation | Callable[[Tensor], Tensor] | None = None,
        input_scale: float = 1.0,
        hidden_scale: float = 1.0,
        output_scale: float = 1.0,
        bias_scale: float = 0.0,
        sigma_w: float = 1.0,
        sigma_b: float = 0.0,
        input_std: float | None = None,
        readout_std: float | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        for name, value in dict(d_in=d_in, d_out=d_out, width=width, depth=depth).items():
            positive_int(f"MLP({name}=...)", value)
        first_std = sigma_w / d_in**0.5 if input_std is None else input_std
        last_std = sigma_w if readout_std is None else readout_std
        scales = dict(input_scale=input_scale, hidden_scale=hidden_scale, output_scale=output_scale)
        stds = dict(sigma_w=sigma_w, sigma_b=sigma_b, input_std=first_std, readout_std=last_std)
        for name, value in dict(**scales, bias_scale=bias_scale, **stds).items():
            non_negative(f"MLP({name}=...)", value)
        p = Parametrization.mup(depth) if parametrization is None else parametrization
        if p.depth != depth:
            fail("MLP(parametrization=...)", f"of depth {depth}", f"depth {p.depth}", "make it with the net's depth")
        self.activation = ReLU() if activation is None else as_activation(activation, "MLP(activation=...)")
        hidden = [(width, width, hidden_scale, sigma_w)] * (depth - 1)
        sizes = [(d_in, width, input_scale, first_std), *hidden, (width, d_out, output_scale, last_std)]
        self.d_in = d_in
        self.layers = nn.ModuleList(
            ScaledLinear(
                fan_in,
                fan_out,
                layer=layer,
                width=width,
                parametrization=p,
                scale=scale,
                bias_scale=bias_scale,
                std=std,
                bias_std=sigma_b,
                generator=generator,
                dtype=dtype,
                device=device,
            )
            for layer, (fan_in, fan_out, scale, std) in enumerate(sizes, start=1)
        )

    def conventions(self) -> dict[str, Any]:
        """See `Conventional`; each `ScaledLinear` compares its multipliers."""
        return {"activation": function(self.activation, self._last.weight)}

    @property
    def parametrization(self) -> Parametrization:
        """Its exponents."""
        return self._last.parametrization

    @property
    def readout(self) -> NeuronReadout:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The last layer, as a function of h^L."""
        return NeuronReadout(self._last, self.activation, self._last.width)

    @property
    def _last(self) -> ScaledLinear:
        layer = self.layers[-1]
        assert isinstance(layer, ScaledLinear)
        return layer

    def hidden(self, x: Float[Tensor, "*batch d"]) -> list[Float[Tensor, "*batch n"]]:
        """h^1, …, h^L, before φ."""
        last_axis("x", x, self.d_in, self._last.weight.dtype)
        finite("x", x)
        h = [self.layers[0](x)]
        for layer in self.layers[1:-1]:
            h.append(layer(self.activation(h[-1])))
        return h

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d_out"]:
        """f(x).

        Raises:
            ValueError: If ``x`` has another last dimension, or a NaN or infinity.
        """
        return self._last(self.activation(self.hidden(x)[-1]))

    def parameter_groups(
        self,
        lr: float,
        first: float = 1.0,
        last: float = 1.0,
        bias: float = 1.0,
        weight_decay: float = 0.0,
        *,
        rates: LearningRates | None = None,
    ) -> list[dict]:
        """Parameter groups for `mupi.SGD` and other optimisers: see `scaled_groups`."""
        layers = (layer for layer in self.layers if isinstance(layer, ScaledLinear))
        return scaled_groups(layers, lr, first, last, bias, weight_decay, rates=rates)


def scaled_groups(
    layers: Iterable[ScaledLinear],
    lr: float,
    first: float = 1.0,
    last: float = 1.0,
    bias: float = 1.0,
    weight_decay: float = 0.0,
    *,
    rates: LearningRates | None = None,
) -> list[dict]:
    """Parameter groups with learning rate lr·n^{−c} times a multiplier for each kind of layer.

    Args:
        layers: All weights of a network, in order.
        lr: Learning rate η.
        first: Multiplier for the first layer's weight.
        last: Multiplier for the readout's weight.
        bias: Multiplier for all biases.
        weight_decay: Not multiplied: a group's lr·weight_decay is the η·weight_decay given here, at every width.
        rates: The exponents c; None for the parametrization's own, for SGD. For Adam pass
            ``parametrization.adam_rates``.

    Raises:
        ValueError: For a negative or non-finite value.
    """
    check_rates(lr=lr, first=first, last=last, bias=bias, weight_decay=weight_decay)
    grouped: dict[tuple[str, float], list[Tensor]] = {}
    for layer in layers:
        rate, bias_rate = layer.learning_rates(rates or layer.parametrization.sgd_rates)
        kind, factor = ("first", first) if layer.layer == 1 else ("last", last) if layer.is_readout else ("hidden", 1.0)
        grouped.setdefault((kind, factor * rate), []).append(layer.weight)
        if layer.bias is not None:
            grouped.setdefault(("bias", bias * bias_rate), []).append(layer.bias)
    order = ("first", "hidden", "last", "bias")
    ordered = sorted(grouped.items(), key=lambda item: order.index(item[0][0]))
    return rate_groups(((name, p, factor) for (name, factor), p in ordered), lr, weight_decay)
