"""`ConvNNGP` and `ConvNTK`: kernels of infinitely wide convolutional networks, with and without pooling."""

from dataclasses import dataclass

from mupi.arrays import takes_numpy
from mupi.kernels.conv_kernel import ConvKernel


@takes_numpy
@dataclass(frozen=True)
class ConvNNGP(ConvKernel):
    """The covariance of the network's output at initialisation (Novak et al. 2019).

    σ_w² mean E φφ(p, p') + σ_b² over the pairs of positions that the readout sees, with K^l as in `ConvKernel`, whose
    arguments and conventions it has.

    >>> kernel = mupi.ConvNNGP((3, 8, 8), depth=2, activation=mupi.ReLU(), pooling=True)
    >>> kernel(torch.randn(4, 3 * 8 * 8), torch.randn(5, 3 * 8 * 8)).shape
    torch.Size([4, 5])
    """

    def entries(self, var_u, cov, var_v):
        """See the class."""
        moment = cov
        for u, v in zip(var_u, var_v, strict=True):
            moment = self.φ.dual(u, self.layer(u, moment, v), v)
        return self.sigma_w**2 * self.readout(moment) + self.sigma_b**2


@takes_numpy
@dataclass(frozen=True)
class ConvNTK(ConvKernel):
    """Σ ∂f/∂p ∂f'/∂p over all parameters p, in NTK parametrization (Arora et al. 2019).

    Θ^1 = K^1,  Θ^{l+1}(p, p') = K^{l+1}(p, p') + σ_w²/k² Σ_o (Θ^l ∘ E φ'φ')(p+o, p'+o), and at the readout the mean
    over the pairs of positions that it sees in place of the one over offsets. Arguments and conventions are those of
    `ConvKernel`; weights and biases learn at one rate.

    >>> x = torch.randn(2, 3 * 8 * 8)
    >>> nngp, ntk = (kernel((3, 8, 8), 1, mupi.ReLU()) for kernel in (mupi.ConvNNGP, mupi.ConvNTK))
    >>> bool((ntk(x, x).diagonal() > nngp(x, x).diagonal()).all())  # the readout's part, and those of the others
    True
    """

    def entries(self, var_u, cov, var_v):
        """See the class."""
        k = tangent = self.layer(var_u[0], cov, var_v[0])
        for i in range(1, self.depth):
            moment, slope = self._duals(var_u[i - 1], k, var_v[i - 1])
            k = self.layer(var_u[i], moment, var_v[i])
            tangent = k + self.sigma_w**2 * self.moved_average(tangent * slope)
        moment, slope = self._duals(var_u[-1], k, var_v[-1])
        return self.sigma_w**2 * self.readout(moment + tangent * slope) + self.sigma_b**2

    def _duals(self, u, k, v):
        return self.φ.dual(u, k, v), self.φ.dual_11(u, k, v)
