"""The layers that π-networks are composed of."""

from mupi.layers.attention import Attention, Heads
from mupi.layers.averaged_readout import AveragedReadout
from mupi.layers.center import Center
from mupi.layers.dense_matrix import DenseMatrix
from mupi.layers.error import LayerError, layer_error, relative_error
from mupi.layers.flattened_readout import FlattenedReadout
from mupi.layers.grid import odd_kernel
from mupi.layers.input_conv2d import InputConv2d
from mupi.layers.norm import Norm
from mupi.layers.normalize import normalize
from mupi.layers.pi_conv2d import PiConv2d, conv_initialization
from mupi.layers.pi_linear import PiLinear, pi_initialization
from mupi.layers.positions import pairwise

# What earlier versions called them.
Centre = Center
InputLayer = DenseMatrix
conv_initialisation = conv_initialization
pi_initialisation = pi_initialization

__all__ = [
    "Attention",
    "AveragedReadout",
    "Center",
    "Centre",
    "DenseMatrix",
    "FlattenedReadout",
    "Heads",
    "InputConv2d",
    "InputLayer",
    "LayerError",
    "Norm",
    "PiConv2d",
    "PiLinear",
    "conv_initialization",
    "layer_error",
    "normalize",
    "odd_kernel",
    "pairwise",
    "pi_initialization",
    "relative_error",
]
