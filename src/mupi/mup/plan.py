"""The plan: one row for each parameter, and the model whose initial values follow it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import nn

from mupi.architecture.trace.twins import random_states_kept
from mupi.checks import fail
from mupi.mup.initial import Initial, Moments, deeper, initial, std_ratio
from mupi.mup.templates import templates
from mupi.optim.fans import AtDepth, Fans

DRAWS = 8
"""Draws of a small model, where one does not tell by which law it starts."""

SMALL = 2**22
"""Parameters of a model that is drawn again."""


@dataclass(frozen=True)
class Planned:
    """One parameter.

    Attributes:
        name: In the ``state_dict``; of a tied one the first.
        fans: Its role and sizes.
        initial: How it starts.
    """

    name: str
    fans: Fans
    initial: Initial

    @property
    def role(self) -> str:
        """One of `mupi.parametrization.roles.ROLES`."""
        return self.fans.role

    @property
    def std_ratio(self) -> float:
        """The size of its entries relative to the base."""
        return std_ratio(self.fans) * self.fans.depth.size


@contextmanager
def random_numbers_kept():
    """Torch's, NumPy's and Python's generators are afterwards as before, those of accelerators too."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with random_states_kept(), torch.random.fork_rng(devices=devices):
        yield


def moments(model: nn.Module) -> dict[str, Moments]:
    """Of each parameter.

    Raises:
        ValueError: If there are no numbers.
    """
    found = {}
    for name, p in model.named_parameters():
        if p.device.type == "meta":
            hint = "build it on a device; shard it afterwards"
            fail("parametrize(make_model, ...)", "a function that draws initial values", f"`{name}` on meta", hint)
        found[name] = Moments.of(p)
    return found


def planned(
    make_model: Callable[[int], nn.Module],
    model: nn.Module,
    base: nn.Module,
    widths: tuple[int, int],
    fans: Mapping[str, Fans],
) -> tuple[Planned, ...]:
    """The plan of a model, as the user draws it, and of one of the base width.

    Args:
        make_model: Draws again, where one draw is too few.
        model: Of the width.
        base: Of the base.
        widths: Base width and width.
        fans: Of each parameter.
    """
    sums = {width: moments(m) for width, m in zip(widths, (base, model), strict=True)}
    ratios = {name: law_ratios(name, fans, Fraction(widths[1], widths[0])) for name in fans}

    def rows() -> list[Planned]:
        narrow, wide = (sums[width] for width in widths)
        return [Planned(n, f, initial(n, f, narrow[n], wide[n], ratios[n])) for n, f in fans.items()]

    found = rows()
    if any(row.initial.law is None for row in found):
        for width, m in zip(widths, (base, model), strict=True):
            if sum(p.numel() for p in m.parameters()) <= SMALL:
                for seed in range(1, DRAWS):
                    torch.manual_seed(seed)
                    again = moments(make_model(width))
                    sums[width] = {name: s + again[name] for name, s in sums[width].items()}
        found = rows()
    return tuple(found)


def law_ratios(name: str, fans: Mapping[str, Fans], width_ratio: Fraction) -> tuple[Fraction, Fraction]:
    """The ratios by whose powers the user may have drawn a parameter: what its module reads, and what it feeds."""
    own, path = fans[name], name.rpartition(".")
    weight = fans.get(path[0] + path[1] + path[2].replace("bias", "weight"), own)
    read, fed = max(own.in_ratio, weight.in_ratio, key=lambda r: r != 1), own.out_ratio
    return (width_ratio, Fraction(1)) if read == fed == 1 else (read, fed)


def with_depth(
    rows: Sequence[Planned],
    changes: Mapping[str, AtDepth],
    deep: nn.Module,
    shallow: nn.Module,
    deeper_by: Fraction,
) -> tuple[Planned, ...]:
    """The plan with what depth changes: initial sizes are the base depth's, of the copies of a parameter together.

    Args:
        rows: The plan of the width.
        changes: What depth changes; parameters that are not named stay.
        deep: A module of the base width and the depth, as the user draws it.
        shallow: One of the base width and the base depth.
        deeper_by: The depth over the base depth.

    Raises:
        ValueError: If a parameter is not in the shallow module.
    """
    known = templates(*(dict(m.named_parameters()) for m in (shallow, deep)))
    sums: dict[tuple[str, tuple[int, ...]], list[Moments | None]] = {}

    def key(m: nn.Module, name: str) -> tuple[str, tuple[int, ...]]:
        return known[name], tuple(m.get_parameter(name).shape)

    for side, m in enumerate((shallow, deep)):
        for name, own in moments(m).items():
            pair = sums.setdefault(key(m, name), [None, None])
            before = pair[side]
            pair[side] = own if before is None else before + own
    found = []
    for row in rows:
        before, now = sums[key(deep, row.name)]
        if before is None or now is None:
            must = "a function whose modules have the same parameters at every depth but for their number"
            fail("parametrize(make_model, ...)", must, f"`{row.name}`, which is not there at the base depth")
        change = changes.get(row.name, AtDepth())
        own = deeper(row.name, row.initial, change.size, (before, now), (deeper_by, change.ratio))
        found.append(Planned(row.name, replace(row.fans, depth=change), own))
    return tuple(found)


@torch.no_grad()
def start(model: nn.Module, plan: tuple[Planned, ...]) -> None:
    """Multiply the initial values of a model as planned; what has the factor 1 is not touched."""
    for row in plan:
        if row.initial.factor != 1:
            model.get_parameter(row.name).mul_(row.initial.factor)
