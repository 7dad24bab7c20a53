"""`SklearnKernel`: an NNGP or NTK in scikit-learn's Gaussian processes, which choose its σ's."""

from math import inf, log
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mupi.architecture.kernel.limit_kernel import LimitKernel
from mupi.architecture.kernel.matrices import CHECKPOINT_ENTRIES
from mupi.architecture.kernel.sigmas import Shared, at_sigmas
from mupi.arrays import as_tensor
from mupi.checks import fail, finite
from mupi.extras import require
from mupi.interfaces.network_kernel import NetworkKernel, reading, sigmas_of
from mupi.kernels.tiles import row_blocks

require("sklearn", "mupi.SklearnKernel")

# ruff: noqa: E402
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

OWNER = "SklearnKernel"
KINDS = ("sigma_w", "sigma_b")


class SklearnKernel(Kernel):
    """k(x, x') of a network at infinite width, as a kernel of `sklearn.gaussian_process`.

    Its hyperparameters are σ_w and σ_b, in logarithms as all of scikit-learn's; `GaussianProcessRegressor` and
    `GaussianProcessClassifier` choose them by marginal likelihood, with exact gradients. Sums and products with
    scikit-learn's kernels are as usual: ``ConstantKernel() * kernel + WhiteKernel()``. All is computed in float64.
    A σ that is 0 is no hyperparameter, and stays 0: start at a σ_b > 0 where biases are to be learned.

    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> kernel = mupi.SklearnKernel(mupi.NTK(2, mupi.ReLU(), sigma_w=1.4, sigma_b=0.1))
    >>> X, y = torch.randn(20, 3).numpy(), torch.randn(20).numpy()
    >>> process = GaussianProcessRegressor(kernel, alpha=0.1).fit(X, y)
    >>> sorted(process.kernel_.get_params())
    ['kernel', 'sigma_b', 'sigma_b_bounds', 'sigma_w', 'sigma_w_bounds', 'sigmas']

    Args:
        kernel: `mupi.NNGP`, `NTK`, `ConvNNGP`, `ConvNTK`, or what ``arch.nngp()`` and ``arch.ntk()`` return; images
            are rows of flattened ones.
        sigmas: "network" for one σ_w and one σ_b, "role" for those of input, hidden and readout weights, "weight" for
            those of each weight, in the order of `names`.
        sigma_w: Where σ_w starts, one number or as many as there are; None for that of ``kernel``.
        sigma_b: Where σ_b starts, likewise.
        sigma_w_bounds: Least and largest σ_w, or "fixed".
        sigma_b_bounds: Least and largest σ_b, or "fixed".

    Raises:
        ValueError: For another kind of kernel, one with ``output="each"``, or weights that are to share a σ and start
            at different ones.
    """

    def __init__(
        self,
        kernel: NetworkKernel,
        sigmas: str = "network",
        sigma_w: Any = None,
        sigma_b: Any = None,
        sigma_w_bounds: Any = (1e-2, 1e2),
        sigma_b_bounds: Any = (1e-3, 1e2),
    ):
        found = sigmas_of(OWNER, kernel, sigmas)
        starts = {kind: [shared.start for shared in found if shared.kind == kind] for kind in KINDS}
        self.kernel, self.sigmas = kernel, sigmas
        self.sigma_w = _together(starts["sigma_w"]) if sigma_w is None else sigma_w
        self.sigma_b = _together(starts["sigma_b"]) if sigma_b is None else sigma_b
        self.sigma_w_bounds, self.sigma_b_bounds = sigma_w_bounds, sigma_b_bounds

    @property
    def names(self) -> list[str]:
        """Of the σ's, in the order of the entries of ``sigma_w`` and then of ``sigma_b``."""
        return [str(shared) for shared in self._shared()]

    @property
    def hyperparameter_sigma_w(self) -> Hyperparameter:
        """σ_w, as scikit-learn finds it."""
        return self._hyperparameter("sigma_w")

    @property
    def hyperparameter_sigma_b(self) -> Hyperparameter:
        """σ_b, as scikit-learn finds it."""
        return self._hyperparameter("sigma_b")

    def __call__(self, X: ArrayLike, Y: ArrayLike | None = None, eval_gradient: bool = False) -> Any:
        """k of all rows of X with those of Y, by default X; and ∂k/∂ log σ (n, n, how many), where it is asked for.

        Raises:
            ValueError: For inputs that are no finite numbers, or bools; a gradient where there is a Y; σ's that are
                not positive; and where a call of the network's kernel does.
        """
        x1 = self._inputs("X", X)
        if Y is not None and eval_gradient:
            fail(f"{OWNER}(eval_gradient=...)", "False where there is a Y", True)
        if not eval_gradient:
            kernel = self._at(self._values(), x1)
            return kernel(x1, x1 if Y is None else self._inputs("Y", Y)).numpy()
        kernel = self._at(self._values(), x1)
        return kernel(x1).numpy(), self._gradient(x1).numpy()

    def diag(self, X: ArrayLike) -> Any:  # the base class says that it returns none
        """k(x, x) of each row, by itself.

        Raises:
            ValueError: As a call.
        """
        x = self._inputs("X", X)
        return self._at(self._values(), x).diagonal(x).numpy()

    def is_stationary(self) -> Any:  # likewise
        """Whether it depends on x − x' only: no."""
        return False

    def __repr__(self) -> str:
        name = reading(OWNER, self.kernel).name
        numbers = (f"{shared}={value:.3g}" for shared, value in self._values().items())
        return f"{name}({', '.join(numbers)})"

    def _shared(self) -> tuple[Shared, ...]:
        """The σ's, of which those of a kind that is 0 are none."""
        found = sigmas_of(OWNER, self.kernel, self.sigmas)
        return tuple(shared for kind in KINDS for shared in found if shared.kind == kind)

    def _hyperparameter(self, kind: str) -> Hyperparameter:
        count = sum(shared.kind == kind for shared in self._shared())
        bounds = getattr(self, f"{kind}_bounds") if count else "fixed"
        return Hyperparameter(kind, "numeric", bounds, max(1, count))

    def _values(self) -> dict[Shared, float]:
        """The number of each σ."""
        out = {}
        for kind in KINDS:
            names = [shared for shared in self._shared() if shared.kind == kind]
            given = np.atleast_1d(getattr(self, kind))
            argument = f"{OWNER}({kind}=...)"
            if not names:
                if np.any(given != 0):
                    fail(argument, "0, as in the kernel that is given", given.tolist(), f"give one with a {kind} > 0")
                continue
            if given.shape != (len(names),):
                fail(argument, f"{len(names)} numbers, of {', '.join(map(str, names))}", given.tolist())
            if given.dtype.kind not in "iuf" or not np.all((given > 0) & (given < inf)):
                fail(argument, "positive and finite, for its logarithm", given.tolist())
            out |= dict(zip(names, given.tolist(), strict=True))
        return out

    def _learned(self) -> list[Shared]:
        """Of which there are gradients, in the order of ``theta``."""
        fixed = {hyperparameter.name for hyperparameter in self.hyperparameters if hyperparameter.fixed}
        order = [hyperparameter.name for hyperparameter in self.hyperparameters]
        shared = [shared for shared in self._shared() if shared.kind not in fixed]
        return sorted(shared, key=lambda s: order.index(s.kind))

    def _at(self, values: dict[Shared, Any], x: Tensor) -> LimitKernel:
        return at_sigmas(reading(OWNER, self.kernel, x.shape[-1]), values)

    def _gradient(self, x: Tensor) -> Tensor:
        """∂k/∂ log σ, block of rows by block.

        The backward pass of k takes a cotangent v to ⟨v, ∂k/∂σ⟩, whose own derivative by v is ∂k/∂σ. (PyTorch's forward
        mode comes to the same, and takes four times as long for small matrices.)
        """
        learned, values = self._learned(), self._values()
        out = x.new_zeros(len(x), len(x), len(learned))
        if not learned:
            return out
        for rows in row_blocks(len(x), len(x), entries=CHECKPOINT_ENTRIES):
            logs = [torch.tensor(log(values[shared]), dtype=x.dtype, requires_grad=True) for shared in learned]
            moved = {shared: number.exp() for shared, number in zip(learned, logs, strict=True)}
            K = self._at({**values, **moved}, x)(x[rows], x)
            cotangent = torch.ones_like(K, requires_grad=True)
            inner = torch.autograd.grad(K, logs, cotangent, create_graph=True, allow_unused=True)
            for number, product in enumerate(inner):
                if product is not None:  # k depends on it: on the σ of a query, whose logits vanish, it does not
                    (out[rows, :, number],) = torch.autograd.grad(product, cotangent, retain_graph=True)
        return out

    def _inputs(self, name: str, X: ArrayLike) -> Tensor:
        """As a matrix in float64."""
        argument = f"{OWNER}({name})"
        x = as_tensor(argument, X)
        if x.dtype == torch.bool or x.is_complex():
            fail(argument, "numbers", x.dtype, "use X.astype(float)")
        if x.ndim != 2:
            fail(argument, "of shape (n, d)", f"shape {tuple(x.shape)}")
        x = x.detach().cpu().double()
        finite(argument, x)
        return x


def _together(numbers: list[float]) -> Any:
    """A number, or several; 0 for none."""
    if len(numbers) > 1:
        return np.array(numbers)
    return numbers[0] if numbers else 0.0
