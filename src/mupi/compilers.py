"""Compilers: what computes as a network does in fused loops, and what stays outside of a compiler's graphs.

`torch.compiler.disable` says the latter too, but importing the compiler to say it takes seconds, in every program that
imports this library. Here it is said when there is a compiler.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import nn

from mupi.torch_internals import allow_variants

P = ParamSpec("P")
R = TypeVar("R")


def outside_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """Make `torch.compile` leave its graph for a function, and for all that it calls, as `torch.compiler.disable` does.

    As long as nothing in the process has imported the compiler, no frame can be compiled and there is nothing to
    disable. A compiler that traces the wrapper finds the disabled function in it, and leaves its graph there.
    """
    disabled: Any = None

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal disabled
        if disabled is None:
            if "torch._dynamo" not in sys.modules:
                return function(*args, **kwargs)
            disabled = torch.compiler.disable(function, recursive=True)
        return disabled(*args, **kwargs)

    return cast(Callable[P, R], with_own_code(call, function))


MOST_VARIANTS = 256
"""That a compiler makes of one piece of code, where 8 is its default: of a layer's there is one for each layer, in
training and in tests, of whole batches and of the last. What is beyond is computed as without a compiler."""


def fuse(net: nn.Module) -> None:
    """Have calls of a network, also by the wrapper of several processes, compute in loops that torch.compile fuses.

    Args:
        net: Any; its batches should have few sizes, for each of which all is compiled.
    """
    allow_variants(MOST_VARIANTS)
    net.compile(dynamic=False)


def with_own_code(wrapper: Any, function: Callable) -> Any:
    """The wrapper, with a code object that no other wrapper has.

    By code objects compilers keep what they have compiled, a few variants of each. All wrappers that one decorator
    makes would share one, and after the first few functions none would be compiled any more.

    Args:
        wrapper: Is changed.
        function: What it calls, whose name the code gets.
    """
    wrapper.__code__ = wrapper.__code__.replace(co_name=function.__name__)
    return wrapper
