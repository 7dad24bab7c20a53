"""`NTK`: the neural tangent kernel of an infinitely wide network."""

from collections.abc import Sequence
from dataclasses import dataclass

from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative
from mupi.kernels.mlp_kernel import MLPKernel


@takes_numpy
@dataclass(frozen=True)
class NTK(MLPKernel):
    """Θ^{L+1} = Σ_p η_p ∂f/∂p ∂f'/∂p over all parameters p, in NTK parametrization (Jacot, Gabriel & Hongler 2018).

    With learning rates η·ω_l for W^l and η·β_l for the biases σ_b b^l, and kernels K^l of `NNGP`:

    Θ^1 = ω_1 σ_w² ⟨x, x'⟩/d + β_1,
    Θ^{l+1} = ω_{l+1} σ_w² E φ(u)φ(v) + β_{l+1} + σ_w² Θ^l ∘ E φ'(u)φ'(v),  (u, v) ~ N(0, K^l).

    By default ω_l = 1 and β_l = σ_b²: b^l and W^l learn at one rate, and Θ^{l+1} = K^{l+1} + σ_w² Θ^l ∘ E φ'φ'. With
    σ_b = 0 and β_l > 0 biases start at 0 and learn. If only the readout learns, at the default rates, Θ is the NNGP
    kernel. Other arguments and conventions are those of `MLPKernel`.

    The derivatives of E φ'φ' do not exist for a kinked φ at parallel inputs, where Θ has a cusp; their means over
    directions are taken, the derivatives of the smooth part.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> kernel = mupi.NTK(depth=1, activation=mupi.Identity(), sigma_w=1.0)
    >>> kernel(x, x).tolist()  # of two linear layers, each ⟨x, x'⟩/d
    [[1.0, 0.0], [0.0, 1.0]]

    Args:
        weight_lr: ω_1, …, ω_{L+1}; None for ones.
        bias_lr: β_1, …, β_{L+1}; None for σ_b² each.

    Raises:
        ValueError: As `MLPKernel`, or if there are not L + 1 multipliers ≥ 0 of a kind.
    """

    weight_lr: Sequence[float] | None = None
    bias_lr: Sequence[float] | None = None

    def __post_init__(self):
        super().__post_init__()
        for name, default in (("weight_lr", 1.0), ("bias_lr", self.sigma_b**2)):
            given = getattr(self, name)
            rates = (default,) * (self.depth + 1) if given is None else tuple(given)
            if len(rates) != self.depth + 1:
                fail(
                    f"NTK({name}=...)",
                    f"{self.depth + 1} numbers, one for each of {self.depth} hidden layers and the readout",
                    f"{len(rates)}",
                )
            for rate in rates:
                non_negative(f"NTK({name}=...)", rate)
            object.__setattr__(self, name, rates)

    def entries(self, var_u, cov, var_v):
        """Θ^{L+1} from ⟨x, x'⟩/d."""
        assert self.weight_lr is not None and self.bias_lr is not None
        σ_w = self.sigma_w
        (ω, *weight_lr), (β, *bias_lr) = self.weight_lr, self.bias_lr
        moment, tangent = cov, ω * σ_w**2 * cov + β
        for u, v, ω, β in zip(var_u, var_v, weight_lr, bias_lr, strict=True):
            k = self.layer(u, moment, v)
            moment, slope = self.φ.dual(u, k, v), self.φ.dual_11(u, k, v)
            tangent = ω * σ_w**2 * moment + β + σ_w**2 * tangent * slope
        return tangent
