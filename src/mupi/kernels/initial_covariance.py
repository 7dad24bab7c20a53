"""How networks that start at random differ after training in the kernel regime."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.kernels.decomposed import Decomposed
from mupi.kernels.filter_rounding import hint, variance_error
from mupi.kernels.given import Kernel, kernel_matrix, working_dtype
from mupi.kernels.posterior import prior_variance
from mupi.kernels.variance_rounding import check_variances, pair_rounding, unknown_rounding


@dataclass(frozen=True, eq=False)
class Filtered:
    """What training has made of each eigenvector at a time.

    Attributes:
        time: t, or the number of steps.
        g: g_t(λ).
        hidden: What rounding may hide of k(x, X) U g (`mupi.kernels.filter_rounding.hidden_part`); None where training
            grows without end, of which nothing is checked, or where no deviations are asked for.
    """

    time: int | float
    g: Float[Tensor, " n"]
    hidden: Float[Tensor, "m n"] | None


class InitialCovariance:
    """N, the covariance of f_0; of f_t it is N − A N(X, ·) − (A N(X, ·))ᵀ + A N(X, X) Aᵀ with A = k(·, X) U g_t(λ) Uᵀ.

    All in the eigenvectors U of k(X, X), and in float64 (Lee et al. 2019, eq. 15).

    Args:
        owner: What errors name.
        kernel: N, of two matrices of inputs.
        K: The kernel of training, k(X, X), decomposed.
        among: N(X, X), where it is known; otherwise it is made when it is asked for.
    """

    def __init__(self, owner: str, kernel: Kernel, K: Decomposed, among: Float[Tensor, "n n"] | None = None):
        self.owner, self.kernel, self.K = owner, kernel, K
        self._among = None if among is None else self._in_vectors(among)

    @property
    def among(self) -> Float[Tensor, "n n"]:
        """Uᵀ N(X, X) U."""
        if self._among is None:
            with torch.no_grad():
                self._among = self._in_vectors(self.of(self.K.inputs, self.K.inputs))
        return self._among

    def of(self, x1: Float[Tensor, "m d"], x2: Float[Tensor, "n d"]) -> Float[Tensor, "m n"]:
        """N of inputs, in a dtype that it takes."""
        dtype = working_dtype(self.kernel, x1)
        return kernel_matrix(self.owner, self.kernel, x1.to(dtype), x2.to(dtype))

    def after(
        self,
        argument: str,
        X: Float[Tensor, "m d"],
        cross: Float[Tensor, "m n"],
        initial: Float[Tensor, "m n"],
        training: Sequence[Filtered],
        covariance: bool,
    ) -> list[Tensor]:
        """Covariances over initial values, or deviations, after each training.

        Args:
            argument: What errors name.
            X: Inputs x, one row each.
            cross: k(x, X).
            initial: N(x, X).
            training: g at each time.
            covariance: Whether to give covariances.

        Raises:
            ValueError: If rounding may move a variance by more than a fifth.
        """
        K, vectors, among = self.K, self.K.vectors.double(), self.among
        worst = min(cross.dtype, initial.dtype, key=lambda dtype: dtype.itemsize)
        between = initial.double() @ vectors
        size = float(among.diagonal().mean())
        new = X.to(working_dtype(self.kernel, X))
        own = self.of(X, X) if covariance else prior_variance(self.owner, self.kernel, new)
        own = own.double()
        prior = (own.diagonal() if covariance else own).detach()
        least = unknown_rounding(len(K.inputs), initial.dtype)
        nearest = torch.ones_like(cross).T  # the sample that k says is nearest
        own_k = torch.full_like(cross[:, 0], K.size)
        error = K.size * pair_rounding(K.kernel, X, K.inputs, cross.detach().T, nearest, own_k, K.size)

        def variance(start: Tensor, part: Tensor, moved: Tensor) -> Tensor:
            return start - 2 * (part * between).sum(1) + (moved * part).sum(1)

        in_vectors = (cross @ K.vectors).double()
        spread = []
        for at in training:
            part = in_vectors * at.g.double()
            moved = part @ among
            if at.hidden is not None:
                with torch.no_grad():
                    slope = moved - between
                    off = variance_error(
                        error.double(), least, prior, size, part, slope, at.g.double(), at.hidden, among.diagonal()
                    )
                    found = variance(prior, part, moved).to(worst)
                    check_variances(f"{argument}(X)", found, prior, 0.0, 0.0, off, hint(worst, at.time))
            if covariance:
                mixed = part @ between.T
                spread.append(own - mixed - mixed.T + moved @ part.T)
            else:
                spread.append(variance(own, part, moved).clamp_min(0).sqrt())
        return spread

    def _in_vectors(self, among: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
        vectors = self.K.vectors.double()
        return vectors.T @ among.double() @ vectors
