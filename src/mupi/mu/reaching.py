"""Which weights SGD moves in the limit."""

from mupi.parametrization import Parametrization


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
