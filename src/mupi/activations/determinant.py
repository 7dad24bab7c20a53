"""The determinant of two Gaussians' covariance, in which closed forms lose their digits or their derivatives."""

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import is_eager
from mupi.torch_internals import in_forward_mode

NARROW = 1e6
"""Variances up to which the determinant, its square and their products are numbers of float32."""


def determinant(
    var_u: Float[Tensor, "*#pairs"], cov: Float[Tensor, "*#pairs"], var_v: Float[Tensor, "*#pairs"]
) -> Float[Tensor, "*#pairs"]:
    """var_u var_v − cov² in float64, at least 0, with the derivative of the difference even where that is below 0.

    For nearly parallel vectors the difference cancels. In float64 it is exact for numbers that came as float32, and
    neither overflows nor underflows for them.
    """
    det = var_u.double() * var_v.double() - cov.double().square()
    if differentiated(var_u, cov, var_v):
        return det - det.detach().clamp_max(0)
    return det.clamp_min_(0)


def determinant_beside_one(
    var_u: Float[Tensor, "*#pairs"], cov: Float[Tensor, "*#pairs"], var_v: Float[Tensor, "*#pairs"]
) -> Float[Tensor, "*#pairs"]:
    """The determinant for a sum with 1 or more, in float32 on a CPU if the variances are at most `NARROW`.

    What it rounds there a rounding of var_u would do as well, for nothing is divided by what is left of it.
    """
    if cov.dtype != torch.float32 or not seen_up_to(NARROW, var_u, cov, var_v):
        return determinant(var_u, cov, var_v)
    return (var_u * var_v).addcmul(cov, cov, value=-1).clamp_min_(0)


def root_and_angle(
    var_u: Float[Tensor, "*#pairs"], cov: Float[Tensor, "*#pairs"], var_v: Float[Tensor, "*#pairs"]
) -> tuple[Float[Tensor, "*#pairs"], Float[Tensor, "*#pairs"]]:
    """√(var_u var_v − cov²) and the angle in [0, π]; π/2 where a vector is zero, the mean over directions.

    Their derivatives of every order are finite, with 0 at parallel vectors: there the true ones go like 1/angle in
    opposite directions oppositely, so that 0 is their mean over directions, and what they multiply vanishes
    wherever the whole has a derivative.
    """
    det = determinant(var_u, cov, var_v)
    if not differentiated(var_u, cov, var_v):
        root = det.sqrt().to(cov.dtype)
        angle = torch.atan2(root, cov)
        if cov.is_cpu and not _has_zero(var_u) and not _has_zero(var_v):
            return root, angle
        return root, torch.where((root == 0) & (cov == 0), torch.pi / 2, angle)
    # A derivative must not even pass through √0 or atan2(0, 0): an infinity times 0 is NaN. In float64 throughout,
    # since the derivative of atan2 squares its arguments.
    wide, parallel = cov.double(), det.detach() <= 0
    root = torch.where(parallel, 0.0, torch.where(parallel, 1.0, det).sqrt())
    undefined = parallel & (wide.detach() == 0)
    angle = torch.where(undefined, torch.pi / 2, torch.atan2(root, torch.where(undefined, 1.0, wide)))
    return root.to(cov.dtype), angle.to(cov.dtype)


def seen_up_to(
    bound: float, var_u: Float[Tensor, "*#pairs"], cov: Float[Tensor, "*#pairs"], var_v: Float[Tensor, "*#pairs"]
) -> bool:
    """Whether variances are seen at no cost to be at most ``bound``: on a CPU, and where no derivatives are asked."""
    if not cov.is_cpu or differentiated(var_u, cov, var_v):
        return False
    return all(v.numel() > 0 and float(v.amax()) <= bound for v in (var_u, var_v))


def differentiated(*tensors: Tensor) -> bool:
    """Whether derivatives may be asked of what is computed from them: by autograd, forward, or `torch.func`."""
    if in_forward_mode():
        return True
    recorded = torch.is_grad_enabled()  # one loop: small kernels ask this more often than they compute
    return any(not is_eager(t) or (recorded and t.requires_grad) for t in tensors)


def _has_zero(var: Tensor) -> bool:
    """Whether a variance is 0, or so small that its products underflow."""
    return var.numel() > 0 and float(var.min()) <= 1e-150
