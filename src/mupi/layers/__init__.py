"""The layers that π-networks are composed of."""

from mupi.layers.attention import Attention
from mupi.layers.centre import Centre
from mupi.layers.error import LayerError, layer_error, relative_error
from mupi.layers.input_conv2d import InputConv2d
from mupi.layers.input_layer import InputLayer
from mupi.layers.normalize import normalize
from mupi.layers.pi_conv2d import PiConv2d, conv_initialisation, odd_kernel
from mupi.layers.pi_linear import PiLinear, pi_initialisation

__all__ = [
    "Attention",
    "Centre",
    "InputConv2d",
    "InputLayer",
    "LayerError",
    "PiConv2d",
    "PiLinear",
    "conv_initialisation",
    "layer_error",
    "normalize",
    "odd_kernel",
    "pi_initialisation",
    "relative_error",
]
