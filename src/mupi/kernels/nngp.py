"""`NNGP`: the covariance of an infinitely wide network at initialisation."""

from dataclasses import dataclass

from mupi.arrays import takes_numpy
from mupi.kernels.mlp_kernel import MLPKernel


@takes_numpy
@dataclass(frozen=True)
class NNGP(MLPKernel):
    """K^{L+1}: the network's output at initialisation is a Gaussian process with this covariance.

    K^1 = σ_w² ⟨x, x'⟩/d + σ_b²,  K^{l+1} = σ_w² E φ(u)φ(v) + σ_b² with (u, v) ~ N(0, K^l) (Lee et al. 2018; Matthews
    et al. 2018). Arguments and conventions are those of `MLPKernel`.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> kernel = mupi.NNGP(depth=1, activation=mupi.ReLU())
    >>> (kernel(x, x) / kernel(x, x)[0, 0]).round(decimals=4).tolist()  # 1/π between orthogonal inputs
    [[1.0, 0.3183], [0.3183, 1.0]]
    """

    def entries(self, var_u, cov, var_v):
        """K^{L+1} from ⟨x, x'⟩/d."""
        moment = cov
        for u, v in zip(var_u, var_v, strict=True):
            moment = self.φ.dual(u, self.layer(u, moment, v), v)
        return self.affine(moment)
