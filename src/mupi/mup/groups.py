"""Parameter groups: rate, decay and ε of each parameter, for the family of an optimizer."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from inspect import Parameter, signature
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mupi.checks import fail, non_negative
from mupi.mup.plan import Planned
from mupi.optim.families import Family, MuonLike
from mupi.optim.known_optimizers import family_of
from mupi.parametrization.roles import ROLES

NOT_GIVEN = ("params", "lr", "self")


def defaults_of(optimizer: type[Optimizer] | Family) -> dict[str, Any] | None:
    """The options of an optimizer and their defaults; None if any may be given."""
    if isinstance(optimizer, Family):
        return None
    parameters = signature(optimizer).parameters.values()
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
        return None
    return {p.name: p.default for p in parameters if p.name not in NOT_GIVEN and p.default is not Parameter.empty}


def hidden_defaults(optimizer: type[Optimizer] | Family, options: dict[str, Any]) -> dict[str, Any]:
    """The defaults of an optimizer that takes any options (``**options``): those of one that is made, if it can be.

    Args:
        optimizer: Its class; a family has none but no decay, which a group says.
        options: Those that are given.
    """
    if isinstance(optimizer, Family):
        return {"weight_decay": 0.0}
    make: Any = optimizer
    try:
        return dict(make([nn.Parameter(torch.zeros(2, 2))], lr=1.0, **options).defaults)
    except (TypeError, ValueError):
        return {}


def refuse_new_parameters(plan: Sequence[Planned], model: nn.Module) -> None:
    """Raise ``ValueError`` for a parameter that no plan knows: in no group it would stand still.

    Args:
        plan: All of it.
        model: What has been made of the model that was planned.
    """
    parameters = named(model)
    if any(row.name not in parameters for row in plan):
        return  # another model, which is refused as such
    known = {id(parameters[row.name]) for row in plan}
    for name, p in model.named_parameters():
        if p.requires_grad and id(p) not in known:
            hint = "build it in make_model, or give it a group of its own and requires_grad_(False) until then"
            fail("parameter_groups(model=...)", "of the parameters of p.model", f"`{name}`, which is new", hint)


def parameter_groups(
    rows: Sequence[Planned],
    model: nn.Module,
    optimizer: type[Optimizer] | Family,
    lr: float,
    weight_decay: float | None,
    family: Family | None,
    no_decay: Collection[str],
    options: dict[str, Any],
) -> list[dict[str, Any]]:
    """See `Parametrized.parameter_groups`.

    Args:
        rows: What is to be trained.
        model: Whose parameters they are.
        optimizer: Class, or family.
        lr: Rate at the base.
        weight_decay: Decay at the base.
        family: The family, if the class is not known.
        no_decay: Roles without decay.
        options: Other options.
    """
    known = family_of(optimizer, family)
    non_negative("parameter_groups(lr=...)", lr)
    given = given_options(optimizer, weight_decay, options)
    known_defaults = defaults_of(optimizer)
    every = {**(hidden_defaults(optimizer, options) if known_defaults is None else known_defaults), **given}
    known.check(every)
    for role in no_decay:
        if role not in ROLES:
            fail("parameter_groups(no_decay=...)", f"made of roles: {', '.join(ROLES)}", repr(role))
    if isinstance(known, MuonLike):
        refuse_other_than_matrices(rows)
    parameters = named(model)
    groups: dict[tuple, dict[str, Any]] = {}
    for row in rows:
        if row.name not in parameters:
            hint = "pass the model that was made, or what wraps it"
            fail("parameter_groups(model=...)", f"one with the parameter `{row.name}`", type(model).__name__, hint)
        p = parameters[row.name]
        if not p.requires_grad:
            continue
        settings = settings_of(row, known, lr, given, every, row.role in no_decay)
        key = tuple(sorted((name, str(value)) for name, value in settings.items()))
        group = groups.setdefault(key, {"params": [], **settings, "roles": []})
        group["params"].append(p)
        if row.role not in group["roles"]:
            group["roles"].append(row.role)
    return named_groups(groups.values(), known)


def named_groups(groups: Iterable[dict[str, Any]], family: Family) -> list[dict[str, Any]]:
    """Groups with the roles of their parameters as names, numbered where several have the same."""
    made, seen = [], Counter()
    for group in groups:
        name = ", ".join(sorted(group.pop("roles"), key=ROLES.index))
        seen[name] += 1
        numbered = name if seen[name] == 1 else f"{name} ({seen[name]})"
        made.append({**group, "name": numbered, "family": type(family).__name__})
    return made


def given_options(
    optimizer: type[Optimizer] | Family, weight_decay: float | None, options: dict[str, Any]
) -> dict[str, Any]:
    """What is given, and the decay, which must be said for each group.

    Raises:
        ValueError: For an option that the optimizer does not have.
    """
    known = defaults_of(optimizer)
    given = options if weight_decay is None else {"weight_decay": weight_decay, **options}
    if known is not None:
        for name in given:
            if name not in known and not (name == "weight_decay" and not given[name]):
                must = f"an option of {optimizer_name(optimizer)}, which has {', '.join(known)}"
                fail(f"parameter_groups({name}=...)", must, repr(given[name]))
        given = {name: value for name, value in given.items() if name in known}
        if "weight_decay" in known:
            given.setdefault("weight_decay", float(known["weight_decay"]))
    elif "weight_decay" in (hidden := hidden_defaults(optimizer, given)):
        given = {"weight_decay": float(hidden["weight_decay"]), **given}
    non_negative("parameter_groups(weight_decay=...)", given.get("weight_decay", 0.0))
    return given


def optimizer_name(optimizer: type[Optimizer] | Family) -> str:
    """As messages call it."""
    return optimizer.__name__ if isinstance(optimizer, type) else type(optimizer).__name__


def settings_of(
    row: Planned, family: Family, lr: float, given: dict[str, Any], every: dict[str, Any], undecayed: bool
) -> dict[str, Any]:
    """Rate, decay and other options of a parameter.

    The decay is independent: lr·weight_decay, by which a step shrinks a parameter, is the same in every group.

    Args:
        row: The parameter.
        family: The optimizer's.
        lr: Rate at the base.
        given: Options that the groups carry.
        every: These and the optimizer's defaults.
        undecayed: Whether it has no decay.
    """
    factor = family.factor(row.fans, every)
    settings = {**given, **family.scaled(every, row.fans, row.std_ratio), "lr": lr * factor, "times": factor}
    if "weight_decay" in given:
        settings["weight_decay"] = 0.0 if undecayed else given["weight_decay"] / factor
    return settings


def refuse_other_than_matrices(rows: Sequence[Planned]) -> None:
    """Raise ``ValueError`` for what Muon does not take."""
    other = [row for row in rows if not is_matrix(row)]
    if other:
        hint = "use p.optimizer(torch.optim.Muon, lr=..., rest=torch.optim.AdamW, rest_lr=...)"
        came = f"`{other[0].name}` ({other[0].role}, shape {other[0].fans.shape}) among them"
        fail("parameter_groups(optimizer)", "Muon for a model of hidden matrices only", came, hint)


def is_matrix(row: Planned) -> bool:
    """Whether Muon moves it: a hidden weight of two axes."""
    return row.role == "hidden" and len(row.fans.shape) == 2


def named(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by their names, and by those that they had before the module was wrapped (DDP, FSDP, compile)."""
    wrappers = {"module", "_orig_mod", "_fsdp_wrapped_module"}
    own = dict(model.named_parameters())
    bare = {".".join(part for part in name.split(".") if part not in wrappers): p for name, p in own.items()}
    return {**bare, **own}
