"""Families of optimizers: how a step scales with the gradient, and so which rates a wider network needs.

μP without multipliers (Yang et al. 2022, Tensor Programs V, table 8, by the abc symmetry): activations are Θ(1), the
gradient of a neuron is Θ(1/n), so that a parameter's gradient has entries of 1/r_out where its outputs are r_out times
as many as at the base, and 1 where they are not. A step must move Σ_in ΔW x by Θ(1): ΔW ~ 1/r_in. With an update of the
size of the gradient (SGD) the rate is r_out/r_in, with one of size 1 (Adam) it is 1/r_in, with one of spectral norm 1
(Muon) it is √(r_out/r_in). By role, these are the columns of the table.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import Any, ClassVar

import torch

from mupi.checks import fail
from mupi.optim.fans import Fans

HALF = Fraction(1, 2)

SUMS = ("hidden", "readout")
"""Roles of parameters that sum over an infinite axis."""

FEEDS = ("input", "hidden", "vector")
"""Roles of parameters that make a layer, an infinite axis."""

Options = Mapping[str, Any]


class Family(ABC):
    """How the step of an optimizer scales; exponents are of the width n, exact."""

    powers: ClassVar[tuple[int, int]] = (0, 0)
    """(p, q): the rate is lr·r_in^p·r_out^q, of the ratios of fan-in and fan-out to the base."""

    def rate(self, role: str) -> Fraction:
        """The exponent e: the rate at width n is lr·(n/n0)^e."""
        p, q = self.powers
        return Fraction(p * (role in SUMS) + q * (role in FEEDS))

    def rate_factor(self, fans: Fans, options: Options) -> float:
        """What lr is multiplied by, with the sizes that the parameter has.

        Args:
            fans: Sizes of the parameter.
            options: The optimizer's.
        """
        p, q = self.powers
        return float(fans.in_ratio**p * fans.out_ratio**q)

    def depth_factor(self, fans: Fans) -> float:
        """What lr is multiplied by as the network becomes deeper: the step that is wanted over that at rate 1.

        How the step goes with the gradient and with the parameter's own entries is what `update` says.

        Args:
            fans: Of the parameter.
        """
        depth, one, none = fans.depth, Fraction(1), Fraction(0)
        still = self.update(none, fans.role, none)
        by_gradient = float(self.update(one, fans.role, none) - still)
        by_size = float(self.update(none, fans.role, one) - still)
        return depth.step / (depth.gradient**by_gradient * depth.size**by_size)

    def factor(self, fans: Fans, options: Options) -> float:
        """What lr is multiplied by, of width and depth.

        Args:
            fans: Of the parameter.
            options: The optimizer's.
        """
        return self.rate_factor(fans, options) * self.depth_factor(fans)

    @abstractmethod
    def update(self, gradient: Fraction, role: str, std: Fraction = Fraction(0)) -> Fraction:
        """The exponent of the entries of a step whose rate is 1.

        Args:
            gradient: Exponent of the gradient's entries.
            role: The parameter's.
            std: Exponent of the parameter's own entries.
        """

    @staticmethod
    def gradient(role: str) -> Fraction:
        """The exponent of the gradient's entries in μP: −1 of what feeds a layer, as each neuron's share is 1/n."""
        return Fraction(-(role in FEEDS))

    def epsilon(self, role: str) -> Fraction:
        """The exponent of what is added to the gradient's size, where an optimizer adds something: the gradient's."""
        return self.gradient(role)

    def scaled(self, options: Options, fans: Fans, std: float) -> dict[str, Any]:
        """The options that are no pure numbers, at this width.

        Args:
            options: The optimizer's, as at the base.
            fans: The parameter's sizes.
            std: What the size of its entries is multiplied by.
        """
        return {}

    def of(self, options: Options) -> "Family":
        """The same, once an optimizer's options are known.

        Args:
            options: Those of a group.
        """
        return self

    def check(self, options: Options) -> None:  # noqa: B027 (most have none to refuse)
        """Refuse options that break the ratios of the rates.

        Raises:
            ValueError: If there is one.
        """


@dataclass(frozen=True)
class SGDLike(Family):
    """The step is proportional to the gradient, or to a sum of past ones: SGD with momentum, Nesterov's or none.

    Decay may be added to the gradient: lr·(g + wd·w) shrinks w by lr·wd.
    """

    powers = (-1, 1)

    def update(self, gradient: Fraction, role: str, std: Fraction = Fraction(0)) -> Fraction:
        """The gradient's."""
        return gradient

    def scaled(self, options: Options, fans: Fans, std: float) -> dict[str, Any]:
        """`torch.optim.ASGD`'s decay beside the rate; `mupi.SGD`'s clip, of a norm that grows as √(r_in/r_out)."""
        made: dict[str, Any] = {}
        if options.get("lambd"):
            made["lambd"] = options["lambd"] / self.factor(fans, options)
        if options.get("clip") is not None:
            made["clip"] = options["clip"] * sqrt(fans.in_ratio / fans.out_ratio) * fans.depth.gradient
        return made

    def check(self, options: Options) -> None:
        """See `Family.check`."""
        if options.get("clip") is not None and options.get("clip_jointly"):
            hint = "clip each parameter's own (clip_jointly=False), or p.clip_grad_norm_"
            fail("parameter_groups(clip_jointly=...)", "False with rates that differ by width", True, hint)


