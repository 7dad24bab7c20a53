"""`LimitKernel`: the NNGP or the NTK of an architecture; `LimitKernels`: both, in one pass."""

from collections import namedtuple
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any

from jaxtyping import Shaped
from torch import Tensor

from mupi.architecture.description import Description
from mupi.architecture.kernel.compiled import Compiled, compiled
from mupi.architecture.kernel.matrices import Matrices
from mupi.architecture.kernel.settings import Scales
from mupi.arrays import takes_numpy


@takes_numpy
@dataclass(frozen=True)
class LimitKernel:
    """The covariance at the start (NNGP) or the tangent kernel (NTK) of a network's output as its width goes to ∞.

    In NTK parametrization: a weight maps x to σ_w W x/√fan_in + σ_b b with all entries N(0, 1); see
    `Architecture.nngp` and `Architecture.ntk`, which make it, for arguments and conventions.

    The result has the dtype of the inputs, and of integers torch's default; their ``x.double()`` is taken for float64.
    In float32 on CPUs a rectifier's expectations are polynomials, as good as that dtype: see `mupi.activations.arcs`.

    Beside the result, a call holds a few blocks; under autograd it recomputes them in the backward pass. Angles below
    4√eps count as 0. Derivatives of any order exist, by autograd and `torch.func`; those that diverge for a kinked φ at
    parallel inputs count as their mean over directions. Where a variance is so large that its rounding would show, all
    is computed in float64; for rectifiers and polynomials it never does.

    Args:
        net: The network.
        tangent: Whether it is the tangent kernel.
        scales: σ's and rates of each node that has parameters.
        each: Whether there is an output at each position, so that rows and columns are pairs (sample, position).
        name: What it is called in messages.
    """

    net: Description
    tangent: bool
    scales: tuple[tuple[int, Scales], ...]
    each: bool = False
    name: str = "LimitKernel"

    def __getstate__(self) -> dict:
        """The fields, without what is made of them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict) -> None:
        """The fields."""
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def __call__(self, x1: Shaped[Tensor, "n ..."], x2: Shaped[Tensor, "m ..."] | None = None) -> Tensor:
        """The kernel of every sample of ``x1`` with every sample of ``x2``, by default ``x1``; differentiable.

        Args:
            x1: Samples in the axes of the network's input, or flattened to rows.
            x2: Other samples, one row each.

        Raises:
            ValueError: For inputs that are not finite, of the network's axes and one dtype, or so large or small that
                the kernel is not finite or breaks 0 ≤ k(x, x), |k(x, x')| ≤ √(k(x, x) k(x', x')), or that not even
                float64 tells their angles where the kernel depends on them; or if memory does not suffice.
        """
        (out,) = self._matrices(x1, x2)
        return out

    def diagonal(self, x: Shaped[Tensor, "n ..."]) -> Tensor:
        """k(x, x) of each row; differentiable.

        Raises:
            ValueError: As in a call.
        """
        (out,) = self._matrices.diagonals(x)
        return out

    @cached_property
    def compiled(self) -> Compiled:
        """Its steps, made once.

        Raises:
            ValueError: If there is no such kernel.
        """
        return compiled(self.net, ("ntk" if self.tangent else "nngp",), self.scales, self.each)

    @property
    def sigmas(self) -> list[Tensor]:
        """Those that derivatives are asked by: see `mupi.architecture.kernel.sigmas`."""
        return self.compiled.sigmas

    @cached_property
    def _matrices(self) -> Matrices:
        return Matrices(self.compiled, self.name)


@takes_numpy
@dataclass(frozen=True)
class LimitKernels:
    """The NNGP and the NTK of one network at infinite width, computed together: see `LimitKernel`.

    The tangent kernel is made of the moments that the NNGP is, so that both take hardly longer than one; each is what
    it is by itself, bit for bit (unless one of them needs float64, which both are then made in).

    Called on inputs it gives a named tuple of matrices. Its attributes ``nngp`` and ``ntk`` are the kernels one by
    one, for what takes a kernel.

    Args:
        net: The network.
        kinds: "nngp", "ntk" or both, in the order of the results.
        scales: σ's and rates of each node that has parameters.
        each: Whether there is an output at each position, so that rows and columns are pairs (sample, position).
        name: What it is called in messages.
    """

    net: Description
    kinds: tuple[str, ...]
    scales: tuple[tuple[int, Scales], ...]
    each: bool = False
    name: str = "LimitKernels"

    def __getstate__(self) -> dict:
        """The fields, without what is made of them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict) -> None:
        """The fields."""
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def __call__(self, x1: Shaped[Tensor, "n ..."], x2: Shaped[Tensor, "m ..."] | None = None) -> Any:
        """Named tuple of the kernels of every sample of ``x1`` with every one of ``x2``, by default ``x1``.

        Raises:
            ValueError: As a call of `LimitKernel`.
        """
        return named(self.kinds)(*self._matrices(x1, x2))

    def diagonal(self, x: Shaped[Tensor, "n ..."]) -> Any:
        """Named tuple of k(x, x) of each row.

        Raises:
            ValueError: As a call of `LimitKernel`.
        """
        return named(self.kinds)(*self._matrices.diagonals(x))

    @property
    def nngp(self) -> LimitKernel:
        """The covariance at the start, by itself."""
        return LimitKernel(self.net, False, self.scales, self.each, f"{self.name}.nngp")

    @property
    def ntk(self) -> LimitKernel:
        """The tangent kernel, by itself."""
        return LimitKernel(self.net, True, self.scales, self.each, f"{self.name}.ntk")

    @cached_property
    def compiled(self) -> Compiled:
        """Its steps, made once.

        Raises:
            ValueError: If there is no such kernel.
        """
        return compiled(self.net, self.kinds, self.scales, self.each)

    @cached_property
    def _matrices(self) -> Matrices:
        return Matrices(self.compiled, self.name)


@cache
def named(kinds: tuple[str, ...]) -> type:
    """The named tuple of kernels."""
    return namedtuple("Kernels", kinds)
