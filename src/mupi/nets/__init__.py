"""Networks."""

from mupi.nets.pi_mlp import PiMLP

__all__ = ["PiMLP"]
