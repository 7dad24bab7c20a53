"""`ConvNNGP` and `ConvNTK`: kernels of infinitely wide convolutional networks, with and without pooling."""

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from mupi.activations import Activation, as_activation
from mupi.architecture import zoo
from mupi.architecture.kernel import LimitKernel, kernel
from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.kernels.inner_products import check_inputs, check_sigma


@takes_numpy
@dataclass(frozen=True)
class ConvKernel(ABC):
    """A kernel of a convolutional network with L hidden layers of infinitely many channels, in NTK parametrization.

    h^1(p) = σ_w Σ_o W^1_o x(p+o)/√(d k²) + σ_b b^1,  h^{l+1}(p) = σ_w Σ_o W^{l+1}_o φ(h^l(p+o))/√(n k²) + σ_b b^{l+1},

    with o over the k² offsets of a k × k kernel and zeros outside the image. The readout is linear in φ(h^L) of all
    positions (``pooling=False``: f = σ_w Σ_p W_p φ(h^L(p))/√(nP) + σ_b b), or in their average over positions
    (``pooling=True``: f = σ_w W Σ_p φ(h^L(p))/(√n P) + σ_b b). Channels are iid Gaussian functions of image and
    position; with (u, v) of covariance K^l(p, p') (Novak et al. 2019; Arora et al. 2019)

    K^{l+1}(p, p') = σ_w²/k² Σ_o E φφ(p+o, p'+o) + σ_b².

    It is ``zoo.cnn(image_shape, 1, depth, activation, average=pooling).nngp(sigma_w, sigma_b)``, or ``.ntk``. Without
    pooling only pairs p = p' of the two images matter, P to a pair of images; with it all P². Inputs are
    flattened images (n, channels·height·width), as `mupi.KernelRegression` has them. Where a variance is so large that
    its rounding would show, all is computed in float64; for rectifiers and polynomials it never does.

    Args:
        image_shape: Channels, height and width.
        depth: Number L ≥ 1 of hidden layers.
        activation: φ, an `Activation` or any callable.
        pooling: Whether φ is averaged over positions before the readout.
        kernel_size: Odd side k of all kernels.
        sigma_w: σ_w of the weights.
        sigma_b: σ_b of the biases.

    Raises:
        ValueError: For a size that is not a positive integer, an even kernel, or a σ that is negative or has no finite
            square.
    """

    kind: ClassVar[Literal["nngp", "ntk"]]

    image_shape: tuple[int, int, int]
    depth: int
    activation: Activation | Callable[[Tensor], Tensor]
    pooling: bool = False
    kernel_size: int = 3
    sigma_w: float = sqrt(2)
    sigma_b: float = 0.0

    def __post_init__(self):
        name = type(self).__name__
        for size in self.image_shape:
            positive_int(f"{name}(image_shape=...)", size)
        positive_int(f"{name}(depth=...)", self.depth)
        positive_int(f"{name}(kernel_size=...)", self.kernel_size)
        if self.kernel_size % 2 == 0:
            fail(f"{name}(kernel_size=...)", "odd", self.kernel_size)
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
            ValueError: For inputs that are not finite matrices of one dtype, with images of ``image_shape`` as rows, or
                so large or small that the kernel is not finite or breaks 0 ≤ k(x, x), |k(x, x')| ≤
                √(k(x, x) k(x', x')), or that not even float64 tells the angles of patches where it depends on them.
        """
        name = type(self).__name__
        check_inputs(name, x1, x2)
        self._check_width(f"{name}(x1)", x1)
        return self.limit(x1, x2)

    def diagonal(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """k(x, x) of each row; differentiable.

        Raises:
            ValueError: As in a call.
        """
        name = type(self).__name__
        check_inputs(name, x, None)
        self._check_width(f"{name}(x)", x)
        return self.limit.diagonal(x)

    @property
    def limit(self) -> LimitKernel:
        """The reading that it is."""
        net = zoo.cnn(self.image_shape, 1, self.depth, self.φ, kernel_size=self.kernel_size, average=self.pooling)
        return kernel(net, self.kind, self.sigma_w, self.sigma_b, name=type(self).__name__)

    def _check_width(self, argument: str, x: Tensor) -> None:
        channels, height, width = self.image_shape
        if x.shape[1] != channels * height * width:
            fail(argument, f"of width {channels * height * width}, that of {self.image_shape}", x.shape[1])


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

    kind = "nngp"


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

    kind = "ntk"
