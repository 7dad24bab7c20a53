"""`NNGP` and `NTK`: kernels of infinitely wide perceptrons."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

from jaxtyping import Float
from torch import Tensor

from mupi.activations import Activation, as_activation
from mupi.architecture import Architecture, zoo
from mupi.architecture.kernel import LimitKernel, kernel
from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.kernels.inner_products import check_inputs, check_sigma


@takes_numpy
@dataclass(frozen=True)
class MLPKernel(ABC):
    """A kernel of the perceptron with L = ``depth`` hidden layers of infinite width, in NTK parametrization.

    h^1 = σ_w W^1 x/√d + σ_b b^1,  h^{l+1} = σ_w W^{l+1} φ(h^l)/√n + σ_b b^{l+1},  f = h^{L+1}, every entry of W^l and
    b^l a trainable N(0, 1). As n → ∞ the coordinates of h^l are iid Gaussian functions of x with covariance

    K^1 = σ_w² ⟨x, x'⟩/d + σ_b²,  K^{l+1} = σ_w² E φ(u)φ(v) + σ_b²,  (u, v) ~ N(0, K^l on {x, x'}).

    It is ``zoo.perceptron(d, 1, depth, activation).nngp(sigma_w, sigma_b)``, or ``.ntk``, for inputs of shape (n, d)
    with any d. Beside the result, a call holds a few blocks of rows only; under autograd it recomputes them in the
    backward pass. Angles below 4√eps count as 0. Derivatives of any order exist, by autograd and `torch.func`; those
    that diverge for a kinked φ at parallel inputs count as their mean over directions. Where a variance is so large
    that its rounding would show, all is computed in float64; for rectifiers and polynomials it never does.

    Args:
        depth: Number L ≥ 1 of hidden layers.
        activation: φ, an `Activation` or any callable.
        sigma_w: σ_w; for ReLU √2 keeps variances the same in all layers, and any value only rescales the kernel.
        sigma_b: σ_b of the biases.

    Raises:
        ValueError: For a depth that is not a positive integer, or a σ that is negative or has no finite square.
    """

    depth: int
    activation: Activation | Callable[[Tensor], Tensor]
    sigma_w: float = sqrt(2)
    sigma_b: float = 0.0

    def __post_init__(self):
        name = type(self).__name__
        positive_int(f"{name}(depth=...)", self.depth)
        check_sigma(f"{name}(sigma_w=...)", self.sigma_w)
        check_sigma(f"{name}(sigma_b=...)", self.sigma_b)
        object.__setattr__(self, "activation", as_activation(self.activation, f"{name}(activation=...)"))

    @property
    def φ(self) -> Activation:
        """The activation as an `Activation`."""
        assert isinstance(self.activation, Activation)
        return self.activation

    def __call__(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"] | None = None) -> Float[Tensor, "n m"]:
        """The kernel of every row of ``x1`` with every row of ``x2``, by default ``x1``; differentiable.

        Raises:
            ValueError: For inputs that are not finite matrices of one dtype and width, or so large or small that the
                kernel is not finite or breaks 0 ≤ k(x, x), |k(x, x')| ≤ √(k(x, x) k(x', x')), or that not even
                float64 tells their angles where the kernel depends on them.
        """
        check_inputs(type(self).__name__, x1, x2)
        return self.of(x1.shape[1])(x1, x2)

    def diagonal(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """k(x, x) of each row, in O(n d); differentiable.

        Raises:
            ValueError: As in a call.
        """
        check_inputs(type(self).__name__, x, None)
        return self.of(x.shape[1]).diagonal(x)

    def of(self, d: int) -> LimitKernel:
        """The reading that it is for inputs of width d."""
        try:
            return _known(self, d)
        except TypeError:  # an activation of a user's own that has no hash
            return _read(self, d)

    @abstractmethod
    def _read(self, net: Architecture) -> LimitKernel:
        """The kernel of a network."""


def _read(kernel: MLPKernel, d: int) -> LimitKernel:
    return kernel._read(zoo.perceptron(d, 1, kernel.depth, kernel.φ))


_known = lru_cache(maxsize=64)(_read)


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

    def _read(self, net: Architecture) -> LimitKernel:
        return kernel(net, "nngp", self.sigma_w, self.sigma_b, name="NNGP")


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

    def _read(self, net: Architecture) -> LimitKernel:
        assert self.weight_lr is not None and self.bias_lr is not None
        rates = ({f"layers.{i}": rate for i, rate in enumerate(given)} for given in (self.weight_lr, self.bias_lr))
        return kernel(net, "ntk", self.sigma_w, self.sigma_b, *rates, name="NTK")
