"""Bayesian optimization with kernels of infinitely wide networks, in BoTorch: log expected improvement, beside others.

``python examples/bayesian_optimization.py`` takes a few minutes; it needs ``pip install 'mupi[gpytorch]' botorch``.
Each seed begins with the same points for all, and every model is fitted anew before each evaluation.

``--function hartmann6`` is the usual test function, whose largest value is 3.322; ``--function digits`` is the accuracy
(%) on held-out images of a support vector machine on scikit-learn's digits, by five numbers of it and of what is done
to the images before it. ``--models random matern nngp ntk`` takes all four.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from botorch.acquisition import LogExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.optim import optimize_acqf
from botorch.test_functions import Hartmann
from gpytorch.kernels import Kernel, ScaleKernel
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from torch import Tensor

import mupi

Function = Callable[[Tensor], float]
"""From a point of [−1, 1]^d to what is to be made large."""


def hartmann6() -> tuple[Function, int]:
    """Six variables, six local maxima."""
    function = Hartmann(negate=True)
    return lambda x: float(function((x[None] + 1) / 2)), 6


def digits() -> tuple[Function, int]:
    """Five variables: C, γ, how many principal components, how much the images are blurred, a power of their pixels."""
    images, labels = load_digits(return_X_y=True)
    pixels = images.reshape(-1, 8, 8) / 16

    def accuracy(x: Tensor) -> float:
        c, γ, components, blur, power = ((x + 1) / 2).tolist()
        seen = gaussian_filter(pixels, (0, 2 * blur, 2 * blur)).clip(0) ** (0.3 + 2 * power)
        machine = SVC(C=10 ** (4 * c - 2), gamma=10 ** (5 * γ - 4))
        model = make_pipeline(PCA(round(2 + 38 * components), random_state=0), machine)
        model.fit(seen[:600].reshape(600, -1), labels[:600])
        return 100 * model.score(seen[600:].reshape(-1, 64), labels[600:])

    return accuracy, 5


def of_network(kernel: mupi.NNGP | mupi.NTK, d: int) -> Kernel:
    """With σ's, a length scale of each variable, and a factor, all of which are fitted."""
    return ScaleKernel(
        mupi.GPyTorchKernel(
            kernel,
            ard_num_dims=d,
            lengthscale_prior=LogNormalPrior(0.0, 1.0),
            sigma_w_prior=LogNormalPrior(0.3, 0.5),
            sigma_b_prior=LogNormalPrior(0.0, 0.5),
        )
    )


MODELS: dict[str, Callable[[int], Kernel]] = {
    "matern": lambda d: get_covar_module_with_dim_scaled_prior(ard_num_dims=d, use_rbf_kernel=False),
    "nngp": lambda d: of_network(mupi.NNGP(2, mupi.Erf(), sigma_w=1.4, sigma_b=1.0), d),
    "ntk": lambda d: of_network(mupi.NTK(2, mupi.Erf(), sigma_w=1.4, sigma_b=1.0), d),
}


def next_point(kernel: Kernel, x: Tensor, y: Tensor) -> Tensor:
    """Where the logarithm of expected improvement is largest (Ament et al. 2023), of a kernel that is fitted first."""
    d = x.shape[1]
    model = SingleTaskGP(x, y[:, None], covar_module=kernel)
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    improvement = LogExpectedImprovement(model, best_f=y.max())
    bounds = torch.tensor([[-1.0] * d, [1.0] * d]).to(x)
    options = {"maxiter": 15, "batch_limit": 3}
    point, _ = optimize_acqf(improvement, bounds, q=1, num_restarts=3, raw_samples=128, options=options)
    return point[0]


def search(name: str, function: Function, d: int, first: int, steps: int, seed: int) -> Tensor:
    """The largest value so far, after each evaluation behind the first ones."""
    torch.manual_seed(seed)
    sobol = torch.quasirandom.SobolEngine(d, scramble=True, seed=seed)
    x = 2 * sobol.draw(first).double() - 1
    y = torch.tensor([function(point) for point in x], dtype=torch.float64)
    kernel = None if name == "random" else MODELS[name](d)  # each fit starts from the last
    for _ in range(steps):
        point = 2 * torch.rand(d).double() - 1 if kernel is None else next_point(kernel, x, y)
        x = torch.cat([x, point[None]])
        y = torch.cat([y, torch.tensor([function(point)]).double()])
    return y.cummax(0).values[first - 1 :]


def main():
    """Search by each model from every seed, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--function", default="hartmann6", choices=["hartmann6", "digits"])
    parser.add_argument("--first", type=int, default=10, help="points of a Sobol sequence to begin with")
    parser.add_argument("--steps", type=int, default=12, help="evaluations after those")
    parser.add_argument("--models", nargs="+", default=["random", "matern", "ntk"], choices=["random", *MODELS])
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    function, d = {"hartmann6": hartmann6, "digits": digits}[args.function]()
    shown = sorted({0, args.steps // 2, args.steps})
    title = f"{args.function}: largest value, mean of {args.seeds} seeds ± standard error"
    table = Table("model", *(f"after {args.first + step}" for step in shown), title=title)
    for name in args.models:
        found = torch.stack([search(name, function, d, args.first, args.steps, seed) for seed in range(args.seeds)])
        error = found.std(0) / np.sqrt(args.seeds) if args.seeds > 1 else torch.zeros_like(found[0])
        table.add_row(name, *(f"{found.mean(0)[step]:.2f} ± {error[step]:.2f}" for step in shown))
    Console().print(table)


if __name__ == "__main__":
    main()
