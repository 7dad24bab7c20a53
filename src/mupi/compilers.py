"""What stays outside of a compiler's graphs.

`torch.compiler.disable` says so too, but importing the compiler to say it takes seconds, in every program that imports
this library. Here it is said when there is a compiler.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

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

    call.__code__ = call.__code__.replace(co_name=function.__name__)  # see `mupi.arrays.takes_numpy`
    return call
