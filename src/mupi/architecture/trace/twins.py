"""A module made on the meta device, without memory for its weights, but with the numbers of what is no weight.

Masks, ranges and the like are part of what a network does; its initial weights are not. While the factory runs, every
tensor is on the meta device, and each small one whose numbers follow from the code has a *twin* on the CPU, on which
the same operations are done. Random numbers have no twins, so that the random state stays as it is.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mupi.torch_internals import ITEM, DispatchMode, factories, leaves_of, mapped, memory_of, schema

LARGEST_TWIN = 2**22
"""Entries; of larger ones the numbers are not known."""


class Unknown(Exception):
    """The numbers of a tensor without a twin were asked for."""


class MetaFactories(TorchFunctionMode):
    """torch.zeros and the like on the meta device, whatever they are told; what is made of given numbers stays.

    Nothing is moved to an accelerator: the factory of a module may do so, on a machine that has none.
    """

    made_of_numbers = frozenset({torch.tensor, torch.as_tensor, torch.asarray, torch.scalar_tensor})

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Call, with another device."""
        kwargs = dict(kwargs or {})
        if func in factories() and func not in self.made_of_numbers:
            kwargs["device"] = "meta"
        if func in (Tensor.cuda, Tensor.cpu):
            return args[0]
        if func is Tensor.to:
            here = args[0].device
            args = tuple(here if isinstance(a, str | torch.device) else a for a in args)
            kwargs = {name: here if name == "device" else a for name, a in kwargs.items()}
        return func(*args, **kwargs)


class Twins(DispatchMode):
    """Does with twins what is done on the meta device."""

    def __init__(self):
        super().__init__()
        self.known: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self.lost: dict[int, torch.UntypedStorage] = {}

    def twin(self, x: Tensor) -> Tensor | None:
        """The tensor with its numbers; None if they are not known."""
        if x.device.type != "meta":
            return None if memory_of(x) in self.lost else x
        pair = self.known.get(memory_of(x))
        if pair is None:
            return None
        empty = torch.empty(0, dtype=x.dtype, device="cpu")
        return empty.set_(pair[1], x.storage_offset(), x.shape, x.stride())

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Call on the meta device, and on the twins if there are all."""
        kwargs = dict(kwargs or {})
        given = [x for x in leaves_of((args, kwargs)) if isinstance(x, Tensor)]
        on_meta = any(x.device.type == "meta" for x in given) or torch.device("meta") == kwargs.get("device")
        if not on_meta:
            return func(*args, **kwargs)
        twins = {id(x): self.twin(x) for x in given}
        known = None not in twins.values() and torch.Tag.nondeterministic_seeded not in func.tags
        if func is ITEM:
            if not known:
                raise Unknown("the number in a tensor that is random, or too large to keep")
            return func(*(twins[id(x)] for x in given))
        moved = mapped(lambda x: x.to("meta") if isinstance(x, Tensor) else x, (args, kwargs))
        result = func(*moved[0], **moved[1])
        outputs = [x for x in leaves_of(result) if isinstance(x, Tensor) and x.device.type == "meta"]
        if known and all(x.numel() <= LARGEST_TWIN for x in outputs):
            swapped = mapped(lambda x: twins[id(x)] if isinstance(x, Tensor) else x, (args, kwargs))
            if "device" in swapped[1]:
                swapped[1]["device"] = torch.device("cpu")
            numbers = [x for x in leaves_of(func(*swapped[0], **swapped[1])) if isinstance(x, Tensor)]
            for x, number in zip(outputs, numbers, strict=True):
                self.keep(x, number)
        elif schema(func).is_mutable:
            for place, argument in enumerate(schema(func).arguments):
                x = args[place] if place < len(args) else kwargs.get(argument.name)
                if argument.alias_info is not None and argument.alias_info.is_write and isinstance(x, Tensor):
                    self.known.pop(memory_of(x), None)
                    if x.device.type != "meta":
                        self.lost[memory_of(x)] = x.untyped_storage()
        return result

    def keep(self, x: Tensor, number: Tensor) -> None:
        """Remember the numbers of a new tensor; one that shares its memory with a known one has them there."""
        if memory_of(x) in self.known:
            return
        if (number.stride(), number.storage_offset()) != (x.stride(), x.storage_offset()):
            number = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cpu").copy_(number)
        self.known[memory_of(x)] = x.untyped_storage(), number.untyped_storage()


@contextmanager
def random_states_kept() -> Iterator[None]:
    """A factory may seed the global generators, a module may draw; afterwards they are as before."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def made_without_memory(make_model: Callable[[int], nn.Module], width: int) -> tuple[Any, Twins]:
    """The module of a width on the meta device, and the twins of its tensors."""
    twins = Twins()
    with MetaFactories(), twins:
        return make_model(width), twins
