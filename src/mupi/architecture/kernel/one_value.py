"""Values that are functions of one Gaussian value, as x·σ(x), ReLU(x) + tanh(x) and φ(ψ(x)) are."""

from collections.abc import Callable, Sequence

from torch import Tensor

from mupi.activations import Activation, Identity
from mupi.architecture.kernel.forms import Linear
from mupi.architecture.kernel.sides import Times

Of = tuple[int, Callable[[Tensor], Tensor]]
"""The place of a Gaussian value, and a function of it."""


def composed(φ: Activation, inner: Of) -> Of:
    """φ of a function of a value."""
    h, ψ = inner
    return h, φ if isinstance(ψ, Identity) else lambda x: φ(ψ(x))


def multiplied(factors: Sequence[Of | None]) -> Of | None:
    """Their product, if they are of one value."""
    known = of_one(factors)
    if known is None:
        return None
    (h, φ), (_, ψ) = known
    return h, lambda x: φ(x) * ψ(x)


def added(form: Linear, read: Sequence[Of | None]) -> Of | None:
    """Their sum, if they are of one value, position by position."""
    known = of_one([read[which] for which, _ in form.terms])
    factors = [side.factor for _, side in form.terms if isinstance(side, Times)]
    if known is None or len(factors) < len(known):
        return None
    terms = [(factor, φ) for factor, (_, φ) in zip(factors, known, strict=True)]
    return known[0][0], lambda x: sum((factor * φ(x) for factor, φ in terms), 0 * x)


def of_one(functions: Sequence[Of | None]) -> list[Of] | None:
    """The functions, if they are all of one value."""
    known = [function for function in functions if function is not None]
    if len(known) < len(functions) or len({h for h, _ in known}) > 1:
        return None
    return known