@dataclass(frozen=True)
class AdamLike(Family):
    """The step does not know the gradient's size: Adam and its kin, Lion and others that take signs.

    ε must shrink with the gradient, else it hides it in wide networks: each group gets its own. (Adam-atan2, with no ε,
    needs none of this; Everett et al. 2024, arXiv 2407.05872.)

    Args:
        decoupled: Whether decay is w ← w − lr·wd·w, beside the step. Added to the gradient it would be normalized with
            it, and have another size in each group: such decay is refused.
    """

    decoupled: bool = True

    powers = (-1, 0)

    def update(self, gradient: Fraction, role: str, std: Fraction = Fraction(0)) -> Fraction:
        """0."""
        return Fraction(0)

    def scaled(self, options: Options, fans: Fans, std: float) -> dict[str, Any]:
        """ε as the gradient; `torch.optim.Rprop`'s bounds of the step as the rate."""
        made: dict[str, Any] = {}
        if isinstance(options.get("eps"), float | int):
            made["eps"] = options["eps"] / float(fans.out_ratio) * fans.depth.gradient
        if options.get("step_sizes") is not None:
            factor = self.factor(fans, options)
            made["step_sizes"] = tuple(size * factor for size in options["step_sizes"])
        return made

    def check(self, options: Options) -> None:
        """See `Family.check`."""
        if options.get("weight_decay") and not (self.decoupled or options.get("decoupled_weight_decay")):
            hint = "use torch.optim.AdamW" + (
                ", or decoupled_weight_decay=True" if "decoupled_weight_decay" in options else ""
            )
            must = "0 where decay is added to the gradient and normalized with it, which no rate undoes"
            fail("parameter_groups(weight_decay=...)", must, options["weight_decay"], hint)
        if options.get("initial_accumulator_value"):
            must = "0, as the gradients that it is added to shrink with width"
            fail("parameter_groups(initial_accumulator_value=...)", must, options["initial_accumulator_value"])


