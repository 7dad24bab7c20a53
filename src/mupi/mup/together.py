"""`Together`: several optimizers that act as one, for schedulers, scalers and checkpoints."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mupi.checks import fail


class Together(Optimizer):
    """Optimizers of different parameters, stepped one after the other: Muon for matrices and AdamW for the rest.

    An ordinary `torch.optim.Optimizer`: its ``param_groups`` are theirs, the very same dictionaries, so that a schedule
    moves all rates; ``state_dict`` has the usual form.

    >>> one, two = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    >>> both = Together(torch.optim.SGD([one], lr=0.5), torch.optim.AdamW([two], lr=0.25))
    >>> (one.square() + two.square()).sum().backward()
    >>> both.step()
    >>> [group["lr"] for group in both.param_groups], one
    ([0.5, 0.25], Parameter containing:
    tensor([0.], requires_grad=True))

    Args:
        optimizers: At least one, of no parameter in common.

    Raises:
        ValueError: If there is none, or a parameter has two.
    """

    def __init__(self, *optimizers: Optimizer):
        if not optimizers or not all(isinstance(o, Optimizer) for o in optimizers):
            fail("Together(*optimizers)", "at least one torch.optim.Optimizer", optimizers)
        parameters = [p for o in optimizers for group in o.param_groups for p in group["params"]]
        if len(parameters) > len({id(p) for p in parameters}):
            fail("Together(*optimizers)", "optimizers of no parameter in common", "one that has two")
        self.optimizers = optimizers
        super().__init__([group for o in optimizers for group in o.param_groups], {})
        for o in optimizers:
            self.state.update(o.state)
        self._share()

    def _share(self) -> None:
        """Give each optimizer its part of the groups, and all of them the one state."""
        start = 0
        for o in self.optimizers:
            stop = start + len(o.param_groups)
            o.param_groups, o.state = self.param_groups[start:stop], self.state
            start = stop

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse: a group belongs to one of the optimizers.

        Raises:
            ValueError: Once it has been made.
        """
        if len(self.param_groups) == sum(len(o.param_groups) for o in self.optimizers):
            fail("Together.add_param_group(param_group)", "called on none", "a group", "add it to one before they join")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A step of each; ``closure``, if given, recomputes and returns the loss, once."""
        loss: Tensor | None = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for o in self.optimizers:
            o.step()
        return loss

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles have."""
        return {**super().__getstate__(), "optimizers": self.optimizers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """After a copy, a pickle, or a state dict: the parts have the new groups and the new state."""
        super().__setstate__({"state": defaultdict(dict), **state})
        self._share()
        for o in self.optimizers:
            o.__setstate__({"state": self.state, "param_groups": o.param_groups})
