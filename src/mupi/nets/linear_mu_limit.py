"""`LinearMuLimit`: the μ-limit of a linear network with one hidden layer, exactly, at finite size."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.activations import Identity
from mupi.arrays import takes_numpy
from mupi.checks import finite, last_axis, non_negative, positive_int
from mupi.layers.network import Network
from mupi.nets.mlp import MLP, ScaledLinear
from mupi.nets.neuron_readout import NeuronReadout
from mupi.optim import check_rates, rate_groups
from mupi.parametrization import Parametrization


@dataclass(frozen=True, eq=False)
class Multiplied:
    """x ↦ weight_multiplier·w x + bias_multiplier·β, as data, by the names that a `ScaledLinear` has for them."""

    weight: Float[Tensor, "d_out d_in"]
    bias: Float[Tensor, " d_out"] | None
    weight_multiplier: float
    bias_multiplier: float


@takes_numpy
class LinearMuLimit(Network):
    """f(x) = α V (U x + bias_scale·β), the infinitely wide linear network with one hidden layer in μP (Yang & Hu 2021).

    In the limit Z^{U_0} ~ N(0, σ_u² I) and Z^{nV_0} ~ N(0, σ_v² I) are independent, and every later Z^{U_t} and
    Z^{nV_t} is linear in them (their equations for f_t, Z^{nV_{t+1}} and Z^{U_{t+1}} with φ = id). So all expectations
    are inner products of coefficients on these d + d_out Gaussians: the limit *is* the network of that width with

    U_0 = [σ_u I; 0],  V_0 = [0, σ_v I],  β_0 = 0,

    trained by ordinary SGD, whose learning rate is that of the finite networks in μP's own form
    (`Parametrization.mup`). Any optimiser that commutes with rotations of the hidden space (SGD with clipping,
    momentum, weight decay; not Adam) takes the limit's steps exactly.

    >>> net = mupi.LinearMuLimit(64, 10)
    >>> net(torch.randn(3, 64)).abs().max().item()  # the limit starts at 0
    0.0
    >>> len(net.u)  # its width is d + d_out
    74

    Args:
        d_in: Input dimension d.
        d_out: Output dimension.
        sigma_u: σ_u, standard deviation of the input weight's coordinates.
        sigma_v: σ_v, the same of n times the readout.
        alpha: α, multiplies the output.
        bias_scale: Multiplier of β; 0 leaves it out.
        dtype: Floating dtype; None for the default.
        device: Device; None for the default.

    Raises:
        ValueError: For a size that is not a positive integer, or a scale that is negative or not finite.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        sigma_u: float = 1.0,
        sigma_v: float = 1.0,
        alpha: float = 1.0,
        *,
        bias_scale: float = 0.0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        positive_int("LinearMuLimit(d_in=...)", d_in)
        positive_int("LinearMuLimit(d_out=...)", d_out)
        for name, value in dict(sigma_u=sigma_u, sigma_v=sigma_v, alpha=alpha, bias_scale=bias_scale).items():
            non_negative(f"LinearMuLimit({name}=...)", value)
        self.sigma_u, self.sigma_v, self.alpha, self.bias_scale = sigma_u, sigma_v, alpha, bias_scale
        width = d_in + d_out
        self.u = nn.Parameter(sigma_u * torch.eye(width, d_in, dtype=dtype, device=device))
        self.v = nn.Parameter(sigma_v * torch.eye(width, dtype=dtype, device=device)[d_in:])
        self.bias = nn.Parameter(torch.zeros(width, dtype=dtype, device=device)) if bias_scale else None

    @property
    def activation(self) -> Identity:
        """φ."""
        return Identity()

    @property
    def layers(self) -> tuple["Multiplied", "Multiplied"]:
        """U and V with their biases and multipliers, as a `MLP` has them."""
        hidden = Multiplied(self.u, self.bias, 1.0, self.bias_scale if self.bias is not None else 0.0)
        return hidden, Multiplied(self.v, None, self.alpha, 0.0)

    @property
    def readout(self) -> NeuronReadout:  # pyright: ignore[reportIncompatibleVariableOverride]
        """V, which reads the coefficients: their features are they themselves."""
        return NeuronReadout(_Last(self.v, self.alpha).train(self.training), Identity(), 1)

    def hidden(self, x: Float[Tensor, "*batch d"]) -> list[Float[Tensor, "*batch width"]]:
        """Coefficients of the hidden layer's coordinates Z on the d + d_out initial Gaussians.

        Raises:
            ValueError: If ``x`` has another last dimension, or a NaN or infinity.
        """
        last_axis("x", x, self.u.shape[1], self.u.dtype)
        finite("x", x)
        h = x @ self.u.T
        return [h if self.bias is None else h + self.bias_scale * self.bias]

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d_out"]:
        """f(x).

        Raises:
            ValueError: If ``x`` has another last dimension, or a NaN or infinity.
        """
        return self.alpha * self.hidden(x)[-1] @ self.v.T

    def parameter_groups(
        self, lr: float, first: float = 1.0, last: float = 1.0, bias: float = 1.0, weight_decay: float = 0.0
    ) -> list[dict]:
        """See `Network.parameter_groups`."""
        check_rates(lr=lr, first=first, last=last, bias=bias, weight_decay=weight_decay)
        biases = [] if self.bias is None else [self.bias]
        return rate_groups(
            [("first", [self.u], first), ("last", [self.v], last), ("bias", biases, bias)], lr, weight_decay
        )

    @torch.no_grad()
    def sample(self, width: int, generator: torch.Generator | None = None) -> MLP:
        """A finite network of width n of this limit: every coordinate has its own draw of the d + d_out Gaussians.

        With Ω an n × (d + d_out) matrix of iid N(0, 1): √n w¹ = Ω U, w² /√n = V Ωᵀ/n, and √n b = Ω β, in μP's own
        form. Trained by the same SGD it follows the limit to within O(1/√n). A network with a bias has a readout bias
        too, which is 0 and does not ask for a gradient.

        Raises:
            ValueError: If ``width`` is not a positive integer.
        """
        positive_int("LinearMuLimit.sample(width=...)", width)
        d_out, gaussians = self.v.shape
        net = MLP(
            self.u.shape[1],
            d_out,
            width,
            1,
            parametrization=Parametrization.mup(1),
            activation=Identity(),
            output_scale=self.alpha,
            bias_scale=self.bias_scale,
            dtype=self.u.dtype,
            device=self.u.device,
            generator=torch.Generator(),
        )
        omega = torch.randn(width, gaussians, dtype=torch.float64, generator=generator).to(self.u) / width**0.5
        first, readout = net.layers
        assert isinstance(first, ScaledLinear) and isinstance(readout, ScaledLinear)
        first.weight.copy_(omega @ self.u)
        readout.weight.copy_(self.v @ omega.T)
        if self.bias is not None:
            first.bias.copy_(omega @ self.bias)
            readout.bias.requires_grad_(False)
        return net

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        d_out, width = self.v.shape
        scales = f"sigma_u={self.sigma_u}, sigma_v={self.sigma_v}, alpha={self.alpha}, bias_scale={self.bias_scale}"
        return f"{width - d_out}, {d_out}, {scales}"


class _Last(nn.Module):
    """h ↦ α V h, with the parameter of a network."""

    def __init__(self, weight: Tensor, alpha: float):
        super().__init__()
        self.weight, self.alpha = weight, alpha

    def forward(self, h: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch d_out"]:
        """See the class."""
        return self.alpha * h @ self.weight.T
