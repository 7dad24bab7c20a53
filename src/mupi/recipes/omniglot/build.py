"""The learner of a few-shot experiment and its optimiser, made as the configuration says."""

from math import sqrt

import torch
from torch import Tensor

from mupi.activations import Activation, Identity, ReLU
from mupi.data.omniglot import SIZE
from mupi.features import Atoms, Features, Hermite, RandomFeatures
from mupi.nets import MLP, NNGP, NTK, LinearMuLimit, PiMLP
from mupi.optim import SGD
from mupi.recipes.omniglot.config import OmniglotConfig
from mupi.recipes.omniglot.learners import Kernel, KernelLearner, Learner, ReadoutLearner, WholeLearner

D = SIZE**2


def build_learner(config: OmniglotConfig, generator: torch.Generator) -> Learner:
    """Before meta-training.

    Args:
        config: The configuration, with all defaults filled in by `settled`.
        generator: Draws the network.
    """
    assert config.step_size is not None
    match config.model:
        case "nngp" | "ntk":
            return KernelLearner(build_kernel(config), config.step_size)
        case "mu-limit" | "mu-net" if config.paper == "tp4":
            return WholeLearner(shallow_network(config, generator), config.step_size)
        case "mu-net":
            return ReadoutLearner(deep_mu_network(config, generator), config.step_size)
        case _:
            return ReadoutLearner(pi_network(config, generator), config.step_size)


def build_kernel(config: OmniglotConfig) -> Kernel:
    """`NNGP` or `NTK` of the paper.

    [B] has σ_w = 1 and inputs divided by √d, and no bias in the readout, which adds a constant to the kernel.
    [A] has none of the 1/d, h = σ_u U x + σ_b β with entries N(0, 1), and biases that do not learn in a task.
    """
    assert config.depth is not None and config.sigma_b is not None
    φ = activation(config)
    if config.paper == "pi":
        family = NNGP if config.model == "nngp" else NTK
        return family(config.depth, φ, 1.0, config.sigma_b)
    # K and Θ are homogeneous of degree 1 in the squares of x and σ_b: d times those of x/√d and σ_b/√d. `NNGP` counts
    # a bias of the readout, which the paper's networks have not.
    σ_b = config.sigma_b / sqrt(D)
    scaled = NNGP(1, φ, 1.0, σ_b) if config.model == "nngp" else NTK(1, φ, 1.0, σ_b, bias_lr=(0.0, 0.0))
    readout_bias = config.sigma_b**2 if config.model == "nngp" else 0.0

    def kernel(x1: Tensor, x2: Tensor) -> Tensor:
        return D * scaled(x1, x2) - readout_bias

    return kernel


def shallow_network(config: OmniglotConfig, generator: torch.Generator) -> LinearMuLimit | MLP:
    """[A]: one hidden layer with a bias, no bias in the readout."""
    assert config.input_std is not None and config.readout_std is not None and config.bias_scale is not None
    if config.model == "mu-limit":
        return LinearMuLimit(D, config.ways, config.input_std, config.readout_std, bias_scale=config.bias_scale)
    assert config.width is not None and config.depth is not None
    net = MLP(
        D,
        config.ways,
        config.width,
        config.depth,
        activation=activation(config),
        input_std=config.input_std,
        readout_std=config.readout_std,
        bias_scale=config.bias_scale,
        generator=generator,
    )
    if net.readout.bias is not None:
        net.readout.bias.requires_grad_(False)
    return net


def deep_mu_network(config: OmniglotConfig, generator: torch.Generator) -> MLP:
    """[B]: μP."""
    assert config.width is not None and config.depth is not None and config.bias_scale is not None
    return MLP(
        D,
        config.ways,
        config.width,
        config.depth,
        activation=activation(config),
        input_std=config.input_std,
        readout_std=0.0,
        bias_scale=config.bias_scale,
        generator=generator,
    )


def pi_network(config: OmniglotConfig, generator: torch.Generator) -> PiMLP:
    """[B]: the π-limit or the π-net, all from the same draws."""
    assert config.depth is not None and config.bias_scale is not None
    return PiMLP(
        D,
        config.ways,
        config.rank,
        config.depth,
        features=feature_map(config),
        activation=activation(config),
        output_scale=1.0,
        bias_scale=config.bias_scale,
        generator=generator,
    )


def feature_map(config: OmniglotConfig) -> Features:
    """Of the π-limit or the π-net."""
    match config.model:
        case "pi-limit-exact":
            return Atoms()
        case "pi-net":
            assert config.width is not None
            return RandomFeatures(config.width)
        case _:
            return Hermite(degree=2, subspace=config.subspace)


def build_optimizer(config: OmniglotConfig, learner: Learner) -> SGD | None:
    """SGD with one clipping norm for all gradients; None where nothing is trained.

    A readout that adapts from 0 gets no gradient, and so does not move and does not count in the norm.
    """
    net = learner.net
    if net is None:
        return None
    assert config.lr is not None and config.lr_first is not None
    groups = net.parameter_groups(config.lr, first=config.lr_first)
    return SGD(groups, clip=config.clip, clip_jointly=True)


def activation(config: OmniglotConfig) -> Activation:
    """φ."""
    return Identity() if config.linear else ReLU()
