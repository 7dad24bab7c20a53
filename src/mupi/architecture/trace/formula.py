"""A function of one number as data: what a coordinatewise chain of PyTorch's operations computes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mupi.activations import Activation, Identity, LeakyReLU, Polynomial, as_activation

aten = torch.ops.aten


@dataclass(frozen=True)
class Formula:
    """A function of x, made of PyTorch's operations; itself a function of tensors, that can be compared and pickled.

    Attributes:
        operation: Name of the aten overload, such as ``silu.default``; empty for x itself.
        arguments: Formulas and numbers.
        options: Named arguments.
    """

    operation: str = ""
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        """The value at x."""
        if not self.operation:
            return x
        name, overload = self.operation.split(".")
        given = (argument(x) if isinstance(argument, Formula) else argument for argument in self.arguments)
        return getattr(getattr(aten, name), overload)(*given, **dict(self.options))

    @property
    def __name__(self) -> str:
        """As it is written."""
        if not self.operation:
            return "x"
        parts = [a.__name__ if isinstance(a, Formula) else f"{a:g}" for a in self.arguments if a is not None]
        name = self.operation.split(".")[0]
        if name in SIGNS and len(parts) == 2 and not self.options:
            return f"({SIGNS[name].join(parts)})"
        return f"{name}({', '.join([*parts, *(f'{option}={value}' for option, value in self.options)])})"


SIGNS = {"add": " + ", "sub": " − ", "mul": "·", "div": "/", "pow": "^"}

X = Formula()

FUNCTIONS: dict[str, tuple[tuple[float, ...], Callable[[Tensor], Tensor]]] = {
    "relu.default": ((), functional.relu),
    "abs.default": ((), torch.abs),
    "erf.default": ((), torch.erf),
    "tanh.default": ((), torch.tanh),
    "sin.default": ((), torch.sin),
    "cos.default": ((), torch.cos),
    "sigmoid.default": ((), torch.sigmoid),
    "silu.default": ((), functional.silu),
    "elu.default": ((1.0,), functional.elu),
    "celu.default": ((1.0,), functional.celu),
    "selu.default": ((), functional.selu),
    "softplus.default": ((1.0, 20.0), functional.softplus),
    "relu6.default": ((), functional.relu6),
    "hardtanh.default": ((-1.0, 1.0), functional.hardtanh),
    "hardswish.default": ((), functional.hardswish),
    "hardsigmoid.default": ((), functional.hardsigmoid),
    "mish.default": ((), functional.mish),
    "log_sigmoid.default": ((), functional.logsigmoid),
}
"""PyTorch's own functions by their overloads, with the numbers that they have by default."""

NAMES = """
relu abs erf erfc tanh sin cos sigmoid silu elu celu selu softplus relu6 hardtanh hardswish hardsigmoid mish log_sigmoid
gelu leaky_relu neg square exp expm1 log1p atan asinh clamp clamp_min clamp_max hardshrink softshrink threshold sinc
sqrt rsqrt reciprocal sgn sign special_erf special_expit pow maximum minimum gt lt ge le logical_not logical_and
"""

COORDINATEWISE = frozenset(NAMES.split())
"""Operations on each coordinate by itself; what is no activation (√x, 1/x) is refused when it becomes one."""


@lru_cache(256)
def closed(formula: Formula) -> Activation | None:
    """The activation of a function that PyTorch has itself, of x and no other formula; None for others."""
    if not formula.operation:
        return Identity()
    polynomial = coefficients(formula)
    if polynomial is not None:
        return Polynomial(polynomial)
    if formula.arguments[0] != X or any(isinstance(a, Formula) for a in formula.arguments[1:]):
        return None
    numbers = tuple(a for a in formula.arguments[1:] if a is not None)
    if formula.operation == "leaky_relu.default":
        return LeakyReLU(float(numbers[0])) if numbers else LeakyReLU(0.01)
    if (
        formula.operation == "clamp.default"
        and formula.arguments[1:] == (0,)
        or formula.operation == "clamp_min.default"
    ):
        return as_activation(functional.relu) if numbers == (0,) else None
    named = dict(formula.options)
    if formula.operation == "gelu.default" and named.get("approximate", "none") == "none":
        return as_activation(functional.gelu)
    defaults, function = FUNCTIONS.get(formula.operation, ((), None))
    if function is None or named or numbers not in ((), defaults):
        return None
    return as_activation(function)


def coefficients(formula: Formula) -> tuple[float, ...] | None:
    """Those of a polynomial, c₀ first; None for another function."""
    if not formula.operation:
        return 0.0, 1.0
    name = formula.operation.split(".")[0]
    parts = [coefficients(a) if isinstance(a, Formula) else (float(a),) for a in formula.arguments[:2] if a is not None]
    if None in parts or formula.options:
        return None
    known = [p for p in parts if p is not None]
    if name in ("add", "sub", "rsub") and len(known) == 2:
        signs = {"add": (1, 1), "sub": (1, -1), "rsub": (-1, 1)}[name]
        length = max(map(len, known))
        padded = [(*p, *(0.0,) * (length - len(p))) for p in known]
        return tuple(signs[0] * a + signs[1] * b for a, b in zip(*padded, strict=True))
    if name == "mul":
        return convolved(*known)
    if name == "div" and len(known[1]) == 1:
        return tuple(a / known[1][0] for a in known[0])
    if name == "neg":
        return tuple(-a for a in known[0])
    if name == "square":
        return convolved(known[0], known[0])
    if name == "pow" and known[1][0] in range(2, 9) and not isinstance(formula.arguments[1], Formula):
        return raised(known[0], int(known[1][0]))
    return None


def convolved(p: tuple[float, ...], q: tuple[float, ...]) -> tuple[float, ...]:
    """The coefficients of a product."""
    result = [0.0] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            result[i + j] += a * b
    return tuple(result)


def raised(p: tuple[float, ...], power: int) -> tuple[float, ...]:
    """The coefficients of a power."""
    result = p
    for _ in range(power - 1):
        result = convolved(result, p)
    return result
