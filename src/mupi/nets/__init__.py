"""Networks."""

from mupi.layers.evaluating import evaluating
from mupi.layers.network import Network
from mupi.layers.pi_functions import error_report, feature_kernel, num_atoms, sample
from mupi.layers.pi_network import PiNetwork
from mupi.nets.centered import CENTERED
from mupi.nets.conv_kernels import ConvKernel, ConvNNGP, ConvNTK
from mupi.nets.linear_mu_limit import LinearMuLimit
from mupi.nets.mlp import MLP, ScaledLinear, scaled_groups
from mupi.nets.mu_cnn import MuCNN
from mupi.nets.parameter_groups import parameter_groups
from mupi.nets.perceptron_kernels import NNGP, NTK, MLPKernel
from mupi.nets.pi_cnn import PiCNN
from mupi.nets.pi_mlp import PiMLP
from mupi.nets.pi_resnet import PiResNet
from mupi.nets.pi_transformer import PiTransformer
from mupi.nets.plain import plain
from mupi.nets.small_networks import small_cnn, small_mu_cnn, small_resnet, small_transformer
from mupi.nets.tokens import Patches, Tokens
from mupi.nets.with_multipliers import with_multipliers

CENTRED = CENTERED  # what earlier versions called it

__all__ = [
    "CENTERED",
    "ConvKernel",
    "ConvNNGP",
    "ConvNTK",
    "LinearMuLimit",
    "MLP",
    "MLPKernel",
    "MuCNN",
    "Network",
    "NNGP",
    "NTK",
    "Patches",
    "PiCNN",
    "PiMLP",
    "PiNetwork",
    "PiResNet",
    "PiTransformer",
    "ScaledLinear",
    "Tokens",
    "error_report",
    "evaluating",
    "feature_kernel",
    "num_atoms",
    "parameter_groups",
    "with_multipliers",
    "plain",
    "sample",
    "scaled_groups",
    "small_cnn",
    "small_mu_cnn",
    "small_resnet",
    "small_transformer",
]
