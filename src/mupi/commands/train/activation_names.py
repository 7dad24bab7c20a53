"""How an activation is written in commands and files: by a name, or by the weights of its kernel."""

import sys
from math import inf, sqrt

from mupi.activations import GELU, Abs, Activation, Cos, Erf, LeakyReLU, NormalizedPolynomial, ReLU, Sin, Tanh
from mupi.checks import fail
from mupi.nets import CENTERED

ACTIVATIONS: dict[str, Activation] = {
    "relu": ReLU(),
    "leaky-relu": LeakyReLU(),
    "abs": Abs(),
    "erf": Erf(),
    "gelu": GELU(),
    "tanh": Tanh(),
    "sin": Sin(),
    "cos": Cos(),
    # Of the ReLU's degrees 0, 1 and 2 with weights 1/2π, 1/4, 1/4π, the latter two at equal weight.
    "quadratic": NormalizedPolynomial.with_weights(0.0, 0.25, 0.25),
    "centred": CENTERED,
}

ACTIVATION_WORDS = "{" + ",".join(ACTIVATIONS) + "}|W0,W1,..."
"""How an activation is written."""

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def activation_name(φ: Activation) -> str:
    """What files and tables call it: its name, or the weights of its kernel."""
    names = (name for name, known in ACTIVATIONS.items() if known == φ)
    if (name := next(names, None)) is not None:
        return name
    if isinstance(φ, NormalizedPolynomial) and min(φ.coefficients) >= 0:
        return ",".join(map(_weight, φ.coefficients))
    return repr(φ)


def tell_of_kernel(φ: Activation) -> None:
    """Print what is understood by an activation that is written by weights, easily another than was meant."""
    if isinstance(φ, NormalizedPolynomial) and activation_name(φ) not in ACTIVATIONS:
        print(f"mupi: activation {activation_name(φ)} has the kernel {kernel_formula(φ)}", file=sys.stderr)


def kernel_formula(φ: NormalizedPolynomial) -> str:
    """Its kernel, by |b|, |g| and the cosine q of their angle.

    >>> kernel_formula(activation_of("0,0.25,4"))
    '|b||g|(0.25q + 4q²)'
    """
    terms = (
        f"{_weight(abs(coefficient))}{_power(degree)}"
        for degree, coefficient in enumerate(φ.coefficients)
        if coefficient
    )
    return f"|b||g|({' + '.join(terms)})"


def _power(degree: int) -> str:
    """Of q."""
    return "q" * degree if degree < 2 else "q" + str(degree).translate(SUPERSCRIPTS)


def _weight(coefficient: float) -> str:
    """The shortest square whose root is the coefficient: 2 of √2, and not 2.0000000000000004."""
    digits = (f"{coefficient**2:.{n}g}" for n in (15, 16, 17))
    return next(text for text in digits if sqrt(float(text)) == coefficient)


def activation_of(text: str) -> Activation:
    """The inverse of `activation_name`.

    Raises:
        ValueError: If there is no such activation.
    """
    if text in ACTIVATIONS:
        return ACTIVATIONS[text]
    must = f"weights such as 0,0.25,4 or one of {', '.join(ACTIVATIONS)}"
    try:
        weights = [float(weight) for weight in text.split(",")]
    except ValueError:
        fail("activation", must, repr(text))
    if not all(0 <= weight < inf for weight in weights) or not any(weights[1:]):
        # With the first alone, W0, φ would see of its inputs their size only, and hidden layers would learn nothing.
        fail("activation", "of weights that are finite, ≥ 0 and not all 0 after the first, of degree 0", repr(text))
    return NormalizedPolynomial.with_weights(*weights)
