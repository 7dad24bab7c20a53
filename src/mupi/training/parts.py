"""Whether the parts of a `Trainer` are what they are given as, and belong together."""

from inspect import signature
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mupi.checks import fail
from mupi.optim.known_optimizers import refuse_other_family
from mupi.training.augmentation import Augmentation


def check_parts(net: Any, optimizer: Any, schedule: Any, augmentation: Any) -> None:
    """Raise ``ValueError`` unless net, optimizer, schedule and augmentation do."""
    if not isinstance(net, nn.Module):
        fail("Trainer(net=...)", "a torch.nn.Module", type(net).__name__)
    own = {id(p) for p in net.parameters()}
    if len({p.device for p in net.parameters()}) != 1:
        fail("Trainer(net=...)", "a module with parameters, on one device", f"{len(own)} of them")
    if not isinstance(optimizer, Optimizer):
        fail("Trainer(optimizer=...)", "a torch.optim.Optimizer", type(optimizer).__name__)
    closure = signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        fail("Trainer(optimizer=...)", "one that steps without a closure", type(optimizer).__name__)
    if foreign := sum(id(p) not in own for group in optimizer.param_groups for p in group["params"]):
        fail(
            "Trainer(optimizer=...)", "of the net's own parameters", f"{foreign} others", "make it of net.parameters()"
        )
    for group in optimizer.param_groups:
        refuse_other_family(optimizer, group, "Trainer(optimizer=...)")
    if schedule is not None:
        if not isinstance(schedule, LRScheduler) or isinstance(schedule, ReduceLROnPlateau):
            hint = "use a callback for what depends on the record"
            fail(
                "Trainer(schedule=...)", "an LRScheduler that is stepped without a value", type(schedule).__name__, hint
            )
        if schedule.optimizer is not optimizer:
            fail("Trainer(schedule=...)", "of the same optimizer", "that of another")
    if augmentation is not None and not isinstance(augmentation, Augmentation):
        fail("Trainer(augmentation=...)", "a mupi.training.Augmentation", type(augmentation).__name__)


def check_generator(generator: Any) -> None:
    """Raise ``ValueError`` if another than the trainer draws from a generator: its state is all about the data."""
    own = isinstance(generator, torch.Generator) and generator is not torch.default_generator
    if generator is not None and not (own and generator.device.type == "cpu"):
        got = f"another {type(generator).__name__}"
        fail("Trainer(generator=...)", "a generator of its own, on the CPU", got, "use torch.Generator()")
