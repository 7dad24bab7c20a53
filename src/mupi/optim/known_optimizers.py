"""Which optimizers are of which family: those of torch and of mupi, what is derived from them, and those refused."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from mupi.checks import fail
from mupi.optim.families import AdafactorLike, AdamLike, Family, MuonLike, SGDLike
from mupi.optim.sgd import SGD

FAMILIES: dict[type[Optimizer], Family] = {
    SGD: SGDLike(),
    torch.optim.SGD: SGDLike(),
    torch.optim.ASGD: SGDLike(),
    torch.optim.AdamW: AdamLike(),
    torch.optim.Adam: AdamLike(decoupled=False),
    torch.optim.NAdam: AdamLike(decoupled=False),
    torch.optim.RAdam: AdamLike(decoupled=False),
    torch.optim.Adamax: AdamLike(decoupled=False),
    torch.optim.RMSprop: AdamLike(decoupled=False),
    torch.optim.Adagrad: AdamLike(decoupled=False),
    torch.optim.SparseAdam: AdamLike(),
    torch.optim.Rprop: AdamLike(),
    torch.optim.Adafactor: AdafactorLike(),
    **({torch.optim.Muon: MuonLike()} if hasattr(torch.optim, "Muon") else {}),  # PyTorch has it from 2.9 on
}
"""Those of torch, and of mupi. In its first steps RAdam takes the gradient itself, as SGD does: layers stand still."""

REFUSED: dict[type[Optimizer], str] = {
    torch.optim.Adadelta: "whose ε sets the size of its steps and hides small gradients at once",
    torch.optim.LBFGS: "which takes one group of parameters",
}
"""Those without rates that would do, and why."""


def check_class(argument: str, optimizer: Any) -> None:
    """Raise ``ValueError`` for an optimizer that is made already, where its class is to make one for each network."""
    if isinstance(optimizer, Optimizer):
        kind = type(optimizer).__name__
        fail(argument, "a class of optimizers", f"an instance of {kind}", f"pass {kind} itself")


def family_of(optimizer: type[Optimizer] | Optimizer | Family, given: Family | None = None) -> Family:
    """The family of an optimizer, by its class or the nearest one that it is derived from.

    >>> family_of(torch.optim.AdamW)
    AdamLike(decoupled=True)

    Args:
        optimizer: A class, an optimizer, or a family itself.
        given: The family, where the caller knows it.

    Raises:
        ValueError: If it is not known, or has no rates that would do.
    """
    if given is not None:
        if not isinstance(given, Family):
            fail("parameter_groups(family=...)", "a mupi.mup.Family, such as mupi.mup.AdamLike()", repr(given))
        return given
    if isinstance(optimizer, Family):
        return optimizer
    kind = optimizer if isinstance(optimizer, type) else type(optimizer)
    for base in kind.__mro__:
        if base in REFUSED:
            fail("parameter_groups(optimizer)", "one of rates by group", f"{kind.__name__}, {REFUSED[base]}",
                 "use torch.optim.AdamW")  # fmt: skip
        if base in FAMILIES:
            return FAMILIES[base]
    hint = "pass family=mupi.mup.SGDLike(), AdamLike() (Lion, signs), AdafactorLike() or MuonLike()"
    fail("parameter_groups(optimizer)", "an optimizer whose steps mupi knows", kind.__name__, hint)


def refuse_other_family(optimizer: Optimizer, group: Mapping[str, Any], argument: str) -> None:
    """Raise ``ValueError`` if a group says that its rates are for another family than the optimizer's.

    Args:
        optimizer: The optimizer; one that mupi does not know passes, and one made of several answers for its own.
        group: One of its groups; one that says nothing passes.
        argument: What the message names.
    """
    known = next((FAMILIES[base] for base in type(optimizer).__mro__ if base in FAMILIES), None)
    family = group.get("family")
    if known is not None and family is not None and family != type(known).__name__:
        must = f"of groups whose rates are for {type(known).__name__} optimizers, as {type(optimizer).__name__} is"
        fail(argument, must, f"groups for {family}", "name the optimizer to parameter_groups")
