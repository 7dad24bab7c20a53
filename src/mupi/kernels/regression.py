"""`KernelRegression`: kernel ridge regression, the mean of a Gaussian process, by a factor or by iterations."""

from numbers import Real
from typing import overload

import torch
from jaxtyping import Float, Int
from rich.progress import Progress
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.distributed.processes import ALONE
from mupi.kernels.cholesky import Cholesky, FactorSolution
from mupi.kernels.conjugate_gradients import ConjugateGradients
from mupi.kernels.given import Kernel, check_new_inputs, check_training_inputs, kernel_matrix
from mupi.kernels.inner_products import check_matrix
from mupi.kernels.iterated import IteratedSolution
from mupi.kernels.labels import count_classes, in_shape_of, regression_targets
from mupi.kernels.memory import available_memory, require_memory
from mupi.kernels.posterior import gaussian_samples, prior_variance
from mupi.kernels.ridge_system import OWNER, check_rounding, check_weights, track
from mupi.kernels.shared_problem import check_shared
from mupi.kernels.tiles import row_blocks

PREDICTION_ROWS = 1024
"""Rows of k(x, X) held at a time: 0.2 GB in float32 at n = 50,000."""


@takes_numpy
class KernelRegression:
    """f(x) = k(x, X) α with (k(X, X) + λI) α = Y and λ = ``ridge``·mean_i k(x_i, x_i).

    Solved by a Cholesky decomposition in place of the lower triangle of k(X, X), in the dtype of X, and refined: the
    residual is taken in float64, solved for with the same factor, and added. n = 50,000 takes 6 GB in float32 and
    12 GB in float64. Beyond that, or where inputs have few dimensions, `mupi.kernels.ConjugateGradients` solve the same
    system to a tolerance in memory that grows as n: see docs/large-kernels.md.

    How far predictions are off the exact ones, relative to their size, is about ``residual + rounding``. A residual
    above 1 %, or of conjugate gradients above their tolerance, is refused, and so is a rounding above 5 %.

    It is the mean of the Gaussian process f ~ GP(0, k) given y_i = f(x_i) + N(0, λ/w_i), with w_i the weight of a
    sample (Rasmussen & Williams 2006): `predict` gives its standard deviation or covariance too, `sample` draws from
    it, and `leave_one_out` and `log_marginal_likelihood` choose among kernels without a validation set. Outputs are
    independent processes of one covariance. All this needs the Cholesky factor, which is kept up to 1 GB, above that
    computed again at the first question, and then kept. Conjugate gradients solve for the variances that are asked for,
    and have no `leave_one_out` and no likelihood.

    >>> X, Y = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    >>> regression = KernelRegression(lambda a, b: a @ b.T, ridge=0.1).fit(X, Y)
    >>> mean, std = regression.predict(X[:5], return_std=True)

    Attributes:
        coefficients: α in float64, after `fit`; of shape (n,) for targets of shape (n,).
        regularizer: λ, after `fit`.
        noise: λ/w_i of each sample in float64, after `fit`.
        residual: ‖(k(X, X) + λI) α − Y‖/‖Y‖ with Frobenius norms and the kernel in the dtype of X, after `fit`.
        rounding: About ‖(k(X, X) − k̂(X, X)) α‖/‖Y‖, if k̂ is k with each entry rounded once to the dtype of X:
            (Σ_ijo k_ij² α_jo²)^{1/2} ε/2‖Y‖ for the dtype's ε, after `fit`.
        iterations: Of conjugate gradients, or solves with the factor, after `fit`.

    Args:
        kernel: k, any callable on two matrices of inputs; symmetric and positive semi-definite.
        ridge: λ in units of the mean diagonal, positive.
        solver: `mupi.kernels.Cholesky`, the default, or `mupi.kernels.ConjugateGradients`.

    Raises:
        ValueError: For a ridge that is not positive and finite, or another solver.
    """

    coefficients: Float[Tensor, "n ..."]
    noise: Float[Tensor, " n"]
    regularizer: float
    residual: float
    rounding: float
    iterations: int

    def __init__(self, kernel: Kernel, ridge: float, solver: Cholesky | ConjugateGradients | None = None):
        if not isinstance(ridge, Real) or not 0 < ridge < float("inf"):
            fail(
                "KernelRegression(ridge=...)",
                "a finite number > 0",
                ridge,
                "1e-4 is a usual choice; it is relative to the kernel's mean diagonal",
            )
        solver = Cholesky() if solver is None else solver
        if not isinstance(solver, Cholesky | ConjugateGradients):
            fail("KernelRegression(solver=...)", "Cholesky() or ConjugateGradients(...)", repr(solver))
        self.kernel = kernel
        self.ridge = ridge
        self.solver = solver
        self._solved: FactorSolution | IteratedSolution | None = None

    @torch.no_grad()
    def fit(
        self,
        X: Float[Tensor, "n d"],
        Y: Float[Tensor, "n ..."] | Int[Tensor, " n"],
        progress: Progress | None = None,
        *,
        classes: int | None = None,
        sample_weight: Float[Tensor, " n"] | None = None,
    ) -> "KernelRegression":
        """Solve for α and measure the residual.

        Args:
            X: Inputs, of which a copy is kept for `predict`.
            Y: Floats are targets of one or several outputs. Integers of shape (n,) are class labels 0 … k−1, which
                stand for their `centered_one_hot`; each must occur, or ``classes`` say how many there are.
            progress: A progress display to show the stages in.
            classes: k, where some classes may have no label.
            sample_weight: w_i > 0, a sample's weight in the squared error: its noise has variance λ/w_i. None for ones.

        Raises:
            ValueError: If shapes do not fit, numbers are not finite, weights not positive, the kernel is not symmetric,
                the targets are neither floats nor such labels (bools are neither), or memory does not suffice.
            NotPositiveDefiniteError: If k(X, X) + λI is not positive definite up to rounding, or so nearly singular
                that the residual stays above 1 %, or the rounding of the kernel's entries moves predictions by 5 %.
            NotConvergedError: If conjugate gradients do not reach their tolerance.
        """
        processes = self.solver.processes()
        processes.agreed(lambda: check_training_inputs("KernelRegression.fit(X)", X))
        beside = processes.in_same_memory(X.device)

        def checked() -> tuple[Tensor, Tensor | None]:
            targets = regression_targets("KernelRegression.fit(Y)", Y, X, classes)
            n, outputs = targets.shape
            require_memory(
                "KernelRegression.fit(X)",
                beside * self.solver.memory_needed(n, outputs, X.dtype, processes.size),
                available_memory(X.device),
                self.solver.smaller + (", or X.float()" if X.dtype == torch.float64 else ""),
            )
            # Should this fit fail, nothing is left of an earlier one.
            self._solved = None
            return targets, check_weights("KernelRegression.fit(sample_weight=...)", sample_weight, len(X))

        targets, weights = processes.agreed(checked)
        others = {"KernelRegression(ridge=...)": self.ridge, "KernelRegression.fit(Y)": targets}
        others |= {"KernelRegression.fit(sample_weight=...)": weights}
        check_shared(processes, self.kernel, X, others | self.solver.alike())
        solved = self.solver.solve(self.kernel, X.detach(), self.ridge, weights, targets, progress)
        check_rounding(solved.solution, self.ridge, X.dtype)
        # Where a factor was too large to be kept, the copy of X takes its place.
        solved.system.X, self._solved, self._targets = X.detach().clone(), solved, targets
        self.regularizer, self.noise = solved.regularizer, solved.noise
        solution, α = solved.solution, solved.solution.coefficients
        self.residual, self.rounding, self.iterations = solution.residual, solution.rounding, solution.iterations
        self.coefficients = in_shape_of(Y, α)
        return self

    @property
    def regulariser(self) -> float:
        """`regularizer`, as earlier versions spelled it."""
        return self.regularizer

    @overload
    def predict(self, X: Tensor, progress: Progress | None = None) -> Tensor: ...

    @overload
    def predict(self, X: Tensor, progress: Progress | None = None, *, return_std: bool) -> tuple[Tensor, Tensor]: ...

    @overload
    def predict(self, X: Tensor, progress: Progress | None = None, *, return_cov: bool) -> tuple[Tensor, Tensor]: ...

    def predict(
        self,
        X: Float[Tensor, "m d"],
        progress: Progress | None = None,
        *,
        return_std: bool = False,
        return_cov: bool = False,
    ) -> Float[Tensor, "m ..."] | tuple[Float[Tensor, "m ..."], Float[Tensor, "m ..."]]:
        """f(x) of each row, in blocks of rows, summed in float64; differentiable in X where the kernel is.

        Args:
            X: Inputs to predict at, one row each.
            progress: A progress display.
            return_std: Whether to give the standard deviations (m,) of f(x) too, without the noise of new targets.
            return_cov: Whether to give the covariances (m, m) of f(x) and f(x') too; not both.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If inputs are not as wide as those of `fit` and of their dtype, or not finite; if both are
                asked for; if rounding may move a variance by more than a fifth of itself, and it is not below
                1e-10 k(x, x): see `mupi.kernels.variance_rounding`. In float64 that takes a tiny ridge.
        """
        solved = self._fitted("predict")
        trained = solved.system.X
        processes = self.solver.processes() if return_std or return_cov else ALONE
        processes.agreed(lambda: check_new_inputs("KernelRegression.predict(X)", X, trained.shape[1], trained))
        if return_std and return_cov:
            fail("KernelRegression.predict(return_cov=...)", "asked for without return_std=True", "both")
        processes.check_same({"KernelRegression.predict(X)": X})
        blocks = list(row_blocks(len(X), len(trained), entries=PREDICTION_ROWS * len(trained)))
        means, variances, crosses = [], [], []
        for rows in track(progress, "predict", blocks):
            cross = kernel_matrix(OWNER, self.kernel, X[rows], trained)
            means.append(cross.double() @ self.coefficients)
            if return_std:
                prior = prior_variance(OWNER, self.kernel, X[rows])
                variances.append(solved.variance("KernelRegression.predict(X)", X[rows], prior, cross.T, progress))
            if return_cov:
                crosses.append(cross)
        mean = torch.cat(means).to(X.dtype)
        if return_std:
            return mean, torch.cat(variances).sqrt()
        if return_cov:
            prior = kernel_matrix(OWNER, self.kernel, X, X)
            cross = torch.cat(crosses).T
            return mean, solved.covariance("KernelRegression.predict(X)", X, prior, cross, progress)
        return mean

    @torch.no_grad()
    def sample(
        self, X: Float[Tensor, "m d"], samples: int = 1, generator: torch.Generator | None = None
    ) -> Float[Tensor, "samples m ..."]:
        """Functions drawn from the Gaussian process given the data, at the rows of X, without the noise of targets.

        Args:
            X: Inputs to predict at, one row each.
            samples: How many functions.
            generator: Draws the functions; None for torch's own.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: As `predict`.
        """
        samples = positive_int("KernelRegression.sample(samples=...)", samples)
        mean, covariance = self.predict(X, return_cov=True)
        prior = prior_variance(OWNER, self.kernel, X)
        flat = mean.reshape(len(X), -1)
        drawn = gaussian_samples("KernelRegression.sample(X)", flat, covariance, prior, samples, generator)
        return drawn.reshape(samples, *mean.shape)

    @torch.no_grad()
    def leave_one_out(self) -> tuple[Float[Tensor, "n ..."], Float[Tensor, " n"]]:
        """Mean and standard deviation of f at each training input, given all samples but that one; in closed form.

        λ, which is relative to the kernel's mean diagonal, is that of all samples.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If rounding decides on a variance, as in `predict`.
        """
        solved = self._fitted("leave_one_out")
        mean, std = solved.leave_one_out(self._targets, self.coefficients.reshape(len(self._targets), -1))
        return mean.reshape(self.coefficients.shape), std

    @torch.no_grad()
    def log_marginal_likelihood(self) -> float:
        """log p(Y), summed over outputs: the larger, the better k and ridge explain the data. See `mupi.kernels`.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If rounding may move it by more than half a nat and a hundredth of itself.
        """
        solved = self._fitted("log_marginal_likelihood")
        return solved.log_marginal_likelihood(self._targets, self.coefficients.reshape(len(self._targets), -1))

    def _fitted(self, method: str) -> FactorSolution | IteratedSolution:
        """What `fit` solved."""
        if self._solved is None:
            raise RuntimeError(f"`KernelRegression.{method}` needs a fitted regression; call `fit(X, Y)` first")
        return self._solved

    def score(self, X: Float[Tensor, "m d"], labels: Int[Tensor, " m"], progress: Progress | None = None) -> float:
        """The fraction of rows whose largest output is that of their class.

        Raises:
            ValueError: If there is one output, or no row, or not one integer label of a fitted class to each row.
        """
        check_matrix("KernelRegression.score(X)", X)
        if labels.is_floating_point() or labels.dtype == torch.bool or labels.shape != X.shape[:1] or not len(labels):
            fail(
                "KernelRegression.score(labels)",
                f"{len(X)} integers, one for each row of X, and at least one",
                f"{labels.dtype} of shape {tuple(labels.shape)}",
            )
        with torch.no_grad():
            outputs = self.predict(X, progress)
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            fail(
                "KernelRegression.score",
                "asked of a regression on classes",
                "one output",
                "fit on class labels, or on their centered_one_hot",
            )
        count_classes("KernelRegression.score(labels)", labels, outputs.shape[1])
        return float((outputs.argmax(1) == labels).double().mean())
