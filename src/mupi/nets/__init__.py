"""Networks."""

from mupi.nets.linear_mu_limit import LinearMuLimit
from mupi.nets.mlp import MLP, ScaledLinear, scaled_groups
from mupi.nets.parametrize import parameter_groups, parametrize
from mupi.nets.pi_mlp import PiMLP

__all__ = [
    "LinearMuLimit","MLP", "PiMLP", "ScaledLinear", "parameter_groups", "parametrize", "scaled_groups"]
