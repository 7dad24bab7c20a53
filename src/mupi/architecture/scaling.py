"""How a weight and its bias are multiplied by powers of the width, and how they start."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.checks import fail
from mupi.parametrization import LearningRates, Parametrization

BIAS_OF = {"input": "vector", "hidden": "vector", "readout": "finite", "finite": "finite", "vector": "vector"}
"""The role of a weight's bias, by that of the weight."""


@dataclass(frozen=True)
class Scaling:
    """How a weight and its bias are multiplied, and how they start.

    Attributes:
        role: Of the weight: see `mupi.parametrization.Roles`.
        layer: Which weight of a perceptron it is in the parametrization, from 1 to L+1; 0 for the roles that are none.
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

    role: str
    layer: int
    width: int
    parametrization: Parametrization
    scale: float = 1.0
    bias_scale: float = 0.0
    std: float = 1.0
    bias_std: float = 0.0
    generator: torch.Generator | None = None
    dtype: torch.dtype | None = None
    device: torch.device | str | None = None

    def exponents(self, role: str) -> tuple[float, float]:
        """a and b."""
        p = self.parametrization
        if role in ("vector", "finite"):
            a, b = p.hidden_bias if role == "vector" else p.readout_bias
        else:
            a, b = p.a[self.layer - 1], p.b[self.layer - 1]
        return float(a), float(b)

    @property
    def multiplier(self) -> float:
        """scale·n^{−a}."""
        return self.scale * self.width ** -self.exponents(self.role)[0]

    @property
    def bias_multiplier(self) -> float:
        """scale·bias_scale·n^{−a_β}."""
        return self.scale * self.bias_scale * self.width ** -self.exponents(BIAS_OF[self.role])[0]

    def draw(self, *shape: int) -> nn.Parameter:
        """w ~ N(0, std² n^{−2b})."""
        return self._gaussian(shape, self.std * self.width ** -self.exponents(self.role)[1])

    def draw_bias(self, size: int) -> nn.Parameter:
        """β ~ N(0, bias_std² n^{−2b_β})."""
        return self._gaussian((size,), self.bias_std * self.width ** -self.exponents(BIAS_OF[self.role])[1])

    def _gaussian(self, shape: tuple[int, ...], std: float) -> nn.Parameter:
        """Drawn in float64, so that every dtype starts the same."""
        if std == 0:
            return nn.Parameter(torch.zeros(shape, dtype=self.dtype, device=self.device))
        draw = torch.randn(shape, dtype=torch.float64, generator=self.generator)
        return nn.Parameter(draw.mul_(std).to(device=self.device, dtype=self.dtype or torch.get_default_dtype()))


@dataclass(frozen=True)
class Lent:
    """Parameters that a module does not hold itself.

    Attributes:
        weight: The weight.
        bias: The bias.
    """

    weight: Any
    bias: Any


class Scaled(nn.Module):
    """A weight, and perhaps a bias, with their multipliers: W = weight_multiplier·w, b = bias_multiplier·β.

    A ``state_dict`` carries the multipliers, and loading one with other multipliers is refused: the same numbers would
    be another function. A network may hold the parameters elsewhere, and give them in each call (`Lent`).
    """

    weight: Any
    bias: Any
    scaling: Scaling
    weight_multiplier: float
    bias_multiplier: float

    def scale_by(self, scaling: Scaling) -> None:
        """Take the multipliers."""
        self.scaling = replace(scaling, generator=None)  # which can't be copied with the module
        self.weight_multiplier, self.bias_multiplier = scaling.multiplier, scaling.bias_multiplier

    @property
    def layer(self) -> int:
        """Which weight of a perceptron it is; 0 if it is none."""
        return self.scaling.layer

    @property
    def width(self) -> int:
        """n."""
        return self.scaling.width

    @property
    def parametrization(self) -> Parametrization:
        """The exponents."""
        return self.scaling.parametrization

    def learning_rates(self, rates: LearningRates) -> tuple[float, float]:
        """n^{−c} of the weight and of the bias."""
        role = self.scaling.role
        exponents = rates.of(role, self.layer), rates.of(BIAS_OF[role])
        return self.width ** -float(exponents[0]), self.width ** -float(exponents[1])

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
            place = f"layer {self.layer}" if self.layer else f"a {self.scaling.role}"
            fail(
                "load_state_dict(state_dict)",
                f"of a net whose multipliers and rate in {place} are {own.tolist()}",
                state.tolist(),
                "make the net with the parametrization, width and scales that were saved",
            )

    def extra_repr(self) -> str:
        """Shown in the module's printed form."""
        sizes = "tied" if self.weight is None else "×".join(map(str, self.weight.shape))
        return f"{sizes}, role={self.scaling.role}, weight_multiplier={self.weight_multiplier:.4g}"

    def plus_bias(self, out: Float[Tensor, "*batch d_out"], bias: Tensor | None) -> Float[Tensor, "*batch d_out"]:
        """Add the bias, along the last axis."""
        return out if bias is None else out + self.bias_multiplier * bias
