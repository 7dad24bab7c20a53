"""What is wrong in words: which parameter or line, what it does, what it should do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Any

from mupi.architecture import Attention, Node
from mupi.mup.measured import Run
from mupi.mup.prediction import Effect, Prediction
from mupi.mup.sizes import HALF, NONE, ONE, ZERO, Exponent

NEAR = 0.3
"""Of the gradient's size: an ε larger than this changes Adam's steps."""


@dataclass(frozen=True)
class Cause:
    """What is wrong.

    Attributes:
        kind: attention, start, rate, tied, epsilon, or decay.
        part: The parameter or node.
        where: File and line; empty where it is not known.
        what: What it does.
        remedy: What it should do.
    """

    kind: str
    part: str
    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.part}{f' ({self.where})' if self.where else ''}: {self.what}; {self.remedy}"


def causes(
    prediction: Prediction | None,
    compared: Sequence[Any],
    stds: Mapping[str, Exponent],
    rates: Mapping[str, Exponent],
    widths: Sequence[int],
    runs: Sequence[Sequence[Run]],
    tolerance: float,
) -> tuple[tuple[Cause, ...], tuple[str, ...]]:
    """All that is wrong, and what is worth a note.

    Args:
        prediction: The predicted exponents, if there are.
        compared: The measured exponents beside them (`mupi.mup.check_result.Compared`).
        stds: Exponents of initial entries.
        rates: Of rates.
        widths: The widths.
        runs: What was measured at each.
        tolerance: How far a measured exponent may be from the predicted one.
    """
    found = list(_decay(widths, runs))
    if prediction is not None:
        found += [*_attention(prediction), *_weights(prediction, stds, rates)]
    slow = {c.law.part for c in compared if c.law.quantity == "|Δw|" and not c.agrees(tolerance)}
    hidden = list(_epsilon(widths, runs, prediction))
    found += [cause for cause in hidden if cause.part in slow]
    return tuple(found), tuple(str(cause) for cause in hidden if cause not in found)


def power(e: Exponent) -> str:
    """n^e in print."""
    if e == ZERO:
        return "0"
    return f"n^{Fraction(e)}" if Fraction(e).denominator == 1 else f"n^({Fraction(e)})"


def _attention(prediction: Prediction) -> Iterator[Cause]:
    """Logits that grow as q and k learn to agree, though they do not at the start."""
    for node in prediction.arch.nodes:
        operation = node.operation
        if isinstance(operation, Attention) and operation.exponent > -1:
            e = prediction.by_name["|Δq·k|", node.name].last
            if e <= 0:
                continue
            c = "" if operation.factor in (None, 1.0) else f"{operation.factor:.4g}·"
            yield Cause(
                "attention", node.name, node.source,
                f"logits {c}d^({Fraction(operation.exponent)})·⟨q, k⟩ of a head of size d change by {power(e)}: "
                "once trained, q and k agree in all d coordinates",
                "multiply by 1/d, with a constant if you like, rather than by 1/√d",
            )  # fmt: skip


def _weights(prediction: Prediction, stds: Mapping[str, Exponent], rates: Mapping[str, Exponent]) -> Iterator[Cause]:
    """Weights that start too large, and those whose rate is too large or too small."""
    nodes = {node.name: node for node in prediction.arch.nodes}
    roles = {place.name: prediction.arch.role(i) for i, place in enumerate(prediction.arch.nodes)}
    uses = {e.parameter: [o for o in prediction.effects if o.parameter == e.parameter] for e in prediction.effects}
    started: list[Cause] = []
    for effect in prediction.effects:
        role, e = roles[effect.node], stds[effect.parameter]
        if effect.node not in prediction.grown:
            continue
        tied = len({roles[o.node] for o in uses[effect.parameter]}) > 1
        if role == "readout" and e != ZERO and e + ONE > effect.wanted:
            excess = e + ONE - effect.wanted
            what = f"its initial entries ~ {power(e)} turn features that have moved into an output of {power(excess)}"
            if tied:
                remedy = "it is tied to an embedding: multiply the logits by base width/n"
                started.append(Cause("tied", effect.parameter, nodes[effect.node].source, what, remedy))
            else:
                remedy = (
                    f"a readout starts with entries ~ {power(effect.wanted - ONE)}, or at zero: its 1/n is forgotten"
                )
                started.append(Cause("start", effect.parameter, nodes[effect.node].source, what, remedy))
        elif role in ("input", "hidden") and effect.start > max(effect.wanted, NONE):
            right = (-HALF if role == "hidden" else NONE) + effect.wanted
            if e != ZERO and e > right:
                what = f"its values start as {power(effect.start)}, from entries ~ {power(e)}"
                started.append(Cause("start", effect.parameter, nodes[effect.node].source, what,
                                     f"let them start ~ {power(right)}"))  # fmt: skip
    yield from started
    logits = any(law.quantity == "|Δq·k|" for law in prediction.growing)
    lazy = {e.parameter for e in prediction.lazy}
    # What starts too large, and attention, make gradients too large everywhere: then rates are not to blame.
    for name, own in uses.items():
        if name in prediction.frozen:
            continue
        worst = max(own, key=lambda o: o.own - o.wanted)
        blind = name in prediction.blind
        if name in lazy or (
            worst.own > worst.wanted and (_local(worst, roles, rates) if blind else not (started or logits))
        ):
            yield _rate(worst, nodes, rates[name], tied=len({roles[o.node] for o in own}) > 1)


def _local(effect: Effect, roles: Mapping[str, str], rates: Mapping[str, Exponent]) -> bool:
    """Whether a step of fixed size is too large by itself, rather than because what the weight reads has grown."""
    fan = ONE if roles[effect.node] in ("hidden", "readout") else NONE
    return rates[effect.parameter] + fan > effect.wanted


def _rate(effect: Effect, nodes: Mapping[str, Node], rate: Exponent, tied: bool) -> Cause:
    excess = effect.own - effect.wanted
    what = f"a rate ~ {power(rate)} moves what it makes by {power(effect.own)}"
    if effect.own == ZERO:
        remedy = "no gradient reaches it in these steps"
    elif effect.wanted != 0:
        remedy = f"it should by {power(effect.wanted)}, so by a rate ~ {power(rate - excess)}"
    else:
        remedy = f"it should by n^0, so by a rate ~ {power(rate - excess)}"
    if tied:
        remedy += " (a tied embedding takes the rate of an embedding)"
    return Cause("tied" if tied else "rate", effect.parameter, nodes[effect.node].source, what, remedy)


def _epsilon(widths: Sequence[int], runs: Sequence[Sequence[Run]], prediction: Prediction | None) -> Iterator[Cause]:
    """Adam's ε that is no longer small beside gradients, which shrink with width."""
    for name, epsilon in runs[-1][0].epsilons.items():
        if prediction is not None and (name in prediction.idle or name in prediction.frozen):
            continue
        sizes = [max(run.sizes["|∇w|", name] for run in at) for at in runs]
        last, own = sizes[-1], runs[-1][0].epsilons[name]
        if last > 0 and isfinite(last) and own > NEAR * last:
            what = (
                f"Adam's ε = {epsilon:.2g} is {own / last:.2g} times the size of its gradient at width {widths[-1]}, "
                f"{last:.2g} (at width {widths[0]} {sizes[0]:.2g}), and hides it"
            )
            yield Cause("epsilon", name, "", what, "let ε shrink as the gradient does, as p.parameter_groups does")


def _decay(widths: Sequence[int], runs: Sequence[Sequence[Run]]) -> Iterator[Cause]:
    """Decay that shrinks or grows with the rate: lr·weight_decay should be the same at every width."""
    for name, first in runs[0][0].decays.items():
        last = runs[-1][0].decays.get(name, first)
        if first and abs(last / first - 1) > 0.01:
            rates = runs[0][0].rates[name], runs[-1][0].rates[name]
            yield Cause(
                "decay", name, "",
                f"lr·weight_decay is {first:.2g} at width {widths[0]} and {last:.2g} at width {widths[-1]}, as the "
                f"decay is multiplied by a rate of {rates[0]:.2g} and {rates[1]:.2g}",
                "keep lr·weight_decay, as p.parameter_groups does",
            )  # fmt: skip
