"""Networks."""

from mupi.nets.mlp import MLP, ScaledLinear, scaled_groups
from mupi.nets.pi_mlp import PiMLP

__all__ = ["MLP", "PiMLP", "ScaledLinear", "scaled_groups"]
