"""How every quantity of a network scales with width, predicted from its exponents."""

from dataclasses import dataclass
from fractions import Fraction

from mupi.parametrization.exponents import HALF, Exponents


@dataclass(frozen=True)
class Scalings:
    """Exponents e of Θ(n^e) for the root mean square of each quantity's coordinates.

    Attributes:
        hidden_init: |h^1|, …, |h^L| at the start.
        hidden_change: |Δh^1|, …, |Δh^L|.
        output_init: |f| at the start.
        output_change: |Δf|.
        feature_kernel_change: |ΔK| for K(ξ, ξ') = x^L(ξ)·x^L(ξ')/n.
    """

    hidden_init: tuple[Fraction, ...]
    hidden_change: tuple[Fraction, ...]
    output_init: Fraction
    output_change: Fraction
    feature_kernel_change: Fraction


def scalings(p: Exponents, steps: int = 2) -> Scalings:
    """Predict the exponents after ``steps`` of SGD with a bounded loss derivative.

    Size by size, u_l of h^l and x^l and v_l of ∂f/∂h^l, as exponents of n (sums over n independent terms give ½,
    over n aligned ones 1):

        u_1 = −(a_1+b_1),   u_l = u_{l−1} + ½ − (a_l+b_l),   v_L = −q,   v_{l−1} = v_l + ½ − (a_l+b_l),
        ΔW^l x^{l−1}:  −2a_l − c + v_l + [2u_{l−1} + 1 for l ≥ 2],
        Δh^l = max(ΔW^l x^{l−1}, W^l Δx^{l−1}),
        Δf   = max(ΔW^{L+1} x^L, W^{L+1} Δx^L) = max(1 − 2a_{L+1} − c + 2u_L, 1 − (a_{L+1}+b_{L+1}) + Δh^L),

    with q = a_{L+1}+b_{L+1} at the first step, and the smaller of that and 2a_{L+1}+c−u_L later, when the readout
    has been updated. For what is stable at the start this is −r_l and −r of Yang & Hu (2021) for every φ they treat;
    otherwise it holds for φ of linear growth (ReLU). For an unstable parametrization the exponents are those of the
    first step, to first order in the learning rate, whatever ``steps``: later ones have no limit to speak of.

    The feature kernel's change of first order through the initial readout averages n independent terms of mean zero,
    so it is u_L + Δh^L − ½; its second order is 2Δh^L; and from the second step on the readout's update, aligned
    with x^L, gives u_L + Δh^L with q = 2a_{L+1}+c−u_L. The largest counts: n^{−1} for NTP, as is known of its kernels.

    Args:
        p: The parametrization's exponents.
        steps: Number of steps of SGD, at least 1.
    """
    sizes = [a + b for a, b in zip(p.a, p.b, strict=True)]
    forward = [-sizes[0]]
    for size in sizes[1:-1]:
        forward.append(forward[-1] + HALF - size)

    initial, updated = p.initial_readout, p.readout_update - forward[-1]
    later = steps > 1 and p.stable
    change = _hidden_change(p, forward, min(initial, updated) if later else initial)
    kernel = [forward[-1] + change[-1] - HALF, 2 * change[-1]]
    if later:
        kernel.append(forward[-1] + _hidden_change(p, forward, updated)[-1])
    return Scalings(
        hidden_init=tuple(forward),
        hidden_change=tuple(change),
        output_init=forward[-1] + HALF - initial,
        output_change=max(1 - p.readout_update + 2 * forward[-1], 1 - initial + change[-1]),
        feature_kernel_change=max(kernel),
    )


def _hidden_change(p: Exponents, forward: list[Fraction], readout: Fraction) -> list[Fraction]:
    """Exponents of |Δh^1|, …, |Δh^L| when the readout's entries are Θ(n^{−readout})."""
    backward = [-readout]
    for a, b in zip(p.a[-2:0:-1], p.b[-2:0:-1], strict=True):
        backward.insert(0, backward[0] + HALF - a - b)
    change: list[Fraction] = []
    for layer, (a, b, v) in enumerate(zip(p.a[:-1], p.b[:-1], backward, strict=True)):
        own = v - 2 * a - p.c + (2 * forward[layer - 1] + 1 if layer else 0)
        passed_on = [change[-1] + HALF - a - b] if layer else []
        change.append(max([own, *passed_on]))
    return change
