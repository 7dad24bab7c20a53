"""What users pass as an activation, as an `Activation`: PyTorch's own functions and modules in closed form."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mupi.activations.activation import Activation
from mupi.activations.error_function import GELU, Erf
from mupi.activations.function_check import check_function
from mupi.activations.kinks import piecewise_linear
from mupi.activations.polynomial import Identity, Polynomial
from mupi.activations.quadrature import Quadrature
from mupi.activations.rectifiers import Abs, LeakyReLU, ReLU
from mupi.activations.tanh import Tanh
from mupi.activations.trigonometric import Cos, Sin
from mupi.checks import fail

CLOSED_FORMS: list[tuple[Activation, list[Any]]] = [
    (ReLU(), [torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, functional.relu, functional.relu_]),
    (Abs(), [abs, torch.abs, torch.absolute, torch.Tensor.abs, torch.Tensor.absolute]),
    (Erf(), [torch.erf, torch.special.erf, torch.Tensor.erf]),
    (GELU(), [functional.gelu]),
    (LeakyReLU(0.01), [functional.leaky_relu, functional.leaky_relu_]),
    (Tanh(), [torch.tanh, torch.Tensor.tanh, functional.tanh]),
    (Sin(), [torch.sin, torch.Tensor.sin]),
    (Cos(), [torch.cos, torch.Tensor.cos]),
    (Identity(), [torch.positive, torch.Tensor.positive]),
    (Polynomial((0.0, -1.0)), [torch.neg, torch.negative, torch.Tensor.neg]),
    (Polynomial((0.0, 0.0, 1.0)), [torch.square, torch.Tensor.square]),
]
"""PyTorch's functions and methods, with their default arguments."""

BY_NAME = {
    type(φ).__name__.lower(): f"mupi.{type(φ).__name__}()"
    for φ in (ReLU(), Abs(), Erf(), GELU(), LeakyReLU(), Tanh(), Sin(), Cos(), Identity())
} | {"leaky_relu": "mupi.LeakyReLU()", "linear": "mupi.Identity()", "sigmoid": "torch.sigmoid"}
"""What to write for the names that other libraries take."""


def as_activation(
    activation: Activation | Callable[[Tensor], Tensor], argument: str = "as_activation(activation)"
) -> Activation:
    """An `Activation` of what a user passed.

    An `Activation` is returned as it is. Of other callables, PyTorch's functions, methods and modules, with their
    parameters and in `functools.partial`, become mupi's closed forms; functions that are found to be piecewise linear
    `PiecewiseLinear`, which is one too; and the rest `Quadrature`, which measures its error.

    Args:
        activation: An `Activation`, a function of tensors, or a module of PyTorch.
        argument: The argument as the caller wrote it, for messages.

    Raises:
        ValueError: If it is no function of single numbers: see `check_function`.
    """
    if isinstance(activation, Activation):
        return activation
    if not callable(activation):
        hint = "pass mupi.ReLU(), mupi.Tanh(), torch.sigmoid, …"
        if isinstance(activation, str) and (known := BY_NAME.get(activation.lower())):
            hint = f"pass {known}"
        fail(argument, "an activation or a function of tensors", repr(activation), hint)
    if isinstance(activation, type) and issubclass(activation, Activation):
        name = activation.__name__
        fail(argument, "an instance", f"the class mupi.{name}", f"write mupi.{name}(...)")
    known = closed_form(activation)
    if known is not None:
        return known
    check_function(argument, activation)
    return piecewise_linear(activation, argument) or Quadrature(activation)


def closed_form(function: Callable[[Tensor], Tensor]) -> Activation | None:
    """mupi's own form of a function or module of PyTorch, None where there is none."""
    known = _by_table(function)
    if known is None or not isinstance(function, nn.Module):
        return known
    # A subclass or a hook may have made another function of it.
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    return known if torch.allclose(function(x.clone()), known(x), rtol=1e-12, atol=1e-12) else None


def _by_table(function: Callable[[Tensor], Tensor]) -> Activation | None:
    match function:
        case nn.ReLU():
            return ReLU()
        case nn.LeakyReLU():
            return LeakyReLU(function.negative_slope)
        case nn.GELU() if function.approximate == "none":
            return GELU()
        case nn.Tanh():
            return Tanh()
        case nn.Identity():
            return Identity()
        case partial() if not function.args:
            return _of_partial(function.func, function.keywords)
    return next((φ for φ, functions in CLOSED_FORMS if any(function == f for f in functions)), None)


def _of_partial(function: Callable[..., Tensor], keywords: Mapping[str, Any]) -> Activation | None:
    """The closed form of a function with named arguments."""
    known, named = closed_form(function), {name: value for name, value in keywords.items() if name != "inplace"}
    if isinstance(known, LeakyReLU) and named.keys() == {"negative_slope"}:
        return LeakyReLU(float(named["negative_slope"]))
    if isinstance(known, GELU) and named == {"approximate": "none"} or not named:
        return known
    return None
