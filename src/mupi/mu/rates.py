"""The rates of SGD, and which weights they move in the limit."""

from dataclasses import dataclass

from mupi.parametrization import Parametrization


@dataclass(frozen=True)
class Rates:
    """SGD: v ← momentum·v + gradient + weight_decay·w, w ← w − lr·v, with multipliers of lr by role.

    Attributes:
        lr: Learning rate η.
        momentum: Momentum μ.
        weight_decay: λ; not multiplied, so that every parameter shrinks by 1 − ηλ a step.
        nesterov: Whether the step is along gradient + momentum·v.
        first: Multiplier for the input weights.
        last: Multiplier for readouts.
        bias: Multiplier for biases, gains and shifts.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    first: float = 1.0
    last: float = 1.0
    bias: float = 1.0

    def of(self, role: str) -> float:
        """The learning rate of a role."""
        factors = {"input": self.first, "readout": self.last, "vector": self.bias, "finite": self.bias}
        return self.lr * factors.get(role, 1.0)


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
