"""Networks of one width from many initial values, trained side by side; and what their infinite ensemble does."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import pi
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from mupi.architecture.architecture import Architecture
from mupi.kernels import KernelDynamics
from mupi.parametrization import Roles
from mupi.statistics import NORMAL

CHUNK_ENTRIES = 2**26
"""Parameters of networks that are trained at a time: 0.3 GB in float32, and as much for gradients."""

SEEN = 1e-2
"""Directions of a covariance are compared where its eigenvalue is at least so much of the largest."""


@dataclass(frozen=True)
class Curve:
    """A regression problem: a function on the circle at a few angles, asked for at many.

    Attributes:
        inputs: (cos θ, sin θ) of the training angles, then of the others.
        angles: θ of the others.
        targets: At the training angles.
    """

    inputs: Float[Tensor, "both 2"]
    angles: Float[Tensor, " m"]
    targets: Float[Tensor, " n"]

    @classmethod
    def of(cls, points: int, grid: int) -> "Curve":
        """sin 2θ + cos(3θ)/2 at angles from −2.2 to 2.2, in steps that are not equal; asked for all around."""
        at = torch.linspace(-2.2, 2.2, points, dtype=torch.float64)
        at = at + 0.15 * torch.sin(5 * at)
        angles = torch.linspace(-pi, pi, grid + 1, dtype=torch.float64)[:-1]
        both = torch.cat([at, angles])
        return cls(torch.stack([both.cos(), both.sin()], 1), angles, (2 * at).sin() + (3 * at).cos() / 2)

    @property
    def X(self) -> Float[Tensor, "n 2"]:
        """Training inputs."""
        return self.inputs[: len(self.targets)]

    @property
    def new(self) -> Float[Tensor, "m 2"]:
        """The others."""
        return self.inputs[len(self.targets) :]


@dataclass(frozen=True)
class Training:
    """Full-batch gradient descent on Σ_i |f(x_i) − y_i|²/2n.

    Attributes:
        steps: After how many steps networks are looked at, increasing.
        lr: η, in the NTK parametrization that of all parameters.
        momentum: μ of `torch.optim.SGD`.
    """

    steps: tuple[int, ...]
    lr: float
    momentum: float = 0.0


def train_ensemble(
    arch: Architecture,
    width: int,
    seeds: Sequence[int],
    sigmas: tuple[float, float],
    curve: Curve,
    training: Training,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "seeds steps both"]:
    """The outputs at all inputs of ``curve``, of finite networks whose limit is ``arch.ntk(*sigmas)``; in float64.

    Networks are trained side by side by `torch.func.vmap`, as many at a time as `side_by_side` says.
    """
    chunks = side_by_side(arch, width, seeds, sigmas)
    return torch.cat([_train(_networks(arch, width, chunk, sigmas, dtype), curve, training, dtype) for chunk in chunks])


def side_by_side(
    arch: Architecture, width: int, seeds: Sequence[int], sigmas: tuple[float, float]
) -> list[Sequence[int]]:
    """Seeds in as many parts as memory is meant for."""
    (net,) = _networks(arch, width, seeds[:1], sigmas, torch.float32)
    step = max(1, CHUNK_ENTRIES // sum(p.numel() for p in net.parameters()))
    return [seeds[start : start + step] for start in range(0, len(seeds), step)]


def _networks(
    arch: Architecture, width: int, seeds: Sequence[int], sigmas: tuple[float, float], dtype: torch.dtype
) -> list[Any]:
    """One for each seed."""
    σ_w, σ_b = sigmas
    options = dict(
        parametrization=Roles.ntk(), fan_in_multiplier=True, input_scale=σ_w, hidden_scale=σ_w, output_scale=σ_w,
        bias_scale=σ_b / σ_w, sigma_b=1.0, dtype=dtype,
    )  # fmt: skip
    return [arch.finite(width, generator=_generator(width, seed), **options) for seed in seeds]


def _train(nets: list[Any], curve: Curve, training: Training, dtype: torch.dtype) -> Float[Tensor, "seeds steps both"]:
    """Some networks side by side."""
    names = {id(p): name for name, p in nets[0].named_parameters()}
    rates = {names[id(p)]: g["lr"] for g in nets[0].parameter_groups(training.lr) for p in g["params"]}
    stacked, buffers = stack_module_state(nets)
    parameters = {name: p.detach() for name, p in stacked.items()}
    skeleton, inputs, n = nets[0], curve.inputs.to(dtype), len(curve.targets)
    targets = curve.targets.to(dtype)

    def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(skeleton, (parameters, buffers), (x,))[:, 0]

    outputs = vmap(one, (0, 0, None))
    velocities = {name: torch.zeros_like(p) for name, p in parameters.items()}
    seen = []
    for t in range(training.steps[-1] + 1):
        if t in training.steps:
            seen.append(outputs(parameters, buffers, inputs).double())
        if t == training.steps[-1]:
            break
        for p in parameters.values():
            p.requires_grad_(True)
        # The networks share nothing, so that the gradient of the sum is that of each.
        loss = (outputs(parameters, buffers, inputs[:n]) - targets).square().sum() / (2 * n)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        for (name, p), gradient in zip(parameters.items(), gradients, strict=True):
            p.requires_grad_(False)
            velocities[name].mul_(training.momentum).add_(gradient)
            p.sub_(rates[name] * velocities[name])
    return torch.stack(seen, 1)


def _generator(width: int, seed: int) -> torch.Generator:
    """Of its own for each network."""
    return torch.Generator().manual_seed(1_000_003 * width + seed)


@dataclass(frozen=True)
class Bands:
    """Networks of one width after some steps, beside what theory says of them.

    Attributes:
        outputs: f of each network at the new inputs.
        followed: The limit of each network from its own start: f_0(x) + A(x)(Y − f_0(X)).
        mean: The infinite ensemble's mean.
        covariance: And its covariance.
    """

    outputs: Float[Tensor, "seeds m"]
    followed: Float[Tensor, "seeds m"]
    mean: Float[Tensor, " m"]
    covariance: Float[Tensor, "m m"]

    @property
    def std(self) -> Float[Tensor, " m"]:
        """The infinite ensemble's standard deviation."""
        return self.covariance.diagonal().clamp_min(0).sqrt()

    @property
    def inside(self) -> float:
        """At which share of inputs the networks' mean is within 1.96 standard errors of the ensemble's."""
        error = NORMAL * self.std / len(self.outputs) ** 0.5
        return float(((self.outputs.mean(0) - self.mean).abs() <= error).double().mean())

    @property
    def covered(self) -> float:
        """Which share of all outputs is within two standard deviations of the ensemble's mean; 95.4 % of Gaussians."""
        return float(((self.outputs - self.mean).abs() <= 2 * self.std).double().mean())

    @property
    def gaps(self) -> list[float]:
        """The root mean square distance of each network from its own limit."""
        return (self.outputs - self.followed).square().mean(1).sqrt().tolist()

    @cached_property
    def _standardized(self) -> Float[Tensor, "seeds directions"]:
        """Independent N(0, 1) variables, if theory holds: coordinates in the covariance's leading eigenvectors."""
        values, vectors = torch.linalg.eigh(self.covariance)
        kept = values >= SEEN * values[-1]
        return (self.outputs - self.mean) @ vectors[:, kept] / values[kept].sqrt()

    @property
    def directions(self) -> int:
        """In how many directions means and variances are compared."""
        return self._standardized.shape[1]

    @property
    def p_mean(self) -> float:
        """How likely means as far off are: χ² of seeds·Σ z̄²."""
        from scipy.stats import chi2  # here, as its import takes long

        z = self._standardized
        return float(chi2.sf(len(z) * float(z.mean(0).square().sum()), z.shape[1]))

    @property
    def p_variance(self) -> float:
        """How likely variances as far off are, to either side: χ² of Σ (z − z̄)²."""
        from scipy.stats import chi2

        z = self._standardized
        freedom = (len(z) - 1) * z.shape[1]
        total = float((z - z.mean(0)).square().sum())
        return 2 * float(min(chi2.sf(total, freedom), chi2.cdf(total, freedom)))

    @property
    def variance_ratio(self) -> float:
        """Variances over the ensemble's, the mean over directions."""
        return float(self._standardized.var(0).mean())

    def to_json(self) -> dict[str, Any]:
        """What is said of it."""
        names = ("inside", "covered", "directions", "p_mean", "p_variance", "variance_ratio", "gaps")
        return {name: getattr(self, name) for name in names}


def beside_theory(
    outputs: Float[Tensor, "seeds steps both"],
    curve: Curve,
    training: Training,
    kernels: tuple[Any, Any],
) -> list[Bands]:
    """What `train_ensemble` gave after each of the steps, beside the ensemble of infinite width.

    Args:
        outputs: Of the networks.
        curve: The problem.
        training: How they were trained.
        kernels: The tangent kernel, and that of the start.
    """
    tangent, start = kernels
    n, steps = len(curve.targets), list(training.steps)
    first = outputs[:, 0]
    momentum = training.momentum
    ensemble = KernelDynamics(tangent, initial=start).fit(curve.X, curve.targets)
    mean, covariance = ensemble.descend(curve.new, training.lr, steps, return_cov=True, momentum=momentum)
    single = KernelDynamics(tangent).fit(curve.X, (curve.targets - first[:, :n]).T)
    moved = single.descend(curve.new, training.lr, steps, momentum=momentum)
    return [Bands(outputs[:, i, n:], first[:, n:] + moved[i].T, mean[i], covariance[i]) for i in range(len(steps))]
