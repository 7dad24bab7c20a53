"""`Program`: a network computation, written once, run at any width or taken to its infinite-width limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from mupi.arrays import takes_numpy
from mupi.checks import fail, finite, non_negative, positive_int
from mupi.programs import probe
from mupi.programs.doubt import exact_errors
from mupi.programs.evaluation import evaluate
from mupi.programs.exact import Exact
from mupi.programs.explain import explain
from mupi.programs.line import Line, Listing
from mupi.programs.matrices import Matrix
from mupi.programs.notebook import Explained, table
from mupi.programs.operations import Constant, GaussianMatrix, Given, InitialVector
from mupi.programs.spaces import Samples, Width
from mupi.programs.vectors import Scalar, Vector


@dataclass(frozen=True)
class Values:
    """What a program's lines came to.

    Attributes:
        values: By line: of scalars, and of the vectors that were to be kept.
        measure: Gives the errors, when they are asked for; None if values are what they are.
    """

    values: dict[Line, Tensor]
    measure: Callable[[], dict[Line, Tensor]] | None = None

    def __repr__(self) -> str:
        shown = (f"{line.name} {'×'.join(map(str, value.shape)) or 'a number'}" for line, value in self.values.items())
        return f"<Values of {len(self.values)} lines: {shorten(', '.join(shown), 400, placeholder=' …')}>"

    @cached_property
    def errors(self) -> dict[Line, Tensor]:
        """By scalar: standard errors of what was sampled, errors of closed forms (see `error`); none of a run."""
        return {} if self.measure is None else self.measure()

    def __getitem__(self, line: Line) -> Tensor:
        """The value of a scalar, or the coordinates (n, k) of a kept vector.

        Raises:
            ValueError: If it is neither.
        """
        if line not in self.values:
            fail("values[line]", "a scalar, or a vector named in keep", line)
        return self.values[line]

    def error(self, line: Scalar) -> Tensor:
        """The error of each entry: of samples the standard error; of closed forms that of quadratures.

        Exact but for rounding are moments of Gaussians, for which 0 is stated. Others are integrals, by what each
        function depends on:

        - On one Gaussian (one linear form of them), and products of such functions in up to two dimensions: a bound,
          for functions made of torch operations, that break anywhere and are as steep as they like. It cannot know
          of a spike that is narrower than 1e-3 standard deviations (in products: of each function) where no
          intermediate result changes its sign or is extreme; see `mupi.programs.profile` for what is looked at. Of
          products of functions that are seen to be smooth but for 0 it is the difference from a rule with fewer nodes.
        - On what cannot be looked into: infinity, with a warning, for "unknown". So it is where a function hands its
          numbers to NumPy or Python, or an intermediate result changes more than 4,096 times along a line. Compare
          with ``limit(samples=...)``.
        - On two Gaussians, as ``apply(f, x, y)``: measured, no bound. It is the bound along all lines on which f was
          evaluated and across them, plus the difference from lines the other way. Both may miss the same part of a
          region that is narrower than 0.1 standard deviations where no intermediate result changes its sign: the tips
          of ``x*x - x + y*y < c``, not those of ``(x - 0.5)**2 + y*y < d``. Write f in several lines where you can.

        What is computed from moments further on is tried with these wrong by their errors (`mupi.programs.doubt`).

        A moment whose error is above 1e-6 of E |…| is refused, unless the error is below 1e-20: moments that small,
        of what happens beyond some 9 standard deviations only, are accepted without any relative accuracy.

        Raises:
            ValueError: If it is no scalar of a limit.
        """
        if line not in self.errors:
            fail("values.error(line)", "of a scalar of limit()", line)
        return self.errors[line]


@takes_numpy
class Program(Listing):
    """A straight-line program in vectors, Gaussian matrices and averages (NE⊗OR⊤ of Tensor Programs; Yang 2020, 2021).

    >>> p = Program()
    >>> W, x = p.matrix("W"), p.vector("x")
    >>> y = torch.tanh(W @ x)
    >>> k = mupi.mean(x, W.T @ y)
    >>> round(p.limit()[k].item(), 6)  # E tanh'(z): W is used twice, so this is not zero
    0.605706

    `run` evaluates the lines with real matrices of a width; `limit` evaluates the random variables Z that coordinates
    converge to (Master Theorem), on samples of all of them or exactly.
    """

    def vector(
        self, name: str = "", covariance: float | Sequence | Tensor = 1.0, mean: float | Sequence | Tensor = 0.0
    ) -> Vector:
        """k initial vectors: their coordinates are iid N(mean, covariance) in R^k.

        Args:
            name: The vector's name.
            covariance: A number for one vector, or a (k, k) positive semi-definite matrix.
            mean: A number, or one for each.

        Raises:
            ValueError: If the covariance is no such matrix, or the name is taken.
        """
        Σ = torch.atleast_2d(torch.as_tensor(covariance, dtype=torch.float64))
        if Σ.ndim != 2 or Σ.shape[0] != Σ.shape[1] or not torch.isfinite(Σ).all() or not torch.allclose(Σ, Σ.T):
            got = f"{covariance}" if Σ.numel() == 1 else f"a matrix of shape {tuple(Σ.shape)} that is not"
            fail("vector(covariance=...)", "a finite number ≥ 0, or a finite symmetric matrix", got)
        values, vectors = torch.linalg.eigh(Σ)
        if values[0] < -1e-10 * values.abs().max():
            fail("vector(covariance=...)", "positive semi-definite", f"an eigenvalue {float(values[0]):.3g}")
        kept = values > 1e-14 * values.abs().max()
        factor = vectors[:, kept] * values[kept].sqrt()
        μ = torch.as_tensor(mean, dtype=torch.float64).expand(len(Σ))
        trial = probe.draws(factor.shape[1], len(self.lines)) @ factor.T + μ
        return self.write(Vector, InitialVector(factor, μ), (), trial, name)

    def given(self, columns: int, name: str = "") -> Vector:
        """k vectors that a program goes on from; whoever evaluates it has their values.

        Args:
            columns: Number k of vectors.
            name: The vectors' name.
        """
        trial = probe.draws(positive_int("given(columns=...)", columns), len(self.lines))
        return self.write(Vector, Given(), (), trial, name)

    def matrix(self, name: str = "", sigma: float = 1.0, ratio: float = 1.0) -> Matrix:
        """W with iid N(0, σ²/n) entries; of a name that is taken, the matrix that has it.

        Args:
            name: The matrix's name.
            sigma: σ, at n columns.
            ratio: Rows over columns, where vectors are of different lengths; only `limit` has such programs.

        Raises:
            ValueError: If σ is negative, the ratio not positive, or not those of the matrix of this name.
        """
        non_negative("matrix(sigma=...)", sigma)
        if not 0 < ratio < float("inf"):
            fail("matrix(ratio=...)", "a positive number", ratio)
        known = self.find(name)
        if known is not None:
            if not isinstance(known, Matrix) or (known.sigma, known.ratio) != (sigma, ratio):
                fail(f"matrix({name!r}, sigma={sigma})", f"the same as in {known}", f"σ = {sigma}", "rename it")
            return known
        return self.write(Matrix, GaussianMatrix(sigma, ratio), (), sigma, name)

    def constant(self, value: float | Sequence | Tensor, name: str = "") -> Scalar:
        """Numbers that are given, as a scalar: finitely many parameters, which do not depend on the width.

        Args:
            value: The numbers, of any shape.
            name: The scalar's name.

        Raises:
            ValueError: If they are not finite, or the name is taken.
        """
        numbers = torch.as_tensor(value, dtype=torch.float64).detach().clone()
        finite("constant(value=...)", numbers)
        return self.write(Scalar, Constant(numbers), (), probe.plausible(numbers), name)

    def run(
        self,
        width: int,
        generator: torch.Generator | None = None,
        *,
        keep: Sequence[Vector] = (),
        dtype: torch.dtype = torch.float64,
    ) -> Values:
        """Evaluate with vectors in R^n and real n × n matrices.

        Args:
            width: The width n.
            generator: Draws matrices, vectors and samples; None for torch's own.
            keep: Vectors to return as well.
            dtype: Floating dtype.

        Raises:
            ValueError: If the width is no positive integer, a line is not finite, or one to keep is no vector of this
                program.
        """
        self._check_kept("run", keep, Vector | Matrix)
        values = evaluate(self.lines, Width(positive_int("run(width=...)", width), generator, dtype), keep)
        return Values(values)

    def limit(
        self,
        samples: int | None = None,
        generator: torch.Generator | None = None,
        *,
        replicates: int = 4,
        keep: Sequence[Vector] = (),
        tolerance: float = 1e-6,
        dtype: torch.dtype = torch.float64,
    ) -> Values:
        """Evaluate the limit n → ∞ of every line.

        Args:
            samples: Samples of every random variable, in each replicate; None for closed forms (`Exact`), where all
                expectations are of polynomials, or of functions of at most two Gaussians at a time.
            generator: Draws matrices, vectors and samples; None for torch's own.
            replicates: Independent repetitions: scalars are their means, standard errors come from their spread. The
                bias, of the order of 1/samples, is not in them.
            keep: Vectors of which to return the samples, those of all replicates one below the other.
            tolerance: Relative size below which a vector counts as a combination of earlier ones.
            dtype: Floating dtype.

        Raises:
            ValueError: If a line is not finite or has no moments, there are too few samples, or no closed form.
        """
        if samples is None:
            if keep:
                fail("limit(keep=...)", "given with samples", "no samples", "use limit(samples=...)")
            lines, space = list(self.lines), Exact()
            values = evaluate(lines, space, [line for line in lines if isinstance(line, Vector)])
            scalars: dict[Line, Tensor] = {line: value for line, value in values.items() if isinstance(line, Scalar)}
            return Values(scalars, lambda: exact_errors(lines, space, values))
        positive_int("limit(samples=...)", samples)
        self._check_kept("limit", keep, Vector)
        if positive_int("limit(replicates=...)", replicates) < 2:
            fail("limit(replicates=...)", "at least 2, for standard errors", replicates)
        runs = [evaluate(self.lines, Samples(samples, generator, dtype, tolerance), keep) for _ in range(replicates)]
        return combine_replicates(runs)

    def _check_kept(self, method: str, keep: Sequence[Line], kinds: Any) -> None:
        """Raise unless all lines to keep are vectors of this program."""
        for line in keep:
            if not isinstance(line, kinds) or line.program is not self:
                other = f"{line}, of another program" if getattr(line, "program", self) is not self else line
                fail(f"{method}(keep=...)", "vectors of this program", other)

    def _repr_html_(self) -> str:
        """The lines as a table, in a notebook."""
        return table(self.lines)

    def explain(self, samples: int | None = None, generator: torch.Generator | None = None) -> Explained:
        """Every line with the family of its Ẑ, its Ż written out, and its variance or value in the limit.

        Print it; as the last line of a notebook's cell it is a table with formulas in LaTeX.

        Args:
            samples: As for `limit`; one replicate.
            generator: Draws matrices, vectors and samples; None for torch's own.

        Raises:
            ValueError: As `limit`.
        """
        return explain(self.lines, Exact() if samples is None else Samples(samples, generator, torch.float64))


def combine_replicates(runs: Sequence[dict[Line, Tensor]]) -> Values:
    """Means of scalars with their standard errors, and the samples of vectors one below the other."""
    values, errors = {}, {}
    for line in runs[0]:
        if isinstance(line, Vector):
            values[line] = torch.cat([run[line] for run in runs])
        else:
            stacked = torch.stack([run[line] for run in runs])
            values[line], errors[line] = stacked.mean(0), stacked.std(0) / len(runs) ** 0.5
    return Values(values, lambda: errors)
