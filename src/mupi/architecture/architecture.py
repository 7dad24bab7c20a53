"""`Architecture`: a description, and what can be read from it."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mupi.architecture.description import Description
from mupi.architecture.finite import FiniteNetwork
from mupi.architecture.kernel import LimitKernel, LimitKernels, Setting, kernel, kernels
from mupi.architecture.network_features import NetworkFeatures
from mupi.architecture.pi_network import PiArchitecture
from mupi.architecture.program import ForwardProgram
from mupi.architecture.table import table
from mupi.features import Features


@dataclass(frozen=True)
class Architecture(Description):
    """A network as one description, from which everything else is read."""

    def __str__(self) -> str:
        return table(self)

    def finite(self, width: int, **options: Any) -> FiniteNetwork:
        """The finite network of width n, in any abc-parametrization.

        Args:
            width: The width n.
            options: Those of `FiniteNetwork`: ``parametrization``, scales and standard deviations, ``generator``, …
        """
        return FiniteNetwork(self, width, **options)

    def nngp(self, sigma_w: Setting = None, sigma_b: Setting = None, *, output: str | int | None = None) -> LimitKernel:
        """Its covariance at the start, as its width goes to ∞: see `mupi.architecture.kernel.kernel`.

        >>> from mupi.architecture.zoo import perceptron
        >>> arch = perceptron(8, 1, depth=2)
        >>> arch.nngp(sigma_w=2**0.5)(torch.randn(3, 8), torch.randn(5, 8)).shape
        torch.Size([3, 5])
        """
        return kernel(self, "nngp", sigma_w, sigma_b, output=output)

    def ntk(
        self,
        sigma_w: Setting = None,
        sigma_b: Setting = None,
        *,
        weight_lr: Setting = None,
        bias_lr: Setting = None,
        output: str | int | None = None,
    ) -> LimitKernel:
        """Its neural tangent kernel, as its width goes to ∞: see `mupi.architecture.kernel.kernel`."""
        return kernel(self, "ntk", sigma_w, sigma_b, weight_lr, bias_lr, output=output)

    def kernels(
        self,
        *kinds: str,
        sigma_w: Setting = None,
        sigma_b: Setting = None,
        weight_lr: Setting = None,
        bias_lr: Setting = None,
        output: str | int | None = None,
    ) -> LimitKernels:
        """Both kernels in one pass, which takes hardly longer than that of one: see `mupi.architecture.kernel.kernel`.

        >>> from mupi.architecture.zoo import perceptron
        >>> both = perceptron(8, 1, depth=2).kernels("nngp", "ntk")
        >>> x = torch.randn(3, 8)
        >>> nngp, ntk = both(x)  # a named tuple: both(x).nngp, both(x).ntk
        >>> bool((nngp == both.nngp(x)).all()), bool((ntk == both.ntk(x)).all())  # the kernels one by one
        (True, True)

        Args:
            *kinds: "nngp", "ntk" or both, in the order of the results; none for both.
            sigma_w: σ_w, as of `nngp`.
            sigma_b: σ_b, as of `nngp`.
            weight_lr: ω, as of `ntk`.
            bias_lr: β, as of `ntk`.
            output: As of `nngp`.

        Raises:
            ValueError: For other kinds, or one twice; and as `nngp` and `ntk`.
        """
        return kernels(self, kinds or ("nngp", "ntk"), sigma_w, sigma_b, weight_lr, bias_lr, output=output)

    def random_features(
        self, width: int, sigma_w: float | None = None, sigma_b: float | None = None, **options: Any
    ) -> NetworkFeatures:
        """Random features of its `nngp`, in which a million samples can be regressed on: see `NetworkFeatures`.

        >>> from mupi.architecture.zoo import perceptron
        >>> features = perceptron(8, 1, depth=2).random_features(512)
        >>> regression = mupi.FeatureRegression(1e-3, features).fit(torch.randn(100, 8), torch.randn(100))
        >>> regression.predict(torch.randn(5, 8)).shape
        torch.Size([5])

        Args:
            width: Width n of the finite network, the number of features.
            sigma_w: σ_w of all weights; None for √2.
            sigma_b: σ_b of all biases; None for 0.
            options: Those of `NetworkFeatures`: ``output``, ``generator``, ``dtype``, ``device``.
        """
        return NetworkFeatures(self, width, sigma_w, sigma_b, **options)

    def program(self, x: Tensor, **options: Any) -> ForwardProgram:
        """The Tensor Program of its forward pass, to run at a width, to take to its limit, and to explain.

        Args:
            x: Inputs of the network, one row each.
            options: Those of `ForwardProgram`: ``sigma_w``, ``sigma_b``.
        """
        return ForwardProgram(self, x, **options)

    def pi(self, rank: int, features: Features | None = None, **options: Any) -> PiArchitecture:
        """The π-limit of the network (Yang, Santacroce & Hu 2022), near it, or a finite π-net: an `nn.Module`.

        A layer is described at each position by a vector g ∈ R^r: its coordinates are ⟨g, z⟩, z ~ N(0, I_r), of a z
        that values which are added share (a *junction*). A weight that reads φ of a layer, or an average of it, is a
        `mupi.PiLinear` or `mupi.PiConv2d`; one that reads data or g itself is an ordinary matrix; LayerNorm and
        RMSNorm are g/|g|, with **one number** for a gain and a vector of R^r for a shift (see `mupi.layers.Norm`);
        attention is a softmax of ⟨g_q, g_k⟩; a product φ(u)·u' of two layers has the product of two kernels; dropout
        of a layer that a weight reads is the identity, since a mean over n coordinates is. Where two junctions meet
        in a finite π-net (``features=mupi.RandomFeatures(n)``, or `PiNetwork.sample`) they have one Ω̃.

        >>> from mupi.architecture import Dense, Width, chain, describe
        >>> n, φ = Width(), mupi.ReLU()
        >>> net = describe((64,), chain(Dense(n), φ, Dense(n), φ, Dense(10))).pi(rank=16)
        >>> net(torch.zeros(5, 64)).shape
        torch.Size([5, 10])

        Args:
            rank: Rank r of the junctions.
            features: `mupi.Hermite` (constant memory), `mupi.Atoms` (exact), `mupi.RandomFeatures` (finite π-net); None
                for `mupi.Hermite` of degree 2.
            **options: ``rank_head``, r of an attention head; None for rank/heads. ``input_scale``, ``output_scale`` and
                ``bias_scale``, α of the weights that read data (1), of the readout (½) and of biases and shifts (½;
                0 leaves them out). Weights that read d numbers start with columns of norm 1, so that |g| is about
                √(r/d)·|x|; ``input_scale=rank**-0.5`` makes coordinates of order one of entries of order one.
                ``readout_std``, of the readout's initial a (0: the network starts at zero). ``generator``, ``dtype``,
                ``device``.

        Raises:
            ValueError: For an argument out of its range, or an operation that has no π-limit, with the reason.
        """
        return PiArchitecture(self, rank, features, **options)
