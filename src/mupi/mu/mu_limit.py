"""`MuLimit`: an infinitely wide network in training."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from mupi.activations import Activation, Tanh, as_activation
from mupi.architecture.description import Description
from mupi.architecture.start import Start
from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative, positive_int
from mupi.distributed.sharing import sharing
from mupi.mu.fit_inputs import check_inputs, read_targets
from mupi.mu.fit_records import FitRecord, summarized
from mupi.mu.kernel_descent import KernelDescent
from mupi.mu.limit_values import LimitValues
from mupi.mu.losses import Loss, squared_distance
from mupi.mu.making import Plan
from mupi.mu.optimizers import SGD, Optimizer
from mupi.mu.replicates import generators, own_share, set_states
from mupi.mu.summary import StepSummary, Summary
from mupi.mu.trained_network import TrainedNetwork
from mupi.parametrization import Parametrization, Roles
from mupi.programs.line import Line
from mupi.programs.spaces import Samples
from mupi.programs.vectors import mean
from mupi.progress import progress_display


@takes_numpy
class MuLimit:
    """The limit n → ∞ of a network, trained by SGD or Adam (Yang & Hu 2021; Yang & Littwin 2023, the Master Theorem).

    Where features are learned, in μP and in every other parametrization with r = 0, the Tensor Program of the whole
    training is written step by step (`TrainedNetwork`: forward by the rules of the description, backward by
    `mupi.gradients`) and its random variables are sampled, all at once (`Samples`); weights whose updates do not reach
    the limit stay. It is the limit of ``net.finite(width)`` with the same arguments, trained by `torch.optim.SGD` on
    its ``parameter_groups(lr, first, last, bias, weight_decay)``.

    In the kernel regime, as in NTP, features stay, and f descends by the tangent kernel, in closed form
    (`KernelDescent`; samples are of the features alone). There f_0 is random in the limit, a Gaussian process. By
    default (``centered``) the network is centred inside the loss: with f̃ its output, f = f̃ − f̃_0 is what the loss
    takes and what is given here, so that SGD descends L(f̃ − f̃_0, y). That is not the change f̃ − f̃_0 of a network
    trained on L(f̃, y), whose gradients depend on f̃_0. With ``centered=False`` each replicate is such a network, with an
    f_0 drawn from the Gaussian process: ``outputs`` are then means over these, ``output_errors`` their standard errors,
    and ``predict(x, each=True)`` and `step` give them all. With the squared distance f is a Gaussian process at all
    times, whose mean and covariance are those of ``mupi.KernelDynamics(net.ntk(), initial=net.nngp())``.

    With S samples, B inputs (times positions) a step and T steps a hidden matrix has a basis of rank K ≤ TB each way:
    memory is 4 S K numbers for each hidden matrix and replicate, and a step takes about 20 S K B multiplications.
    Directions of relative size below ``tolerance`` are not followed, which keeps K small and moves outputs by less
    than that share of them, by more after more steps (docs/results.md). S must stay above the sum of all K. With Adam
    there are 3 S S' numbers more for each hidden matrix and replicate, and 3 S S' B multiplications a step, S' being
    ``copies`` or S. Float32 halves memory and, with Adam, takes a fifth of the time.

    >>> x, y = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [-1.0]])
    >>> limit = mupi.MuLimit(1, lr=0.1, samples=256, generator=torch.Generator().manual_seed(0)).fit(x, y, steps=3)
    >>> bool((limit.losses.diff() < 0).all())
    True

    Attributes:
        outputs: f_0 … f_{T−1} of all calls of `fit`, each on the inputs that its step took; f_T is `predict`.
        output_errors: Their standard errors, from the replicates.
        losses: Of these outputs, the means over replicates, with the targets that the step took.
        loss_errors: Their standard errors.
        test_outputs: f_0 … f_{T−1} on the test inputs; NaN for steps of a `fit` without, None if all were.
        feature_kernels: E φ(h^L)φ(h^L)' of the inputs of `fit` (and of their positions, where the readout reads
            several), at every step.

    Args:
        net: A description (`mupi.trace`, `mupi.architecture`); or the depth L ≥ 1 of a perceptron without biases.
        activation: φ of that perceptron; None for tanh.
        parametrization: A stable and nontrivial one, `mupi.Roles` or, where hidden weights have exponents of their
            own, `mupi.Parametrization`; None for μP.
        lr: Learning rate η.
        momentum: Momentum μ.
        weight_decay: λ; every parameter shrinks by 1 − ηλ a step.
        nesterov: Whether momentum is Nesterov's.
        first: Multiplier of η for the weights that read data.
        last: Multiplier of η for the readout.
        bias: Multiplier of η for biases, gains and shifts.
        optimizer: `mupi.mu.Adam`, or `mupi.mu.SGD`, in place of the six arguments before; None for SGD with these.
        loss: Of outputs (batch, *axes) and targets, which are floats of the same shape or class labels; None for the
            mean over the batch of squared distances, which takes labels as their `centered_one_hot`.
        sigma_w: σ of the weights.
        sigma_b: σ of the biases of layers; those of outputs start at 0.
        embed_std: σ of embeddings and tables, if not sigma_w.
        input_std: σ_1, if not sigma_w/√d.
        readout_std: σ_{L+1}, if not sigma_w; 0 for a network that starts at zero.
        input_scale: α of the weights that read data.
        hidden_scale: α of the hidden weights.
        output_scale: α of the readout.
        bias_scale: α_b of the biases; 0 leaves them out.
        centered: Whether f_0 is left out where it is random, which is in the kernel regime: see above.
        samples: Number S of samples of the limit, in each replicate.
        copies: With Adam, how many of these each sample's entries of a hidden matrix are averaged over, a divisor of
            ``samples``; None for all.
        replicates: Independent repetitions, for standard errors.
        tolerance: Relative size below which directions are dropped.
        generator: Draws the samples; None for torch's own. Or a list of generators, one for each replicate.
        shared: Whether the processes of torch.distributed's default group share the replicates, which then have
            generators of their own, of the first process: bit for bit what one process finds with the same list. All
            make the same calls with the same data. False for all replicates in each process. Where there are several,
            one of the two has to be said.
        dtype: Floating dtype of the samples.

    Raises:
        ValueError: For an unstable or trivial parametrization, one of another depth, numbers out of range, an
            operation that has no Tensor Program, and in the kernel regime one that has no kernel in closed form, weight
            decay, and Adam.
    """

    outputs: Float[Tensor, "times batch *axes"]
    output_errors: Float[Tensor, "times batch *axes"]
    losses: Float[Tensor, " times"]
    loss_errors: Float[Tensor, " times"]
    test_outputs: Float[Tensor, "times tests *axes"] | None = None
    feature_kernels: Float[Tensor, "times columns columns"]

    def __init__(
        self,
        net: int | Description = 2,
        activation: Activation | Callable[[Tensor], Tensor] | None = None,
        parametrization: Parametrization | Roles | None = None,
        *,
        lr: float = 1.0,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        first: float = 1.0,
        last: float = 1.0,
        bias: float = 1.0,
        optimizer: Optimizer | None = None,
        loss: Loss | None = None,
        sigma_w: float = 1.0,
        sigma_b: float = 0.0,
        embed_std: float | None = None,
        input_std: float | None = None,
        readout_std: float | None = None,
        input_scale: float = 1.0,
        hidden_scale: float = 1.0,
        output_scale: float = 1.0,
        bias_scale: float = 1.0,
        centered: bool = True,
        samples: int = 4096,
        copies: int | None = None,
        replicates: int = 4,
        tolerance: float = 1e-3,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        dtype: torch.dtype = torch.float64,
        shared: bool | None = None,
    ):
        for name, value in dict(samples=samples, replicates=replicates).items():
            positive_int(f"MuLimit({name}=...)", value)
        sgd = dict(lr=lr, weight_decay=weight_decay, first=first, last=last, bias=bias, momentum=momentum)
        for name, value in dict(**sgd, tolerance=tolerance).items():
            non_negative(f"MuLimit({name}=...)", value)
        if optimizer is not None and (changed := SGD(**sgd, nesterov=nesterov)) != SGD(1.0):
            fail("MuLimit(optimizer=...)", "given without lr, momentum and the like, which are its own", changed)
        start = Start(
            input_scale, hidden_scale, output_scale, bias_scale, sigma_w, sigma_b, embed_std, input_std, readout_std
        ).checked("MuLimit")
        smallest = 20 * torch.finfo(dtype).eps ** 0.5
        if not smallest <= tolerance < 1:
            fail("MuLimit(tolerance=...)", f"between {smallest:.1g} and 1, for {dtype}", tolerance)
        if replicates < 2:
            fail("MuLimit(replicates=...)", "at least 2, for standard errors", replicates)
        if isinstance(net, Description) and activation is not None:
            fail("MuLimit(activation=...)", "None for a description, which has its own", activation)
        if copies is not None:
            positive_int("MuLimit(copies=...)", copies)
            if samples % copies:
                fail("MuLimit(copies=...)", f"a divisor of the {samples} samples", copies)
            if optimizer is None or isinstance(optimizer, SGD):
                fail("MuLimit(copies=...)", "None for SGD, whose updates are no functions of entries", copies)
        φ = Tanh() if activation is None else as_activation(activation, "MuLimit(activation=...)")
        optimizer = SGD(**sgd, nesterov=nesterov) if optimizer is None else optimizer
        self.plan = Plan(net, φ, parametrization, start, optimizer, centered).checked()
        self.loss = squared_distance if loss is None else loss
        processes = sharing("MuLimit(shared=...)", shared)
        self._replicates, self._generators = replicates, generators(generator, replicates, processes)
        self.limits = LimitValues(
            [Samples(samples, g, dtype, tolerance, copies) for g in own_share(self._generators, processes)], processes
        )
        self.net: TrainedNetwork | None = None
        self.descent: KernelDescent | None = None
        self._still: tuple[Tensor, Tensor] | None = None
        self._outputs_known: int | None = None
        self._records: list[FitRecord] = []

    def fit(
        self,
        x: Tensor,
        y: Tensor,
        steps: int,
        *,
        test_x: Tensor | None = None,
        classes: int | None = None,
        progress: Console | None = None,
    ) -> "MuLimit":
        """Take steps of SGD on all of x; called again, go on from there.

        After Ctrl-C, or if training diverges, the network and the attributes are as after the last step that was
        finished; `fit` goes on from there.

        Args:
            x: Training inputs (batch, *axes).
            y: Floats are targets, (batch, d_out) or, for one output, (batch,), which the loss gets as (batch, 1).
                Integers of shape (batch,) are class labels 0 … d_out − 1; each must occur, or ``classes`` say how many
                there are.
            steps: How many steps to take.
            test_x: Inputs to follow, which are not trained on.
            classes: d_out, where some classes may have no label.
            progress: Where to show a bar; None for standard output, if it is a terminal.

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
            with progress_display(progress) as display:
                for _ in display.track(range(steps), description="step"):
                    at_tests = None if test_x is None else self._outputs(test_x)
                    outputs, kernel = self._step(x, targets)
                    losses = torch.stack([self.loss(f, targets) for f in (outputs.mean(0), *outputs)])
                    self._records.append(FitRecord(outputs, kernel, at_tests, losses))
        finally:
            self._summarize()
        return self

    def step(
        self, x: Tensor, y: Tensor, classes: int | None = None
    ) -> tuple[Float[Tensor, "replicates batch *axes"], Float[Tensor, "replicates columns columns"]]:
        """Take one step of SGD on a batch; returns its outputs and feature kernel before the step.

        Raises:
            ValueError: As `fit`.
        """
        return self._step(x, self._begin(x, y, classes))

    def _step(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self.descent is not None:
            assert self.net is not None
            kernel = self._still_kernel(x)
            f = self._all(self.descent.step(self._read(x), targets, self.loss))
            self.net.steps += 1
            return f, kernel
        with self._tried(keep=True) as net:
            at = net.step(x, targets, self.loss)
            kernel = mean(at.features, at.features)
            self.limits.advance(net.program.lines[self._written :], net.state)
        found = self.limits.stack(at.f), self.limits.stack(kernel)
        self.limits.rename(net.restart())
        self._written = self._begun = len(net.program.lines)
        return found

    def predict(self, x: Tensor, *, each: bool = False) -> Tensor:
        """f(x) of shape (batch, *axes), the mean over replicates.

        Args:
            x: Inputs at which f is asked for.
            each: Whether to give the replicates one by one, (replicates, batch, *axes).

        Raises:
            ValueError: Before the first step, or for inputs of another shape or with NaN.
        """
        f = self._outputs(x)
        return f if each else f.mean(0)

    def feature_kernel(self, x1: Tensor, x2: Tensor) -> Float[Tensor, "n m"]:
        """E φ(h)φ(h') of the last hidden layer.

        Raises:
            ValueError: As `predict`.
        """
        self._check(x1)
        self._check(x2)
        return self._kernel(x1, x2).mean(0)

    def _kernel(self, x1: Tensor, x2: Tensor) -> Float[Tensor, "replicates n m"]:
        with self._tried(keep=False) as net:
            one, other = net.forward(x1), net.forward(x2)
            return self._glimpse(net, [mean(one.features, other.features)])[0]

    def _still_kernel(self, x: Tensor) -> Tensor:
        """The feature kernel of inputs, where features stay; sampled once for inputs that are those of before."""
        if self._still is None or self._still[0].shape != x.shape or not torch.equal(self._still[0], x):
            self._still = x.clone(), self._kernel(x, x)
        return self._still[1]

    def hidden(self, x: Tensor) -> list[Float[Tensor, "samples columns"]]:
        """Samples of Z^{h^1}, …, Z^{h^L}: rows are neurons, those of all replicates one below the other.

        Raises:
            ValueError: As `predict`.
        """
        self._check(x)
        with self._tried(keep=False) as net:
            return [values.flatten(0, 1) for values in self._glimpse(net, net.forward(x).h)]

    @property
    def ranks(self) -> list[tuple[int, int]]:
        """Of each hidden matrix, the directions met forwards and backwards, the most over replicates."""
        found = self.limits.of_each(lambda space: [(f.right.rank, f.left.rank) for f in space.families])
        return [(max(right for right, _ in fs), max(left for _, left in fs)) for fs in zip(*found, strict=True)]

    @property
    def missed(self) -> list[tuple[float, float]]:
        """Of each hidden matrix, forwards and backwards, what its bases lack of the vectors they were last asked for.

        It is the root mean square of these, in units of the vectors' norms, the largest over replicates: what
        ``tolerance`` left out. Outputs move by less than that share of them, in the runs of docs/results.md.
        """
        found = self.limits.of_each(lambda space: [(f.right.missed, f.left.missed) for f in space.families])
        return [(max(r for r, _ in fs) ** 0.5, max(le for _, le in fs) ** 0.5) for fs in zip(*found, strict=True)]

    def __repr__(self) -> str:
        return str(self._summary())

    def _repr_html_(self) -> str:
        return self._summary().html

    def _summary(self) -> Summary:
        space, steps, hidden = self.limits.spaces[0], [], []
        # Not of shared replicates: one process alone may print, and asks no other.
        if self.net is not None and self.descent is None and self.limits.processes.together is None and self.ranks:
            hidden = [name for name, kind in self.net.parameters.kinds.items() if kind.role == "hidden"]
        if self._records:
            sizes = (x.flatten(1).square().mean(1).sqrt() for x in (self.outputs, self.output_errors))
            columns = (x.tolist() for x in (self.losses, self.loss_errors, *sizes))
            steps = [StepSummary(*row) for row in zip(*columns, strict=True)]
        found = list(zip(hidden, self.ranks, self.missed, strict=True)) if hidden else []
        return Summary(
            f"{self.plan}, {self._replicates} × {space.n:,} samples", self.net.steps if self.net else 0, steps,
            {name: rank for name, rank, _ in found}, {name: missed for name, _, missed in found},
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Everything from which training goes on, as tensors: for `torch.save`.

        Raises:
            ValueError: Before the first step.
        """
        if self.net is None:
            fail("MuLimit.state_dict()", "asked for after a step", "no step")
        states = self.limits.of_each(lambda space: None if space.generator is None else space.generator.get_state())
        descent = {} if self.descent is None else {"descent": self.descent.state_dict()}
        return descent | {
            "network": self.plan.conventions(),
            "limit": self.limits.state_dict(self.net.named_state),
            "steps": self.net.steps,
            "width": self._outputs_known,
            "inputs": self._inputs,
            "records": [vars(record) for record in self._records],
            "generator": states if len(set(map(id, self._generators))) > 1 else states[0],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another, made with the same arguments, was.

        Raises:
            ValueError: If the state is of another network, or of other samples.
        """
        own, other = self.plan.conventions(), state["network"]
        if own != other:
            mine, theirs = next((a, b) for a, b in zip_longest(own, other, fillvalue="nothing more") if a != b)
            fail("load_state_dict(state)", f"of a network with {mine}", theirs)
        x = torch.zeros(1, *state["inputs"], dtype=torch.int64 if self._tokens else self.limits.spaces[0].dtype)
        net, descent = self.plan.made(x, state["width"]), self._descent(x, state["width"])
        net.remember(sorted(set(state["limit"][0]["values"]) - set(net.named_state)), state["steps"])
        net.restart()
        if descent is not None:
            descent.load_state_dict(state["descent"])
        self.limits.load_state_dict(state["limit"], net.named_state)
        self.net, self.descent, self._still = net, descent, None
        self._written = self._begun = len(net.program.lines)
        self._outputs_known, self._inputs = state["width"], tuple(state["inputs"])
        self._records = [FitRecord(**record) for record in state["records"]]
        set_states(self._generators, state["generator"])
        self._summarize()

    def _begin(self, x: Tensor, y: Tensor, classes: int | None) -> Tensor:
        """The targets as the loss takes them; the first time, begin the network's lines.

        Raises:
            ValueError: If inputs, targets or the loss are not what `fit` wants.
        """
        self._check(x)
        dtype = self.limits.spaces[0].dtype
        self.limits.processes.check_same({"y": y})
        targets, width = read_targets(self.plan.description, len(x), y, classes, self._outputs_known, self.loss, dtype)
        if self.net is None:
            self.net, self.descent = self.plan.made(x, width), self._descent(x, width)
            self._outputs_known, self._inputs = width, tuple(x.shape[1:])
            self._written, self._begun = 0, len(self.net.program.lines)
        return targets

    @property
    def _tokens(self) -> bool:
        return self.plan.description is not None and self.plan.description.input.integers

    def _check(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless inputs are what the network takes."""
        self.limits.processes.check_same({"x": x})
        check_inputs(self.plan.description, x, None if self.net is None else self._inputs)

    @contextmanager
    def _tried(self, keep: bool) -> Iterator[Any]:
        """The network; its lines and their values are as before if something fails inside, or is not to be kept.

        Raises:
            ValueError: Before the first step.
        """
        net = self.net
        if net is None:
            fail("MuLimit", "trained before it is asked for predictions", "no step", "call fit(x, y, steps)")
        mark, done = net.mark(), False
        try:
            yield net
            done = True
        finally:
            if not (done and keep):
                net.go_back(mark)

    def _outputs(self, x: Tensor) -> Float[Tensor, "replicates batch *axes"]:
        """f(x) in each replicate."""
        self._check(x)
        if self.descent is not None:
            return self._all(self.descent.outputs(self._read(x)))
        with self._tried(keep=False) as net:
            return self._glimpse(net, [net.forward(x).f])[0]

    def _descent(self, x: Tensor, outputs: int) -> KernelDescent | None:
        descent = self.plan.descent(x, outputs, self._replicates, self._generators[0], self.limits.spaces[0].dtype)
        if descent is not None and self.limits.processes.together is not None:
            fail("MuLimit(shared=...)", "False in the kernel regime", True, "whose one kernel leaves nothing to share")
        return descent

    def _read(self, x: Tensor) -> Tensor:
        assert self.net is not None
        return self.net.read(x)

    def _all(self, f: Tensor) -> Float[Tensor, "replicates batch *axes"]:
        """Each replicate's, of outputs that may be those of all."""
        return f.expand(self._replicates, *f.shape[1:])

    def _glimpse(self, net: Any, wanted: Sequence[Line]) -> list[Tensor]:
        """What lines come to that are not to be kept; initial ones stay."""
        lines, state = net.program.lines, net.state
        found = self.limits.glimpse(lines[self._written : self._begun], lines[self._begun :], state, wanted)
        self._written = self._begun
        return found

    def _summarize(self) -> None:
        """Set the attributes from the records."""
        if self._records:
            vars(self).update(summarized(self._records))
