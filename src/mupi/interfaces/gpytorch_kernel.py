"""`GPyTorchKernel`: an NNGP or NTK in GPyTorch's models and BoTorch's loops, with σ's that they learn."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from mupi.activations.determinant import differentiated
from mupi.architecture.kernel.batches import in_batches
from mupi.architecture.kernel.limit_kernel import LimitKernel
from mupi.architecture.kernel.sigmas import Shared, at_sigmas
from mupi.arrays import takes_numpy
from mupi.checks import fail, finite
from mupi.extras import require
from mupi.interfaces.network_kernel import NetworkKernel, reading, sigmas_of

require("gpytorch", "mupi.GPyTorchKernel")

# ruff: noqa: E402
from gpytorch.constraints import Interval, Positive
from gpytorch.kernels import Kernel
from gpytorch.priors import Prior

OWNER = "GPyTorchKernel"


@takes_numpy
class GPyTorchKernel(Kernel):
    """k(x, x') of a network at infinite width, as a `gpytorch.kernels.Kernel` with learnable σ_w and σ_b.

    It starts at the kernel that it is given. What is learned are ``raw_sigma_w`` and ``raw_sigma_b``, each through a
    constraint, `gpytorch.constraints.Positive` by default; with ``sigmas="role"`` ``raw_sigma_w_input``,
    ``raw_sigma_w_hidden``, and so on. ``kernel.sigma_w`` reads one and sets one. A σ that is 0 stays 0 and has no
    parameter: start at a σ_b > 0 where biases are to be learned. In an NTK the rate of a bias stays what it is, unless
    it is σ_b² as by default: then it follows. As all of GPyTorch's, the parameters are made in torch's default dtype
    (``model.double()`` makes them float64, with the digits that they had).

    A factor before the kernel is `gpytorch.kernels.ScaleKernel`'s. With a ReLU and without biases σ_w is only such a
    factor, and nothing tells one from the other.

    >>> import warnings; warnings.simplefilter("ignore")  # importing GPyTorch warns of its own torch.jit.script
    >>> kernel = mupi.GPyTorchKernel(mupi.NTK(2, mupi.ReLU(), sigma_w=1.4, sigma_b=0.1))
    >>> sorted(name for name, _ in kernel.named_parameters())
    ['raw_sigma_b', 'raw_sigma_w']
    >>> kernel(torch.randn(3, 4), torch.randn(5, 4)).to_dense().shape
    torch.Size([3, 5])

    Args:
        kernel: `mupi.NNGP`, `NTK`, `ConvNNGP`, `ConvNTK`, or what ``arch.nngp()`` and ``arch.ntk()`` return; images
            are rows of flattened ones.
        sigmas: "network" for one σ_w and one σ_b, "role" for those of input, hidden and readout weights, "weight" for
            those of each weight by its name.
        batch_shape: Batch axes of the σ's, for as many kernels at once.
        ard_num_dims: The inputs' width d, for a length scale ℓ_i of each coordinate: k(x/ℓ, x'/ℓ), at first 1.
        active_dims: Coordinates of the inputs that the kernel reads; None for all.
        sigma_w_prior: A prior of each σ_w.
        sigma_w_constraint: GPyTorch's constraint of it; None for positive.
        sigma_b_prior: A prior of each σ_b.
        sigma_b_constraint: GPyTorch's constraint of it; None for positive.
        lengthscale_prior: A prior of ℓ.
        lengthscale_constraint: GPyTorch's constraint of it; None for positive.

    Raises:
        ValueError: For another kind of kernel, one with ``output="each"``, or weights that are to share a σ and start
            at different ones.
    """

    def __init__(
        self,
        kernel: NetworkKernel,
        *,
        sigmas: str = "network",
        batch_shape: torch.Size | None = None,
        ard_num_dims: int | None = None,
        active_dims: Sequence[int] | Tensor | None = None,
        sigma_w_prior: Prior | None = None,
        sigma_w_constraint: Interval | None = None,
        sigma_b_prior: Prior | None = None,
        sigma_b_constraint: Interval | None = None,
        lengthscale_prior: Prior | None = None,
        lengthscale_constraint: Interval | None = None,
    ):
        found = sigmas_of(OWNER, kernel, sigmas)
        if ard_num_dims is not None and reading(OWNER, kernel).net.input.integers:
            fail(f"{OWNER}(ard_num_dims=...)", "None for a network of integers", ard_num_dims)
        self.has_lengthscale = ard_num_dims is not None
        super().__init__(
            ard_num_dims=ard_num_dims,
            batch_shape=torch.Size(batch_shape or ()),
            active_dims=cast(Any, active_dims),
            lengthscale_prior=lengthscale_prior,
            lengthscale_constraint=lengthscale_constraint,
        )
        self.kernel = kernel
        if self.has_lengthscale:
            self.initialize(lengthscale=1.0)
        self._learned: dict[str, Shared] = {re.sub(r"\W", "_", str(shared)): shared for shared in found}
        if len(self._learned) < len(found):
            fail(f"{OWNER}(sigmas=...)", "such that names stay apart without dots", [str(shared) for shared in found])
        priors = {"sigma_w": sigma_w_prior, "sigma_b": sigma_b_prior}
        constraints = {"sigma_w": sigma_w_constraint, "sigma_b": sigma_b_constraint}
        for name, shared in self._learned.items():
            self.register_parameter(f"raw_{name}", nn.Parameter(torch.zeros(self.batch_shape)))
            self.register_constraint(f"raw_{name}", constraints[shared.kind] or Positive())
            setattr(self, name, shared.start)
            prior = priors[shared.kind]
            if prior is not None:
                self.register_prior(f"{name}_prior", prior, partial(_get, name=name), partial(_set, name=name))

    def __call__(
        self, x1: Tensor, x2: Tensor | None = None, diag: bool = False, last_dim_is_batch: bool = False, **params: Any
    ) -> Any:
        """As of every GPyTorch kernel, lazily; inputs are checked at once.

        Raises:
            ValueError: For inputs that are no finite floating tensors, and where a call of the network's kernel does.
        """
        _refuse_batches_of_coordinates(last_dim_is_batch)
        integers = reading(OWNER, self.kernel).net.input.integers
        for name, x in (("x1", x1), ("x2", x1 if x2 is None else x2)):
            if not isinstance(x, Tensor):
                fail(f"{OWNER}({name})", "a tensor or an array", type(x).__name__)
            if x.ndim < 1:
                fail(f"{OWNER}({name})", "of shape (..., n, d)", "a number")
            if not integers and not x.is_floating_point():
                fail(f"{OWNER}({name})", "of a floating dtype", x.dtype, "use x.float()")
            finite(f"{OWNER}({name})", x)
        return super().__call__(x1, x2, diag=diag, last_dim_is_batch=last_dim_is_batch, **params)

    def forward(
        self, x1: Tensor, x2: Tensor, diag: bool = False, last_dim_is_batch: bool = False, **params: Any
    ) -> Tensor:
        """The matrix (..., n, m), or its diagonal (..., n); differentiable in inputs, σ's and length scales.

        Raises:
            ValueError: As a call of the network's kernel.
        """
        _refuse_batches_of_coordinates(last_dim_is_batch)
        if x1 is not x2 and x1.shape == x2.shape and not differentiated(x1, x2) and torch.equal(x1, x2):
            x2 = x1
        if self.has_lengthscale:
            scaled = x1 / self.lengthscale
            x1, x2 = scaled, scaled if x1 is x2 else x2 / self.lengthscale
        batch = torch.broadcast_shapes(x1.shape[:-2], x2.shape[:-2], self.batch_shape)
        first = _flat(x1, batch)
        second = first if x1 is x2 else _flat(x2, batch)
        (b, n, d), m = first.shape, second.shape[1]
        which = torch.arange(self.batch_shape.numel(), device=x1.device).reshape(self.batch_shape)
        which = which.expand(batch).flatten()

        def matrices(kernel: LimitKernel, where: Tensor | slice) -> Tensor:
            rows = first[where]
            return in_batches(kernel, rows, rows if first is second else second[where])

        def diagonals(kernel: LimitKernel, where: Tensor | slice) -> Tensor:
            rows = first[where]
            return kernel.diagonal(rows.flatten(0, 1)).reshape(rows.shape[:2])

        if diag and first is second:
            return self._of_each(which, d, diagonals).reshape(*batch, n)
        if not diag:
            return self._of_each(which, d, matrices).reshape(*batch, n, m)
        # Of pairs that may differ: matrices of one entry each.
        first, second, which = first.reshape(b * n, 1, d), second.reshape(b * n, 1, d), which.repeat_interleave(n)
        return self._of_each(which, d, matrices).reshape(*batch, n)

    def _of_each(self, which: Tensor, d: int, compute: Callable[[LimitKernel, Tensor | slice], Tensor]) -> Tensor:
        """What is computed for every set of inputs, by the kernel whose number is given for it."""
        limit = reading(OWNER, self.kernel, d)
        flat = {shared: _get(self, name).reshape(-1) for name, shared in self._learned.items()}
        kernels = (
            at_sigmas(limit, {shared: σ[i] for shared, σ in flat.items()}) for i in range(self.batch_shape.numel())
        )
        if self.batch_shape.numel() == 1:
            return compute(next(kernels), slice(None))
        places = [(which == i).nonzero()[:, 0] for i in range(self.batch_shape.numel())]
        parts = [compute(kernel, where) for kernel, where in zip(kernels, places, strict=True)]
        return torch.cat(parts)[torch.cat(places).argsort()]

    @property
    def is_stationary(self) -> bool:
        """Whether it depends on x − x' only: no."""
        return False

    def __getattr__(self, name: str) -> Any:
        """A σ, or what GPyTorch has by that name."""
        if name.startswith("sigma_") and name in self.__dict__.get("_learned", ()):
            raw = f"raw_{name}"
            return getattr(self, f"{raw}_constraint").transform(getattr(self, raw))
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a σ, or anything else."""
        if not name.startswith("sigma_") or name.endswith("_prior"):
            super().__setattr__(name, value)
            return
        if name not in self._learned:
            raise AttributeError(f"`{OWNER}` learns {', '.join(self._learned) or 'nothing'}, and no {name}")
        raw = getattr(self, f"raw_{name}")
        value = torch.as_tensor(value, dtype=raw.dtype, device=raw.device)
        constraint = getattr(self, f"raw_{name}_constraint")
        if not torch.isfinite(value).all() or not (value > 0).all() or not constraint.check(value):
            fail(f"{OWNER}.{name}", f"positive, finite and within {constraint}", value.tolist())
        self.initialize(**{f"raw_{name}": constraint.inverse_transform(value)})


def _get(kernel: GPyTorchKernel, name: str) -> Tensor:
    return getattr(kernel, name)


def _set(kernel: GPyTorchKernel, value: Any, name: str) -> None:
    setattr(kernel, name, value)


def _refuse_batches_of_coordinates(last_dim_is_batch: bool) -> None:
    if last_dim_is_batch:
        hint = "add kernels of one coordinate each, by active_dims"
        fail(f"{OWNER}(last_dim_is_batch=...)", "False, for a network reads all coordinates", True, hint)


def _flat(x: Tensor, batch: tuple[int, ...]) -> Tensor:
    """(batch, n, d) with one axis of all that is before the rows."""
    return x.expand(*batch, *x.shape[-2:]).reshape(-1, *x.shape[-2:])
