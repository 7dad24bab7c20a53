"""What the rest of the library asks of an activation φ, and Price's theorem, which gives its gradients."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.activations.determinant import differentiated

Pairs = Float[Tensor, "*#pairs"]
"""One entry per pair (u, v); the three moments of a pair broadcast against each other."""


class Activation(ABC):
    """An activation φ with its Gaussian expectations.

    For (u, v) jointly Gaussian with mean zero, given by ``var_u`` = E u², ``cov`` = E uv and ``var_v`` = E v²
    (tensors that broadcast against each other):

    - `dual`: E φ(u)φ(v), differentiable in all three arguments, twice where φ allows;
    - `dual_11`: E φ'(u)φ'(v);
    - `dual_02`: E φ(u)φ''(v), where a kink of φ counts as a delta function in φ'';
    - `hermite`: c_k(s) = E φ(sz) h_k(z), z ~ N(0, 1), with h_k = He_k/√k!, so that by Mehler's formula (Mehler 1866)
      E φ(u)φ(v) = Σ_k c_k(|u|) c_k(|v|) q^k with q the correlation of u and v.

    The values at the edges (q = ±1, a zero variance) are the limits; where a limit depends on the direction,
    its mean over directions.

    >>> one = torch.ones(1, dtype=torch.float64)
    >>> relu = mupi.activations.as_activation(torch.relu)  # an Activation of any function
    >>> round(float(relu.dual(one, 0 * one, one)), 4)  # E φ(u)φ(v) of independent standard Gaussians: 1/2π
    0.1592
    """

    @abstractmethod
    def __call__(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """φ(x), coordinatewise."""

    @abstractmethod
    def dual_00(self, var_u: Pairs, cov: Pairs, var_v: Pairs) -> Pairs:
        """E φ(u)φ(v) as a bare formula; `dual` adds gradients that are right at the edges too."""

    @abstractmethod
    def dual_11(self, var_u: Pairs, cov: Pairs, var_v: Pairs) -> Pairs:
        """E φ'(u)φ'(v)."""

    @abstractmethod
    def dual_02(self, var_u: Pairs, cov: Pairs, var_v: Pairs) -> Pairs:
        """E φ(u)φ''(v)."""

    @abstractmethod
    def hermite(self, degree: int, scale: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """c_k(s) = E φ(sz) h_k(z) for k = ``degree`` and s = ``scale`` ≥ 0, differentiable in s."""

    def dual(self, var_u: Pairs, cov: Pairs, var_v: Pairs) -> Pairs:
        """E φ(u)φ(v), with its gradient by Price's theorem: see `Price`."""
        if not differentiated(var_u, cov, var_v):
            return self.dual_00(var_u, cov, var_v)
        result = Price.apply(self, var_u, cov, var_v)
        assert isinstance(result, Tensor)
        return result

    def dual_gradient(self, var_u: Pairs, cov: Pairs, var_v: Pairs) -> tuple[Pairs, Pairs]:
        """E φ'(u)φ'(v) and E φ(u)φ''(v) together; overridden where they share work."""
        return self.dual_11(var_u, cov, var_v), self.dual_02(var_u, cov, var_v)

    def dual_and_slope(self, var_u: Pairs, cov: Pairs, var_v: Pairs) -> tuple[Pairs, Pairs]:
        """E φ(u)φ(v) and E φ'(u)φ'(v) together; overridden where they share work."""
        return self.dual(var_u, cov, var_v), self.dual_11(var_u, cov, var_v)

    @property
    def scale_free(self) -> bool:
        """Whether rounding moments' arguments by a part moves the moments by like parts, at any size.

        So for rectifiers and polynomials. Others, with a scale of their own, see var·(1 − |correlation|) beside it,
        which large variances lose.
        """
        return False

    def error(self, scale: Float[Tensor, "*n"]) -> tuple[float, float]:
        """Relative errors of E φφ and E φ'φ' between Gaussians of these standard deviations; 0 for closed forms."""
        return 0.0, 0.0

    def has_degree(self, degree: int) -> bool:
        """Whether c_k(s) is not identically zero for k = ``degree`` (an even φ has no odd degrees, say)."""
        scales = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
        return bool((self.hermite(degree, scales).abs() > 1e-12).any())


class Price(torch.autograd.Function):
    """E φ(u)φ(v) with Price's theorem (Price 1958) as its derivative.

    ∂/∂cov E φ(u)φ(v) = E φ'(u)φ'(v),  ∂/∂var_v E φ(u)φ(v) = ½ E φ(u)φ''(v),  and the same for u.

    Closed forms have infinite intermediate derivatives at q = ±1 (arccos, square root), where these are finite. Both
    modes of differentiation and the transforms of `torch.func` take it, to any order.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(activation: Activation, var_u: Pairs, cov: Pairs, var_v: Pairs) -> Pairs:
        """Evaluate the bare formula."""
        return activation.dual_00(var_u, cov, var_v)

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep the arguments, of which both derivatives are made."""
        ctx.activation, *moments = inputs
        ctx.save_for_backward(*moments)
        ctx.save_for_forward(*moments)

    @staticmethod
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Apply Price's theorem; made of differentiable functions, so it can be differentiated again."""
        var_u, cov, var_v = ctx.saved_tensors
        _, need_u, need_cov, need_v = ctx.needs_input_grad
        φ: Activation = ctx.activation
        d_u = (grad * φ.dual_02(var_v, cov, var_u) / 2).sum_to_size(var_u.shape) if need_u else None
        d_cov = (grad * φ.dual_11(var_u, cov, var_v)).sum_to_size(cov.shape) if need_cov else None
        d_v = (grad * φ.dual_02(var_u, cov, var_v) / 2).sum_to_size(var_v.shape) if need_v else None
        return None, d_u, d_cov, d_v

    @staticmethod
    def jvp(ctx, _, along_u: Tensor | None, along_cov: Tensor | None, along_v: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The same, forward: the directional derivative."""
        var_u, cov, var_v = ctx.saved_tensors
        φ: Activation = ctx.activation
        total = torch.zeros_like(var_u * cov * var_v)
        if along_u is not None:
            total = total + φ.dual_02(var_v, cov, var_u) / 2 * along_u
        if along_cov is not None:
            total = total + φ.dual_11(var_u, cov, var_v) * along_cov
        if along_v is not None:
            total = total + φ.dual_02(var_u, cov, var_v) / 2 * along_v
        return total
