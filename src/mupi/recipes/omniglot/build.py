"""The learner of a few-shot experiment and its optimiser, made as the configuration says."""

from math import sqrt

import torch
from torch import Tensor

from mupi.data.omniglot import SIZE
from mupi.nets import MLP, NNGP, NTK, LinearMuLimit, PiMLP
from mupi.optim import SGD
from mupi.recipes.omniglot import models
from mupi.recipes.omniglot.learners import Kernel, KernelLearner, Learner, ReadoutLearner, WholeLearner

D = SIZE**2


def build_learner(model: models.Model, ways: int, generator: torch.Generator) -> Learner:
    """Before meta-training.

    Args:
        model: What it is.
        ways: Classes of a task.
        generator: Draws the network.
    """
    match model:
        case models.Kernel():
            return KernelLearner(build_kernel(model), model.step_size)
        case models.ShallowMuLimit():
            σ_u, σ_v = model.input_std, model.readout_std
            return WholeLearner(LinearMuLimit(D, ways, σ_u, σ_v, bias_scale=model.bias_scale), model.step_size)
        case models.ShallowMuNet():
            return WholeLearner(shallow_mu_network(model, ways, generator), model.step_size)
        case models.DeepMuNet():
            return ReadoutLearner(deep_mu_network(model, ways, generator), model.step_size)
        case models.Projected():
            return ReadoutLearner(pi_network(model, ways, generator), model.step_size)
        case _:
            raise TypeError(f"{type(model).__name__} has no learner")


def build_kernel(model: models.Kernel) -> Kernel:
    """`NNGP` or `NTK` of the paper.

    [B] has σ_w = 1 and inputs divided by √d, and no bias in the readout, which adds a constant to the kernel.
    [A] has none of the 1/d, h = σ_u U x + σ_b β with entries N(0, 1), and biases that do not learn in a task.
    """
    φ = model.phi
    if isinstance(model, models.DeepKernel):
        family = NNGP if isinstance(model, models.DeepNNGP) else NTK
        return family(model.depth, φ, 1.0, model.sigma_b)
    # K and Θ are homogeneous of degree 1 in the squares of x and σ_b: d times those of x/√d and σ_b/√d. `NNGP` counts
    # a bias of the readout, which the paper's networks have not.
    nngp = isinstance(model, models.ShallowNNGP)
    σ_b = model.sigma_b / sqrt(D)
    scaled = NNGP(1, φ, 1.0, σ_b) if nngp else NTK(1, φ, 1.0, σ_b, bias_lr=(0.0, 0.0))
    readout_bias = model.sigma_b**2 if nngp else 0.0

    def kernel(x1: Tensor, x2: Tensor) -> Tensor:
        return D * scaled(x1, x2) - readout_bias

    return kernel


def shallow_mu_network(model: models.ShallowMuNet, ways: int, generator: torch.Generator) -> MLP:
    """[A]: one hidden layer with a bias, no bias in the readout."""
    net = MLP(
        D,
        ways,
        model.width,
        model.depth,
        activation=model.phi,
        input_std=model.input_std,
        readout_std=model.readout_std,
        bias_scale=model.bias_scale,
        generator=generator,
    )
    if net.readout.bias is not None:
        net.readout.bias.requires_grad_(False)
    return net


def deep_mu_network(model: models.DeepMuNet, ways: int, generator: torch.Generator) -> MLP:
    """[B]: μP."""
    return MLP(
        D,
        ways,
        model.width,
        model.depth,
        activation=model.phi,
        input_std=model.input_std,
        readout_std=0.0,
        bias_scale=model.bias_scale,
        generator=generator,
    )


def pi_network(model: models.Projected, ways: int, generator: torch.Generator) -> PiMLP:
    """[B]: the π-limit or the π-net, all from the same draws."""
    return PiMLP(
        D,
        ways,
        model.rank,
        model.depth,
        features=model.features,
        activation=model.phi,
        output_scale=1.0,
        bias_scale=model.bias_scale,
        generator=generator,
    )


def build_optimizer(model: models.Trained, learner: Learner) -> SGD:
    """SGD with one clipping norm for all gradients.

    A readout that adapts from 0 gets no gradient, and so does not move and does not count in the norm.
    """
    assert learner.net is not None
    return SGD(learner.net.parameter_groups(model.lr, first=model.lr_first), clip=model.clip, clip_jointly=True)
