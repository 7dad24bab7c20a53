"""The layers that π-networks are composed of."""

from mupi.layers.error import LayerError, layer_error, relative_error
from mupi.layers.input_layer import InputLayer
from mupi.layers.pi_linear import PiLinear, pi_initialisation

__all__ = ["InputLayer", "LayerError", "PiLinear", "layer_error", "pi_initialisation", "relative_error"]
