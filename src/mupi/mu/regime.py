"""What an abc-parametrization makes of a network's training: which regime it is in, and which weights move."""

from dataclasses import dataclass

from mupi.architecture.description import Description
from mupi.architecture.exponents import place_layers
from mupi.checks import fail
from mupi.parametrization import Parametrization, Roles


@dataclass(frozen=True)
class Regime:
    """The exponents of a network's weights, in a parametrization that is stable and nontrivial for it.

    What the theorems of Yang & Hu (2021) say of the layers of a perceptron is said of roles: see `mupi.Roles`.

    Attributes:
        net: The network.
        parametrization: Of a perceptron with its hidden weights, or one that stands for all, or none.
        layers: Which layer of that each weight is, by its place.
    """

    net: Description
    parametrization: Parametrization
    layers: dict[int, int]

    @classmethod
    def of(cls, net: Description, given: Parametrization | Roles | None) -> "Regime":
        """That of a network.

        Raises:
            ValueError: If the parametrization is unstable or trivial, or does not say which exponents weights have.
        """
        p, layers = place_layers(net, given, "MuLimit")
        if p.depth > 1 and "hidden" not in {net.role(place) for place in layers}:
            p, layers = place_layers(net, Parametrization((p.a[0], p.a[-1]), (p.b[0], p.b[-1]), p.c))
        if not (p.learns_features or p.kernel_regime):
            fail("MuLimit(parametrization=...)", "stable and nontrivial", f"one that is not: {p.verdict}")
        return cls(net, p, layers)

    @property
    def in_kernel_regime(self) -> bool:
        """Whether features stay as they were at the start."""
        return self.parametrization.kernel_regime

    def moves(self, place: int) -> bool:
        """Whether the update of a weight that reads or makes a layer moves f in the limit."""
        return reaching(self.parametrization)[self.layers[place] - 1]

    @property
    def vectors_move(self) -> bool:
        """Whether the updates of biases, gains and shifts of layers move f in the limit: their exponents are W^1's."""
        return reaching(self.parametrization)[0]

    @property
    def still(self) -> frozenset[str]:
        """The names of weights whose updates do not move f in the limit."""
        return frozenset(
            self.net.nodes[place].owner for place, layer in self.layers.items() if layer and not self.moves(place)
        )


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
