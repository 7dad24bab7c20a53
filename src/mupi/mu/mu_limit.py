"""`MuLimit`: an infinitely wide perceptron of any depth, trained by SGD in any stable abc-parametrization."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mupi.activations import Activation, Tanh, as_activation
from mupi.arrays import takes_numpy
from mupi.checks import fail, finite, non_negative, positive_int
from mupi.mu.descent import Descent, Loss, TrainedPerceptron, check_loss, reaching, squared_distance
from mupi.mu.fit_records import FitRecord, summarized
from mupi.mu.fit_targets import targets_of
from mupi.mu.tangent import TangentPerceptron
from mupi.parametrization import Parametrization
from mupi.programs.evaluation import evaluate
from mupi.programs.line import Line
from mupi.programs.spaces import Samples
from mupi.programs.vectors import Scalar, mean


@takes_numpy
class MuLimit:
    """The limit n → ∞ of `mupi.MLP` without biases, trained by SGD (Yang & Hu 2021, the Master Theorem).

    In μP, and wherever else features are learned, the Tensor Program of the whole training is written step by step
    (`TrainedPerceptron`) and its random variables are sampled, all at once (`Samples`).

    In the kernel regime it is that of the tangent kernel (`TangentPerceptron`), and the network is centred inside the
    loss: with f̃ the perceptron's output, f = f̃ − f̃_0 is what the loss takes and what is given here, so that SGD
    descends L(f̃ − f̃_0, y). That is not the change f̃ − f̃_0 of a network trained on L(f̃, y), whose gradients depend on
    f̃_0, a Gaussian process in the limit. Only with the squared distance are the two alike: there the change is f for
    the targets y − f̃_0(x).

    With S samples, B inputs a step and T steps a hidden matrix has a basis of rank K ≤ TB each way: memory is 4 S K
    numbers for each hidden matrix and replicate, and a step takes about 20 S K B multiplications. Directions of
    relative size below ``tolerance`` are not followed, which keeps K small.

    >>> x, y = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [-1.0]])
    >>> limit = mupi.MuLimit(1, lr=0.1, samples=256, generator=torch.Generator().manual_seed(0)).fit(x, y, steps=3)
    >>> bool((limit.losses.diff() < 0).all())
    True

    Attributes:
        outputs: f_0 … f_{T−1} of all calls of `fit`, each on the inputs that its step took; f_T is `predict`.
        output_errors: Their standard errors, from the replicates.
        losses: Of these outputs, with the targets that the step took.
        loss_errors: Their standard errors.
        test_outputs: f_0 … f_{T−1} on the test inputs; NaN for steps of a `fit` without, None if all were.
        feature_kernels: E φ(h^L)φ(h^L)' of the inputs of `fit`, at every step.

    Args:
        depth: Number L ≥ 1 of hidden layers.
        activation: φ; None for tanh.
        parametrization: A stable and nontrivial one; None for μP.
        lr: Learning rate η.
        momentum: Momentum μ.
        weight_decay: λ; every weight shrinks by 1 − ηλ a step.
        loss: Of outputs (batch, d_out) and targets, which are floats (batch, d_out) or class labels (batch,); None for
            the mean over the batch of squared distances, which takes labels as their `centered_one_hot`.
        sigma_w: σ of the weights.
        input_std: σ_1, if not sigma_w/√d.
        readout_std: σ_{L+1}, if not sigma_w; 0 for a network that starts at zero.
        samples: Number S of samples of the limit, in each replicate.
        replicates: Independent repetitions, for standard errors.
        tolerance: Relative size below which directions are dropped.
        generator: Draws the samples; None for torch's own.
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
        self.depth = depth
        self.activation = Tanh() if activation is None else as_activation(activation, "MuLimit(activation=...)")
        # An initial readout smaller than 1/n is not seen in the limit.
        readout_std = 0.0 if p.learns_features and not p.readout_maximally_initialized else readout_std
        self.loss = squared_distance if loss is None else loss
        self.stds = input_std, sigma_w, sigma_w if readout_std is None else readout_std
        self.descent = Descent(lr, momentum, weight_decay, reaching(p))
        self.spaces = [Samples(samples, generator, dtype, tolerance) for _ in range(replicates)]
        self.values: list[dict[Line, Tensor]] = [{} for _ in range(replicates)]
        self.net: TrainedPerceptron | None = None
        self._written = 0
        self._records: list[FitRecord] = []
        self._broken = False

    def fit(
        self,
        x: Float[Tensor, "batch d"],
        y: Tensor,
        steps: int,
        *,
        test_x: Float[Tensor, "tests d"] | None = None,
        classes: int | None = None,
        progress: Console | None = None,
    ) -> "MuLimit":
        """Take steps of SGD on all of x; called again, go on from there.

        After Ctrl-C, or if training diverges, the attributes hold the steps that were finished.

        Args:
            x: Training inputs, one row each.
            y: Floats are targets, (batch, d_out) or, for one output, (batch,), which the loss gets as (batch, 1).
                Integers of shape (batch,) are class labels 0 … d_out − 1; each must occur, or ``classes`` say how many
                there are.
            steps: How many steps to take.
            test_x: Inputs to follow, which are not trained on.
            classes: d_out, where some classes may have no label.
            progress: Where to show a bar; None for nowhere.

        Raises:
            ValueError: For inputs of another shape or with NaN, or as many as at first in a later call; for targets
                that are neither floats nor such labels (bools are neither); a loss that is not one number, or that
                broadcasts outputs against targets; too few samples, or a training that diverges.
        """
        positive_int("MuLimit.fit(steps=...)", steps)
        targets = self._begin(x, y, classes)
        if self._records and self._records[0].outputs.shape[1] != len(x):
            must = f"of {self._records[0].outputs.shape[1]} rows, as in the first fit"
            fail("MuLimit.fit(x)", must, len(x), "take single steps of other batches with step(x, y)")
        tests = {r.tests.shape[1] for r in self._records if r.tests is not None}
        if test_x is not None and tests - {len(test_x)}:
            fail("MuLimit.fit(test_x)", f"of {tests.pop()} rows, as in an earlier fit", len(test_x))
        try:
            for _ in track(range(steps), "step", console=progress, disable=progress is None, transient=True):
                at_tests = None if test_x is None else self._outputs(test_x)
                outputs, kernel = self._step(x, targets)
                losses = torch.stack([self.loss(f, targets) for f in (outputs.mean(0), *outputs)])
                self._records.append(FitRecord(outputs, kernel, at_tests, losses))
        finally:
            self._summarize()
        return self

    def step(
        self, x: Float[Tensor, "batch d"], y: Tensor, classes: int | None = None
    ) -> tuple[Float[Tensor, "replicates batch d_out"], Float[Tensor, "replicates batch batch"]]:
        """Take one step of SGD on a batch; returns its outputs and feature kernel before the step.

        Raises:
            ValueError: As `fit`.
        """
        return self._step(x, self._begin(x, y, classes))

    def _step(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        net = self._net(x)
        at = net.step(x, targets, self.loss)
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
        one, other = self._net(x1).forward(x1), self._net(x2).forward(x2)
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

    def _begin(self, x: Tensor, y: Tensor, classes: int | None) -> Tensor:
        """The targets as the loss takes them; the first time, begin the network's lines.

        Raises:
            ValueError: If inputs, targets or the loss are not what `fit` wants.
        """
        known = None if self.net is None else self.net.V.columns
        encoded = self.loss is squared_distance
        targets, d_out = targets_of(y, len(x), classes, known, encoded=encoded, dtype=self.spaces[0].dtype)
        self._check(x)
        check_loss("MuLimit(loss=...)", self.loss, targets, (d_out,), self.spaces[0].dtype)
        if self.net is None:
            d = x.shape[1]
            first, hidden, last = self.stds
            stds = hidden / d**0.5 if first is None else first, hidden, last
            kind = TangentPerceptron if self.parametrization.kernel_regime else TrainedPerceptron
            self.net = kind(d, d_out, self.depth, self.activation, stds, self.descent)
        return targets

    def _check(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless inputs are what the network takes, and it can go on."""
        if x.ndim != 2 or not x.is_floating_point():
            fail("MuLimit: x", "of shape (batch, d) and a floating dtype", f"{tuple(x.shape)}, {x.dtype}")
        finite("MuLimit: x", x)
        if self._broken:
            fail("MuLimit", "used until a step fails or is interrupted", "one after that", "make a new one")
        if self.net is not None and x.shape[1] != self.net.U.columns:
            fail("MuLimit: x", f"of shape (batch, {self.net.U.columns})", tuple(x.shape))

    def _net(self, x: Tensor) -> TrainedPerceptron:
        """The network's lines, which have been begun, for inputs."""
        self._check(x)
        if self.net is None:
            fail("MuLimit", "trained before it is asked for predictions", "no step", "call fit(x, y, steps)")
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

    def _summarize(self) -> None:
        """Set the attributes from the records."""
        if self._records:
            vars(self).update(summarized(self._records))
