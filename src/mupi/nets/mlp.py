"""`MLP`: the finite perceptron in any abc-parametrization."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mupi.activations import Activation, ReLU, as_activation
from mupi.architecture.finite import FiniteNetwork
from mupi.architecture.scaled import ScaledLinear
from mupi.architecture.scaled_groups import scaled_groups
from mupi.architecture.zoo import perceptron
from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.conventions import function
from mupi.parametrization import Parametrization

__all__ = ["MLP", "ScaledLinear", "scaled_groups"]


@takes_numpy
class MLP(FiniteNetwork):
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

    layers: nn.ModuleList

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
        for name, value in dict(d_in=d_in, d_out=d_out, width=width, depth=depth).items():
            positive_int(f"MLP({name}=...)", value)
        scales = dict(input_scale=input_scale, hidden_scale=hidden_scale, output_scale=output_scale)
        given = {"input_std": input_std, "readout_std": readout_std}
        stds = dict(sigma_w=sigma_w, sigma_b=sigma_b) | {k: v for k, v in given.items() if v is not None}
        for name, value in dict(**scales, bias_scale=bias_scale, **stds).items():
            non_negative(f"MLP({name}=...)", value)
        p = Parametrization.mup(depth) if parametrization is None else parametrization
        if p.depth != depth:
            fail("MLP(parametrization=...)", f"of depth {depth}", f"depth {p.depth}", "make it with the net's depth")
        φ = ReLU() if activation is None else as_activation(activation, "MLP(activation=...)")
        super().__init__(
            perceptron(d_in, d_out, depth, φ),
            width,
            parametrization=p,
            input_scale=input_scale,
            hidden_scale=hidden_scale,
            output_scale=output_scale,
            bias_scale=bias_scale,
            sigma_w=sigma_w,
            sigma_b=sigma_b,
            input_std=input_std,
            readout_std=readout_std,
            generator=generator,
            dtype=dtype,
            device=device,
        )
        self.activation, self.d_in = φ, d_in

    def conventions(self) -> dict[str, Any]:
        """See `mupi.conventions.Conventional`; each `ScaledLinear` compares its multipliers."""
        return {"activation": function(self.activation, next(self.parameters()))}