@dataclass(frozen=True)
class AdafactorLike(Family):
    """The step is Adam's times the size of the parameter's own entries: `torch.optim.Adafactor` (arXiv 1804.04235).

    What is left for the rate is 1/(r_in·std ratio): r_in^{−½} of hidden weights, 1 of all others. The least size of
    entries, eps[1], scales as these. torch's rate is min(lr, 1/√t) in step t: from t = 1/lr² on it is 1/√t in every
    group, and the ratios are lost; so lr must be at most 1/√(number of steps).
    """

    def rate(self, role: str) -> Fraction:
        """See `Family.rate`: a readout's entries are 1/n already."""
        return -HALF if role == "hidden" else Fraction(0)

    def rate_factor(self, fans: Fans, options: Options) -> float:
        """See `Family.rate_factor`."""
        return float(fans.in_ratio) ** -0.5 if fans.role == "hidden" else 1.0

    def update(self, gradient: Fraction, role: str, std: Fraction = Fraction(0)) -> Fraction:
        """That of the parameter's own entries."""
        return std

    def scaled(self, options: Options, fans: Fans, std: float) -> dict[str, Any]:
        """eps[0], compared with squares of gradients (of vectors, with gradients), and eps[1], with the parameter."""
        first, least = options["eps"]
        smaller = fans.depth.gradient / float(fans.out_ratio)
        if first is None:
            first = torch.finfo(torch.float32).eps if smaller != 1 else None
        return {"eps": (first and first * smaller ** (2 if len(fans.shape) > 1 else 1), least * std)}


@dataclass(frozen=True)
class MuonLike(Family):
    """The step of a matrix has all singular values 1, times what the optimizer makes of the matrix's shape.

    A layer moves by Θ(1) for a spectral norm of √(out/in) (Yang, Simon & Bernstein 2023, arXiv 2310.17813). Hidden
    matrices only: all else goes to another optimizer, see `Parametrized.optimizer`.

    Args:
        adjust: The optimizer's own factor of a matrix with A rows and B columns: "original" √max(1, A/B), or
            "match_rms_adamw" .2·√max(A, B), as `torch.optim.Muon` has them; "none" 1; "spectral" √(A/B), which needs
            no other rates. None for what the option ``adjust_lr_fn`` says.
    """

    adjust: str | None = None

    def __post_init__(self):
        if self.adjust not in (None, "original", "match_rms_adamw", "none", "spectral"):
            must = '"original", "match_rms_adamw", "none", "spectral" or None'
            fail("MuonLike(adjust=...)", must, repr(self.adjust))

    def of(self, options: Options) -> "MuonLike":
        """With the factor that the optimizer has."""
        return self if self.adjust else MuonLike(options.get("adjust_lr_fn") or "original")

    def rate(self, role: str) -> Fraction:
        """0 of a hidden matrix, whose sides grow alike; −½ if the optimizer multiplies by the root of a side."""
        return -HALF if self.adjust == "match_rms_adamw" else Fraction(0)

    def rate_factor(self, fans: Fans, options: Options) -> float:
        """√(r_out/r_in) over the ratio of the optimizer's own factors."""
        adjust = self.of(options).adjust or "original"
        own = _muon_factor(adjust, *fans.shape) / _muon_factor(adjust, *fans.base_shape)
        return sqrt(fans.out_ratio / fans.in_ratio) / own

    def update(self, gradient: Fraction, role: str, std: Fraction = Fraction(0)) -> Fraction:
        """Entries of u vᵀ with |u| = |v| = 1, of both axes that are infinite, times the optimizer's own factor."""
        entries = -HALF * (role in SUMS) - HALF * (role in FEEDS)
        return entries + (HALF if self.adjust == "match_rms_adamw" else 0)

    def scaled(self, options: Options, fans: Fans, std: float) -> dict[str, Any]:
        """ε, which is compared with the norm of the gradient: entries 1/r_out, and all of them."""
        if not isinstance(options.get("eps"), float | int):
            return {}
        return {"eps": options["eps"] * sqrt(fans.in_ratio / fans.out_ratio) * fans.depth.gradient}


def _muon_factor(adjust: str, rows: int, columns: int) -> float:
    """The optimizer's own factor: see `MuonLike`."""
    match adjust:
        case "original":
            return sqrt(max(1.0, rows / columns))
        case "match_rms_adamw":
            return 0.2 * sqrt(max(rows, columns))
        case "spectral":
            return sqrt(rows / columns)
    return 1.0
