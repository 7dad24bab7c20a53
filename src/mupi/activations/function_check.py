"""Whether a callable is what an activation has to be: one function of one real number, applied to each coordinate."""

import warnings
from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from mupi.checks import fail

MUST = "a function of single numbers, applied to each coordinate"

Function = Callable[[Tensor], Tensor]


def check_function(argument: str, function: Function) -> None:
    """Raise unless a callable maps each number of a tensor by one fixed, finite, differentiable function.

    Raises:
        ValueError: For a class, a module with parameters or of another result in training than in evaluation, and
            for a callable that mixes coordinates, is random, changes shape, dtype or its argument, is not finite, or
            has another derivative than autograd says.
    """
    name = name_of(function)
    if isinstance(function, type):
        fail(argument, "an instance", f"the class {name}", f"write {name}()")
    if isinstance(function, nn.Module) and any(True for _ in function.parameters()):
        hint = "nothing would train them; write a function of their values, mupi.LeakyReLU(slope) for PReLU"
        fail(argument, "without parameters of its own", name, hint)
    x = 3 * torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # Neither what a random function draws nor what a module keeps may be left behind.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        _check_on(argument, name, deepcopy(function) if isinstance(function, nn.Module) else function, x)


def name_of(function: object) -> str:
    """A callable in a message."""
    return getattr(function, "__name__", "") or " ".join(repr(function).split())[:80]


def _check_on(argument: str, name: str, function: Function, x: Tensor) -> None:
    y = _call(argument, name, function, x)
    again = _call(argument, name, function, x)
    if not torch.equal(y, again) and not torch.isnan(y).any():
        fail(argument, MUST, f"{name}, which gives another result each time", "a random function has no kernel")
    if isinstance(function, nn.Module):
        for training in (True, False):
            if not _same(_call(argument, name, function.train(training), x), y):
                fail(argument, "the same in training and in evaluation", name, "take it out, or fix its slope")
    for part, expected in ((x.flatten(), y.flatten()), (x[:1], y[:1]), (x.T, y.T), (x[2:3, 3:4], y[2:3, 3:4])):
        if not _same(_call(argument, name, function, part), expected):
            fail(argument, MUST, f"{name}, which mixes coordinates or depends on where they are")
    single = _call(argument, name, function, x.float())
    if not torch.isfinite(y).all() or not torch.isfinite(single).all():
        fail(argument, "finite for every number", f"{name}, with NaN or infinity within ±10", "restrict its argument")
    if not torch.allclose(single.double(), y, rtol=1e-3, atol=1e-3):
        fail(argument, "the same function in float32 and float64", name)
    _check_slope(argument, name, function, x.flatten())


def _call(argument: str, name: str, function: Function, x: Tensor) -> Tensor:
    """function(x), checked to be of x's shape and dtype, and x to be as before."""
    given = x.clone()
    try:
        y = function(given)
    except Exception as error:
        # Whatever a user's function raises: the message says which argument brought it here.
        came = f"{name}, which raised {type(error).__name__} ({' '.join(str(error).split())[:120]})"
        fail(argument, f"{MUST} of a tensor", came)
    if not isinstance(y, Tensor) or (y.shape, y.dtype) != (x.shape, x.dtype):
        came = f"shape {tuple(y.shape)} and {y.dtype}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        fail(argument, f"{MUST}: shape and dtype stay", f"{name}, which makes {came} of {tuple(x.shape)} and {x.dtype}")
    if y.requires_grad:
        hint = "nothing would train them; detach them"
        fail(argument, "without parameters of its own", f"{name}, which depends on a tensor that requires grad", hint)
    if not torch.equal(given, x):
        fail(argument, "a function that leaves its argument as it is", f"{name}, which works in place")
    return y


def _check_slope(argument: str, name: str, function: Function, x: Tensor) -> None:
    """Autograd's derivative against central differences; a few points may be at kinks."""
    try:
        slope = slope_of(function)(x)
    except Exception as error:
        came = f"{name}, which raised {type(error).__name__} ({' '.join(str(error).split())[:120]})"
        fail(argument, "differentiable by autograd, also in torch.func.grad", came, "write it in torch operations")
    h = 1e-5
    difference = (function(x + h) - function(x - h)) / (2 * h)
    wrong = (slope - difference).abs() > 1e-4 * (1 + slope.abs() + difference.abs())
    if not torch.isfinite(slope).all() or wrong.double().mean() > 0.2:
        i = int(wrong.nonzero()[0]) if wrong.any() else 0
        came = f"{name}, whose slope at {x[i]:.3g} is {difference[i]:.3g} and by autograd {slope[i]:.3g}"
        fail(argument, "differentiable by autograd", came, "write it in torch operations, without detach")


def slope_of(function: Function) -> Function:
    """φ' by autograd."""

    def total(x: Tensor) -> Tensor:
        return function(x).sum()

    return torch.func.grad(total)


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal but for the last digits, which vectorised loops round differently."""
    return torch.allclose(a, b, rtol=1e-12, atol=1e-12, equal_nan=True)
