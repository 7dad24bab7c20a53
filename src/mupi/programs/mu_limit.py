"""`MuLimit`: an infinitely wide perceptron of any depth, trained by SGD in any stable abc-parametrization."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mupi.activations import Activation, Tanh, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, finite, non_negative, positive_int
from mupi.parametrization import Parametrization
from mupi.programs.evaluation import evaluate
from mupi.programs.line import Line
from mupi.programs.spaces import Samples
from mupi.programs.tangent import TangentPerceptron
from mupi.programs.training import Descent, Loss, TrainedPerceptron
from mupi.programs.vectors import Scalar, mean


@takes_numpy
class MuLimit:
    """The limit n → ∞ of `mupi.MLP` without biases, trained by SGD (Yang & Hu 2021, the Master Theorem).

    In μP, and wherever else features are learned, the Tensor Program of the whole training is written step by step
    (`TrainedPerceptron`) and its random variables are sampled, all at once (`Samples`). In the kernel regime it is that
    of the tangent kernel (`TangentPerceptron`), and f is the output less that at the start.

    With S samples, B inputs a step and T steps a hidden matrix has a basis of rank K ≤ TB each way: memory is 4 S K
    numbers for each hidden matrix and replicate, and a step takes about 20 S K B multiplications. Directions of
    relative size below ``tolerance`` are not followed, which keeps K small.

    Attributes:
        outputs: f_0 … f_{T−1} on the inputs of `fit`; f_T is `predict`.
        output_errors: Their standard errors, from the replicates.
        losses: Of these outputs.
        loss_errors: Their standard errors.
        test_outputs: f_0 … f_{T−1} on the test inputs.
        feature_kernels: E φ(h^L)φ(h^L)' of the inputs of `fit`, at every step.

    Args:
        depth: L ≥ 1.
        activation: φ; None for tanh.
        parametrization: A stable and nontrivial one; None for μP.
        lr: η.
        momentum: μ.
        weight_decay: λ; every weight shrinks by 1 − ηλ a step.
        loss: Of outputs (batch, d_out) and targets; None for the mean over the batch of squared distances.
        sigma_w: σ of the weights.
        input_std: σ_1, if not sigma_w/√d.
        readout_std: σ_{L+1}, if not sigma_w; 0 for a network that starts at zero.
        samples: S, in each replicate.
        replicates: Independent repetitions, for standard errors.
        tolerance: Relative size below which directions are dropped.
        generator: Randomness.
        dtype: Floating dtype of the samples.

    Raises:
        ValueError: For an unstable or trivial parametrization, one of another depth, and numbers out of range.
    """

    outputs: Float[Tensor, "times batch d_out"]
    output_errors: Float[Tensor, "times batch d_out"]
    losses: Float[Tensor, " times"]
    loss_errors: Float[Tensor, " times"]
    test_outputs: Float[Tensor, "times tests d_out"] | None = None
    feature_kernels: Float[Tensor, "times batch batch"]

    def __init__(
        self,
        depth: int = 2,
        activation: Activation | Callable[[Tensor], Tensor] | None = None,
        parametrization: Parametrization | None = None,
        *,
        lr: float = 1.0,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        loss: Loss | None = None,
        sigma_w: float = 1.0,
        input_std: float | None = None,
        readout_std: float | None = None,
        samples: int = 4096,
        replicates: int = 4,
        tolerance: float = 1e-3,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float64,
    ):
        for name, value in dict(depth=depth, samples=samples, replicates=replicates).items():
            positive_int(f"MuLimit({name}=...)", value)
        stds = dict(sigma_w=sigma_w, input_std=input_std, readout_std=readout_std)
        rates = dict(lr=lr, momentum=momentum, weight_decay=weight_decay, tolerance=tolerance)
        for name, value in dict(**stds, **rates).items():
            if value is not None:
                non_negative(f"MuLimit({name}=...)", value)
        smallest = 20 * torch.finfo(dtype).eps ** 0.5
        if not smallest <= tolerance < 1:
            fail("MuLimit(tolerance=...)", f"between {smallest:.1g} and 1, for {dtype}", tolerance)
        if replicates < 2:
            fail("MuLimit(replicates=...)", "at least 2, for standard errors", replicates)
        self.parametrization = Parametrization.mup(depth) if parametrization is None else parametrization
        p = self.parametrization
        if p.depth != depth:
            fail("MuLimit(parametrization=...)", f"of depth {depth}", f"depth {p.depth}")
        if not (p.learns_features or p.kernel_regime):
            fail("MuLimit(parametrization=...)", "stable and nontrivial", f"one that is not: {p.verdict}")
        if p.kernel_regime and weight_decay:
            fail("MuLimit(weight_decay=...)", "0 in the kernel regime, where the kernel would move", weight_decay)
        self.depth, self.activation = depth, Tanh() if activation is None else as_activation(activation)
        # An initial readout smaller than 1/n is not seen in the limit.
        readout_std = 0.0 if p.learns_features and not p.readout_maximally_initialised else readout_std
        self.loss = squared_distance if loss is None else loss
        self.stds = input_std, sigma_w, sigma_w if readout_std is None else readout_std
        self.descent = Descent(lr, momentum, weight_decay, reaching(p))
        self.spaces = [Samples(samples, generator, dtype, tolerance) for _ in range(replicates)]
        self.values: list[dict[Line, Tensor]] = [{} for _ in range(replicates)]
        self.net: TrainedPerceptron | None = None
        self._written = 0
        self._records: list[_Record] = []
        self._broken = False

    def fit(
        self,
        x: Float[Tensor, "batch d"],
        y: Tensor,
        steps: int,
        *,
        test_x: Float[Tensor, "tests d"] | None = None,
        progress: Console | None = None,
    ) -> "MuLimit":
        """Take steps of SGD on all of x; called again, go on from there.

        After Ctrl-C, or if training diverges, the attributes hold the steps that were finished.

        Args:
            x: Inputs.
            y: Targets, as the loss takes them.
            steps: How many.
            test_x: Inputs to follow, which are not trained on.
            progress: Where to show a bar; None for nowhere.

        Raises:
            ValueError: For inputs of another shape or with NaN, too few samples, or a training that diverges.
        """
        positive_int("MuLimit.fit(steps=...)", steps)
        if len(y) != len(x):
            fail("MuLimit.fit(y)", f"of {len(x)} rows, one for each of x", f"{len(y)}")
        self._net(x, y)
        try:
            for _ in track(range(steps), "step", console=progress, disable=progress is None, transient=True):
                tests = None if test_x is None else self._outputs(test_x)
                self._records.append(_Record(*self.step(x, y), tests))
        finally:
            self._summarise(y)
        return self

    def step(
        self, x: Float[Tensor, "batch d"], y: Tensor
    ) -> tuple[Float[Tensor, "replicates batch d_out"], Float[Tensor, "replicates batch batch"]]:
        """Take one step of SGD on a batch; returns its outputs and feature kernel before the step."""
        net = self._net(x, y)
        at = net.step(x, y, self.loss)
        kernel = mean(at.z[-1], at.z[-1])
        self._advance()
        return self._stack(at.f), self._stack(kernel)

    def predict(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d_out"]:
        """f(x), the mean over replicates.

        Raises:
            ValueError: Before the first step, or for inputs of another shape or with NaN.
        """
        return self._outputs(x).mean(0)

    def feature_kernel(self, x1: Float[Tensor, "n d"], x2: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """E φ(h)φ(h') of the last hidden layer.

        Raises:
            ValueError: As `predict`.
        """
        net = self._net(x1)
        one, other = net.forward(x1), net.forward(x2)
        kernel = mean(one.z[-1], other.z[-1])
        self._advance(scratch=True)
        return self._stack(kernel).mean(0)

    def hidden(self, x: Float[Tensor, "batch d"]) -> list[Float[Tensor, "samples batch"]]:
        """Samples of Z^{h^1}, …, Z^{h^L}: rows are neurons, those of all replicates one below the other.

        Raises:
            ValueError: As `predict`.
        """
        at = self._net(x).forward(x)
        self._advance(scratch=True, keep=at.h)
        return [torch.cat([values.pop(h) for values in self.values]) for h in at.h]

    @property
    def ranks(self) -> list[tuple[int, int]]:
        """Of each hidden matrix, the directions met forwards and backwards, the most over replicates."""
        families = zip(*(space.families for space in self.spaces), strict=True)
        return [(max(f.right.rank for f in fs), max(f.left.rank for f in fs)) for fs in families]

    def _net(self, x: Tensor, y: Tensor | None = None) -> TrainedPerceptron:
        """The network's lines, begun with the first targets."""
        if x.ndim != 2 or not x.is_floating_point():
            fail("MuLimit: x", "of shape (batch, d) and a floating dtype", f"{tuple(x.shape)}, {x.dtype}")
        finite("MuLimit: x", x)
        if self._broken:
            fail("MuLimit", "used until a step fails or is interrupted", "one after that", "make a new one")
        if self.net is None:
            if y is None:
                fail("MuLimit", "trained before it is asked for predictions", "no step", "call fit(x, y, steps)")
            d, d_out = x.shape[1], (y.shape[1] if y.ndim == 2 else int(y.max()) + 1)
            first, hidden, last = self.stds
            stds = hidden / d**0.5 if first is None else first, hidden, last
            kind = TangentPerceptron if self.parametrization.kernel_regime else TrainedPerceptron
            self.net = kind(d, d_out, self.depth, self.activation, stds, self.descent)
        if x.shape[1] != self.net.U.columns:
            fail("MuLimit: x", f"of shape (batch, {self.net.U.columns})", tuple(x.shape))
        return self.net

    def _advance(self, scratch: bool = False, keep: Sequence[Line] = ()) -> None:
        """Evaluate the lines that were written since the last time."""
        assert self.net is not None
        lines = self.net.program.lines[self._written :]
        self._written, self._broken = len(self.net.program.lines), True
        for space, known in zip(self.spaces, self.values, strict=True):
            with space.scratch() if scratch else nullcontext():
                evaluate(lines, space, [*self.net.state, *keep], known)
        self._broken = False

    def _stack(self, scalar: Scalar) -> Tensor:
        """A scalar's value in each replicate."""
        return torch.stack([values[scalar] for values in self.values])

    def _outputs(self, x: Tensor) -> Float[Tensor, "replicates batch d_out"]:
        """f(x) in each replicate."""
        f = self._net(x).forward(x).f
        self._advance(scratch=True)
        return self._stack(f)

    def _summarise(self, y: Tensor) -> None:
        """Set the attributes from the records."""
        if not self._records:
            return
        f = torch.stack([record.outputs for record in self._records])
        root = f.shape[1] ** 0.5
        self.outputs, self.output_errors = f.mean(1), f.std(1) / root
        self.losses = torch.stack([self.loss(at, y.to(at) if y.is_floating_point() else y) for at in self.outputs])
        each = torch.stack([self.loss(r, y.to(r) if y.is_floating_point() else y) for at in f for r in at])
        self.loss_errors = each.reshape(f.shape[:2]).std(1) / root
        self.feature_kernels = torch.stack([record.kernel.mean(0) for record in self._records])
        if self._records[0].tests is not None:
            self.test_outputs = torch.stack([r.tests.mean(0) for r in self._records if r.tests is not None])


@dataclass(frozen=True)
class _Record:
    """What a step of `MuLimit.fit` began with."""

    outputs: Float[Tensor, "replicates batch d_out"]
    kernel: Float[Tensor, "replicates batch batch"]
    tests: Float[Tensor, "replicates tests d_out"] | None


def squared_distance(f: Float[Tensor, "batch d_out"], y: Float[Tensor, "batch d_out"]) -> Float[Tensor, ""]:
    """Mean over the batch of |f − y|²."""
    return (f - y).square().sum(1).mean()


def reaching(p: Parametrization) -> tuple[bool, ...]:
    """For W^1 … W^{L+1}, whether its update moves f by Θ(1) as n → ∞, of a stable parametrization.

    Where features are learned, that of W^l with r_l = 0, and of a maximally updated readout. In the kernel regime,
    where the initial readout, Θ(n^{−(a+b)}), takes a change Θ(n^{−s}) of h^L to one of f of Θ(n^{1−(a+b)−s}): that with
    s = 1 − (a+b) for s = a_{L+1} + b_{L+1} + c − 1 + 2a_l + 1(l = 1).
    """
    *_, readout = p.maximally_updated
    if p.learns_features:
        return p.maximally_updated
    sizes = [p.initial_readout + p.c - 1 + 2 * a + (layer == 0) for layer, a in enumerate(p.a[:-1])]
    return (*(s == 1 - p.initial_readout for s in sizes), readout)
