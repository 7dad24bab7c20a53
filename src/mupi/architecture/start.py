"""How the parameters of a described network start, and by what they are multiplied, by their roles."""

from dataclasses import asdict, dataclass

import torch

from mupi.architecture.description import Description
from mupi.architecture.finite_rules import Place
from mupi.architecture.scaling import Scaling
from mupi.checks import non_negative
from mupi.parametrization import Parametrization


@dataclass(frozen=True)
class Start:
    """Multipliers α and standard deviations σ, as `FiniteNetwork` takes them.

    Attributes:
        input_scale: α of the input weights.
        hidden_scale: α of the hidden weights.
        output_scale: α of the readout.
        bias_scale: α_b of all biases; 0 leaves them out.
        sigma_w: σ of the weights.
        sigma_b: σ of the biases; 0 starts them at 0.
        embed_std: σ of embeddings and tables, if not sigma_w.
        input_std: σ/√m of the input weights, if not sigma_w/√m.
        readout_std: σ of the readout, if not sigma_w; 0 for a network that starts at zero.
        fan_in_multiplier: Whether 1/√m is in the multipliers rather than in the initial values.
    """

    input_scale: float = 1.0
    hidden_scale: float = 1.0
    output_scale: float = 1.0
    bias_scale: float = 1.0
    sigma_w: float = 1.0
    sigma_b: float = 0.0
    embed_std: float | None = None
    input_std: float | None = None
    readout_std: float | None = None
    fan_in_multiplier: bool = False

    def checked(self, reading: str) -> "Start":
        """Itself.

        Raises:
            ValueError: If a number is negative or not finite.
        """
        for name, value in asdict(self).items():
            if value is not None and not isinstance(value, bool):
                non_negative(f"{reading}({name}=...)", value)
        return self

    def place(
        self,
        net: Description,
        place: int,
        layer: int,
        width: int,
        parametrization: Parametrization,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Place:
        """What the rule of a node is told.

        Args:
            net: The description of the network.
            place: The node's place.
            layer: Which weight of a perceptron it is in the parametrization: see `Scaling`.
            width: The width n.
            parametrization: The exponents.
            generator: Draws the initial weights; None for torch's own.
            dtype: Floating dtype; None for the default.
            device: Device; None for the default.
        """
        role = net.role(place) or "vector"
        scales = {"input": self.input_scale, "hidden": self.hidden_scale, "readout": self.output_scale}
        std = self.readout_std if role == "readout" and self.readout_std is not None else self.sigma_w
        scaling = Scaling(
            role, layer, width, parametrization, scales.get(role, 1.0), self.bias_scale, std, self.sigma_b, generator,
            dtype, device,
        )  # fmt: skip
        embed_std = self.sigma_w if self.embed_std is None else self.embed_std
        return Place(scaling, embed_std, self.input_std, self.fan_in_multiplier)
