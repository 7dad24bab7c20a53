"""NumPy in: arrays become tensors, and NumPy's numbers Python's, at the door of what users call."""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from mupi.checks import fail
from mupi.compilers import with_own_code

Target = TypeVar("Target", bound=Callable[..., Any])


def takes_numpy(target: Target) -> Target:
    """Decorate a function, or a class with the public methods of its body, so that it takes NumPy's arrays and numbers.

    Arrays, and what converts to them as a pandas table does, become tensors: floating ones in the dtype and on the
    device of the module that a method belongs to, else as they are. Numbers become Python's. Both also inside of
    tuples, lists and dicts. Tensors and all else pass as they came.

    Raises:
        ValueError: When called with an array that is no numbers, naming the argument.
    """
    if isinstance(target, type):
        for name, member in list(vars(target).items()):
            if name.startswith("_") and name not in ("__init__", "__call__"):
                continue
            if inspect.isfunction(member):
                setattr(target, name, takes_numpy(member))
            elif isinstance(member, classmethod):
                setattr(target, name, classmethod(takes_numpy(member.__func__)))
        return cast(Target, target)

    @functools.wraps(target)
    def converted(*args: Any, **kwargs: Any) -> Any:
        if any(map(_is_foreign, args)) or any(map(_is_foreign, kwargs.values())):
            args, kwargs = _converted_call(target, args, kwargs)
        return target(*args, **kwargs)

    return cast(Target, with_own_code(converted, target))


def as_tensor(argument: str, array: Any, like: Tensor | None = None) -> Tensor:
    """A tensor of an array's numbers; a floating one in the dtype of ``like``, and on its device.

    It shares the array's memory where it can, as `torch.from_numpy`. A tensor is returned as it is.

    Raises:
        ValueError: If the entries are no real numbers.
    """
    if isinstance(array, Tensor):
        return array
    numbers = np.asarray(array)
    if numbers.dtype.kind not in "biuf":
        fail(argument, "numbers", f"an array of dtype {numbers.dtype}", "encode columns of text first")
    # torch takes native byte order, forward strides, writable memory, and no floats beyond float64.
    wide = np.dtype(np.float64) if numbers.dtype.kind == "f" and numbers.itemsize > 8 else numbers.dtype
    # A file that is mapped to memory stays on the disk, also where it is for reading only: inputs are not written to.
    mapped = isinstance(array, np.memmap)
    numbers = np.require(numbers, wide.newbyteorder("="), ["C"] if mapped else ["C", "W"])
    with warnings.catch_warnings():
        if mapped:
            warnings.simplefilter("ignore")  # torch's, that it cannot keep one from writing
        tensor = torch.from_numpy(numbers)
    if like is None:
        return tensor
    return tensor.to(like.device, like.dtype if tensor.is_floating_point() else None)


def _is_foreign(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_is_foreign, value))
    if isinstance(value, dict):
        return any(map(_is_foreign, value.values()))
    return isinstance(value, np.generic) or _is_array(value)


def _is_array(value: Any) -> bool:
    # The class is asked, since a proxy of a tracer says that it has every attribute. A tensor has this one too.
    return hasattr(type(value), "__array__") and not isinstance(value, Tensor)


def _converted_call(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """The arguments of a call of ``function``, converted."""
    bound = inspect.signature(function).bind(*args, **kwargs)
    owner = next(iter(args), None) if "self" in bound.arguments or "cls" in bound.arguments else None
    call = function.__qualname__.removesuffix(".__init__").removesuffix(".__call__")
    # A method may be inherited, and users know the class that they made.
    if owner is not None and not isinstance(owner, type):
        call = ".".join([type(owner).__name__, *call.split(".")[1:]])
    like = None
    # In its `__init__` a module has no parameters yet, nor a place for them.
    if isinstance(owner, nn.Module) and "_parameters" in vars(owner):
        like = next((p for p in owner.parameters() if p.is_floating_point()), None)
    for argument, value in bound.arguments.items():
        bound.arguments[argument] = _converted(f"{call}({argument}=...)", value, like)
    return bound.args, bound.kwargs


def _converted(argument: str, value: Any, like: Tensor | None) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if _is_array(value):
        return as_tensor(argument, value, like)
    if isinstance(value, dict) and _is_foreign(value):
        return {key: _converted(argument, entry, like) for key, entry in value.items()}
    if isinstance(value, (tuple, list)) and _is_foreign(value):
        entries = [_converted(argument, entry, like) for entry in value]
        # A named tuple takes its fields one by one.
        return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)
    return value
