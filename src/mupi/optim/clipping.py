"""Gradient norms and clipping factors, the same for tensors and for factored gradients."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.optim.factored import FactoredParameter


def gradient_norm(parameter: Tensor) -> Float[Tensor, ""]:
    """The Frobenius norm of ``parameter.grad``; for atoms, that of the infinite-width weight matrix's gradient."""
    if isinstance(parameter, FactoredParameter):
        gradient = parameter.grad
        assert gradient is not None
        return parameter.squared_norm(*gradient.factors()).clamp_min(0).sqrt()
    assert parameter.grad is not None
    return torch.linalg.vector_norm(parameter.grad)


def joint_norm(parameters: Iterable[Tensor]) -> Float[Tensor, ""]:
    """The norm of all gradients together: the root of the sum of squares."""
    norms = [gradient_norm(p) for p in parameters]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


def clip_factor(norm: Float[Tensor, ""], clip: float) -> Float[Tensor, ""]:
    """min(1, clip/(norm + 1e-6)), the convention of `torch.nn.utils.clip_grad_norm_`."""
    return (clip / (norm + 1e-6)).clamp_max(1)
