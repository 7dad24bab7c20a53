"""Gradient norms and clipping factors, the same for tensors and for factored gradients."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import is_eager
from mupi.parameters.factored import FactoredGradient, FactoredParameter
from mupi.parameters.matrix_parameter import MatrixParameter
from mupi.parameters.norms import norm, power_of_two

FAR = 1e8


def gradient_norm(parameter: Tensor) -> Float[Tensor, ""]:
    """The Frobenius norm of ``parameter.grad``; for atoms, that of the infinite-width weight matrix's gradient."""
    if isinstance(parameter, FactoredParameter) and isinstance(parameter.grad, FactoredGradient):
        delta, x = _parts(parameter)
        if delta.device.type == "cpu" and is_eager(delta):
            square = parameter.squared_norm(delta, x)
            limits = torch.finfo(square.dtype)
            # So far from the largest and the smallest numbers no term of it over- or underflowed; two passes are saved.
            if limits.tiny * FAR < float(square) < limits.max / FAR:
                return square.sqrt()
        # The norm is linear in δ, for a matrix in x too: divided by powers of two, which round nothing, their squares
        # do not overflow.
        size = power_of_two(delta)
        size_x = power_of_two(x) if isinstance(parameter, MatrixParameter) else torch.ones_like(size)
        return parameter.squared_norm(delta / size, x / size_x).clamp_min(0).sqrt() * size * size_x
    assert parameter.grad is not None
    return norm(parameter.grad)


def finiteness(parameter: Tensor) -> Float[Tensor, ""]:
    """A number that is finite only if ``parameter.grad`` is, or its factors are: their sum, which costs one pass."""
    return torch.stack([part.sum() for part in _parts(parameter)]).sum()


def bad_entries(parameter: Tensor) -> int:
    """How many NaN and infinite entries ``parameter.grad`` has, or its factors."""
    return sum(int((~torch.isfinite(part)).sum()) for part in _parts(parameter))


def _parts(parameter: Tensor) -> tuple[Tensor, ...]:
    """``grad``, or its factors."""
    gradient = parameter.grad
    assert gradient is not None
    return gradient.factors() if isinstance(gradient, FactoredGradient) else (gradient,)


def joint_norm(parameters: Iterable[Tensor]) -> Float[Tensor, ""]:
    """The norm of all gradients together: the root of the sum of squares."""
    norms = [gradient_norm(p) for p in parameters]
    return norm(torch.stack(norms)) if norms else torch.zeros(())


def clip_factor(norm: Float[Tensor, ""], clip: float) -> Float[Tensor, ""]:
    """min(1, clip/(norm + 1e-6)), the convention of `torch.nn.utils.clip_grad_norm_`."""
    return (clip / (norm + 1e-6)).clamp_max(1)
