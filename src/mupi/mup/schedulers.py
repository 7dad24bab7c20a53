"""Schedulers that take absolute numbers: the same for every group they would undo the ratios of the rates."""

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.swa_utils import SWALR

from mupi.checks import fail

LISTS: Mapping[type, tuple[str, ...]] = {
    lr_scheduler.OneCycleLR: ("max_lr",),
    lr_scheduler.CyclicLR: ("base_lr", "max_lr"),
    lr_scheduler.ReduceLROnPlateau: ("min_lr",),
    SWALR: ("swa_lr",),
}
"""Options that are rates, of schedulers that take a list of one for each group."""

NUMBERS: Mapping[type, tuple[str, ...]] = {
    lr_scheduler.CosineAnnealingLR: ("eta_min",),
    lr_scheduler.CosineAnnealingWarmRestarts: ("eta_min",),
}
"""Options that are rates, of schedulers that take one number for all groups."""

RATIOS = (
    lr_scheduler.LambdaLR, lr_scheduler.MultiplicativeLR, lr_scheduler.StepLR, lr_scheduler.MultiStepLR,
    lr_scheduler.ConstantLR, lr_scheduler.LinearLR, lr_scheduler.ExponentialLR, lr_scheduler.PolynomialLR,
)  # fmt: skip
"""Schedulers that multiply every group's own rate, and take no absolute number."""


def scheduler_args(scheduler: type, optimizer: Optimizer, options: dict[str, Any]) -> dict[str, Any]:
    """See `Parametrized.scheduler_args`."""
    groups = optimizer.param_groups
    if any("times" not in group for group in groups):
        must = "an optimizer of p.parameter_groups(...) or p.optimizer(...)"
        fail("scheduler_args(optimizer=...)", must, f"groups of {sorted(groups[0])}")
    if scheduler in LISTS:
        made = {
            name: [float(value) * group["times"] for group in groups] if name in LISTS[scheduler] else value
            for name, value in options.items()
        }
        if scheduler is lr_scheduler.ReduceLROnPlateau:
            # Changes of a rate that are smaller are not made: no group's may be but those of the base's would be.
            made["eps"] = options.get("eps", 1e-8) * min(1.0, *(group["times"] for group in groups))
        return made
    for name in NUMBERS.get(scheduler, ()):
        if options.get(name):
            hint = "take LambdaLR or SequentialLR of factors, or OneCycleLR"
            must = f"0, as {scheduler.__name__} takes one number for all groups"
            fail(f"scheduler_args({name}=...)", must, options[name], hint)
    if scheduler not in NUMBERS and scheduler not in RATIOS:
        known = ", ".join(kind.__name__ for kind in (*LISTS, *NUMBERS, *RATIOS))
        hint = "one that multiplies rates needs no help, one that sets them must have a list: lr·group['times']"
        fail("scheduler_args(scheduler)", f"one of {known}", getattr(scheduler, "__name__", scheduler), hint)
    return dict(options)
