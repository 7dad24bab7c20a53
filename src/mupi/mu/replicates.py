"""What draws the replicates of a limit, and which of them are whose."""

from collections.abc import Sequence
from typing import Any

import torch

from mupi.checks import fail
from mupi.distributed.processes import Processes

Generators = list[torch.Generator | None]
ARGUMENT = "MuLimit(generator=...)"


def generators(given: Any, replicates: int, processes: Processes) -> Generators:
    """One for each replicate: one for all, or those of a list, which processes that share them have from the first.

    Raises:
        ValueError: If there are not as many, or processes would share what one of them draws from.
    """
    if given is None or isinstance(given, torch.Generator):
        if processes.together is not None:
            fail(ARGUMENT, f"a list of {replicates}, one for each replicate, where processes share them", "one for all")
        return [given] * replicates
    found = list(given)
    if len(found) != replicates or len(set(map(id, found))) < replicates:
        fail(ARGUMENT, f"a list of {replicates} different ones, one for each replicate", f"{len(found)} of them")
    if processes.together is not None:
        if processes.together.size > replicates:
            must = f"at least {processes.together.size}, as many as there are processes that share them"
            fail("MuLimit(replicates=...)", must, replicates)
        set_states(found, processes.from_first(lambda: [g.get_state() for g in found]))
    return found


def own_share(found: Generators, processes: Processes) -> Generators:
    """Those of the replicates of this process."""
    return found if processes.together is None else found[processes.together.slice_of(len(found))]


def set_states(found: Generators, states: torch.Tensor | Sequence[torch.Tensor | None] | None) -> None:
    """Set them to states: of each, or of the one that all have."""
    every = [states] * len(found) if states is None or isinstance(states, torch.Tensor) else states
    for generator, state in zip(found, every, strict=True):
        if generator is not None and state is not None:
            generator.set_state(state)
