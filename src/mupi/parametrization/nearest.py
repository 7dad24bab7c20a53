"""The smallest change of exponents that makes a network learn features."""

from fractions import Fraction

from mupi.parametrization.exponents import HALF, Exponents


def distance(p: Exponents, q: Exponents) -> Fraction:
    """Σ_l |Δa_l| + Σ_l |Δb_l| + |Δc|: by how much all exponents together are moved."""
    pairs = zip((*p.a, *p.b, p.c), (*q.a, *q.b, q.c), strict=True)
    return sum((abs(x - y) for x, y in pairs), Fraction(0))


def nearest_feature_learning(p: Exponents) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...], Fraction]:
    """The (a, b, c) nearest to ``p`` in `distance` that are stable, nontrivial and learn features.

    Those are the exponents with

        a_1+b_1 = 0,   a_l+b_l = ½,   min_l [2a_l + 1(l = 1)] = −c,   min(a_{L+1}+b_{L+1}, 2a_{L+1}+c) = 1:

    r = 0 makes stability's last two conditions "≥ 1" and nontriviality "one of them is 1". For a given new c the
    weights decouple: each goes to its line a+b = s at some a ≥ t(c), one hidden weight and one readout condition
    exactly. The least cost is piecewise linear in c, with the kinks listed in `_candidates`, so one of these is
    optimal. Among equally near ones the one with more maximally updated weights is returned, then the one that keeps
    more exponents. The shift θ moves both alike, so the answer commutes with `Parametrization.shift`.
    """
    best = None
    for c in _candidates(p):
        for tight in range(p.depth):
            for readout in _readouts(p, c):
                weights = [_hidden(p, layer, c, layer == tight) for layer in range(p.depth)] + [readout]
                q = Exponents(tuple(a for a, _ in weights), tuple(b for _, b in weights), c)
                kept = sum(x == y for x, y in zip((*p.a, *p.b, p.c), (*q.a, *q.b, q.c), strict=True))
                # The last entry only makes the choice among exact ties independent of the order of the search.
                key = (distance(p, q), -sum(q.maximally_updated), -kept, q.c - p.c)
                if best is None or key < best[0]:
                    best = key, q
    assert best is not None
    return best[1].a, best[1].b, best[1].c


def _hidden(p: Exponents, layer: int, c: Fraction, tight: bool) -> tuple[Fraction, Fraction]:
    """The nearest (a, b) of W^{layer+1} on its line a+b = s, with 2a + 1(layer = 0) ≥ −c, or = −c if ``tight``."""
    total, least = (HALF, -c / 2) if layer else (Fraction(0), (-c - 1) / 2)
    a = least if tight else max(p.a[layer], least)
    return a, total - a


def _readouts(p: Exponents, c: Fraction) -> list[tuple[Fraction, Fraction]]:
    """The nearest (a, b) of the readout with a+b = 1 and 2a+c ≥ 1, and the nearest with 2a+c = 1 and a+b ≥ 1."""
    least = (1 - c) / 2
    a = max(p.a[-1], least)
    return [(a, 1 - a), (least, max(p.b[-1], 1 - least))]


def _candidates(p: Exponents) -> set[Fraction]:
    """The values of c where the least cost may have a kink: c itself, and where a least a meets an old a or s − b."""
    kinks = {p.c}
    for layer, (a, b) in enumerate(zip(p.a[:-1], p.b[:-1], strict=True)):
        first = layer == 0
        kinks |= {-2 * end - first for end in (a, (0 if first else HALF) - b)}
    return kinks | {1 - 2 * end for end in (p.a[-1], 1 - p.b[-1])}
