"""`parametrize`: the user's own module at a width, in μP relative to a base width at which nothing changes."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from mupi.architecture.architecture import Architecture
from mupi.architecture.trace.twins import made_without_memory
from mupi.checks import fail, positive_int
from mupi.mup.faults import faults, faults_by_kind
from mupi.mup.graph import read
from mupi.mup.initial import Initial
from mupi.mup.parametrized import Parametrized
from mupi.mup.plan import Planned, moments, planned, random_numbers_kept, start
from mupi.mup.structure import structure
from mupi.optim.fans import Fans


def parametrize(
    make_model: Callable[[int], nn.Module],
    width: int,
    base_width: int,
    example: Tensor | Sequence[Tensor] | Any = None,
    *,
    roles: Mapping[str, str] | None = None,
) -> Parametrized:
    """μP for a module of one's own: settings that are good at ``base_width`` are good at ``width``.

    ``p.model`` is ``make_model(width)``: the same class, the same ``state_dict`` keys, the user's own initial draws,
    each parameter multiplied by one number so that its size is the base's times 1 (weights that read data, embeddings,
    biases, gains), (n/n0)^{−½} (hidden weights) or n0/n (readouts). There are no multipliers: by the abc symmetry all
    of μP is in the initial values and the rates (Yang et al. 2022, arXiv 2203.03466, table 8), which
    `Parametrized.parameter_groups` gives for a family of optimizers. At ``width == base_width`` nothing changes.

    >>> make_model = lambda n: nn.Sequential(nn.Linear(8, n), nn.ReLU(), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, 2))
    >>> p = mupi.parametrize(make_model, width=256, base_width=32, example=torch.zeros(1, 8))
    >>> optimizer = torch.optim.AdamW(p.parameter_groups(torch.optim.AdamW, lr=1e-3, weight_decay=0.1))
    >>> {group["name"]: group["lr"] for group in optimizer.param_groups}
    {'input, vector': 0.001, 'hidden': 0.000125, 'readout': 0.000125, 'finite': 0.001}

    Args:
        make_model: Builds the module of a width, by torch's global generator.
        width: The width n.
        base_width: The width n0 at which settings were, or are to be, tuned.
        example: A batch of what the module takes; `mupi.trace` reads the graph by it, so that faults that no initial
            value can mend are found. Without one, with several tensors, or where the graph cannot be read, roles come
            from the shapes at two widths and the kinds of modules, and such faults are not looked for.
        roles: Roles of parameters that neither decides, or that should be others: by name or pattern ("*.norm.weight").

    Raises:
        ValueError: If the module is another at the other width, or the role of a parameter cannot be told.
    """
    if isinstance(make_model, nn.Module) or not callable(make_model):
        came = f"the module {type(make_model).__name__}" if isinstance(make_model, nn.Module) else repr(make_model)
        hint = "pass lambda n: Net(n); a perceptron gets multipliers from mupi.with_multipliers(model)"
        fail("parametrize(make_model, ...)", "a function of the width that builds a module", came, hint)
    width = positive_int("parametrize(width=...)", width)
    base_width = positive_int("parametrize(base_width=...)", base_width)
    with random_numbers_kept():
        net, reason = read(make_model, example, base_width, width)
    p = built(make_model, width, base_width, (net, reason), dict(roles or {}))
    if p.faults:
        text = "\n".join(f"{fault.where}: {fault.what}; {fault.remedy}" for fault in p.faults)
        warnings.warn(f"what no initial value can mend in this module:\n{text}", UserWarning, stacklevel=2)
    return p


def built(
    make_model: Callable[[int], nn.Module],
    width: int,
    base_width: int,
    graph: tuple[Architecture | None, str],
    roles: Mapping[str, str],
) -> Parametrized:
    """`parametrize` with a graph that has been read.

    Args:
        make_model: As there.
        width: As there.
        base_width: As there.
        graph: The graph, or None and why.
        roles: As there.
    """
    model = make_model(width)
    if not isinstance(model, nn.Module):
        fail("parametrize(make_model, ...)", "a function of the width that builds a module", type(model).__name__)
    with random_numbers_kept():
        if width == base_width:
            pair = other_widths(make_model, base_width)
            fans = structure(*pair, graph[0], roles)
            rows = unchanged(model, fans)
        else:
            torch.manual_seed(0)
            base = make_model(base_width)
            pair = base, model
            fans = structure(*pair, graph[0], roles)
            rows = planned(make_model, model, base, (base_width, width), fans)
    if all(row.role == "finite" for row in rows):
        came = f"the same shapes at widths {base_width} and {width if width != base_width else 2 * base_width}"
        fail("parametrize(make_model, ...)", "a function whose modules have weights that grow with the width", came)
    start(model, rows)

    def again(other: int) -> Parametrized:
        return built(make_model, positive_int("at(width)", other), base_width, graph, roles)

    net, reason = graph
    found = faults_by_kind(*pair, base_width) if net is None else faults(net, base_width)
    return Parametrized(model, rows, width, base_width, net, reason, found, make_model, again)


def other_widths(make_model: Callable[[int], nn.Module], base_width: int) -> tuple[nn.Module, nn.Module]:
    """The module at the base width and at twice that, without memory where that can be."""
    made = []
    for width in (base_width, 2 * base_width):
        try:
            made.append(made_without_memory(make_model, width)[0])
        except Exception:
            # A factory that needs numbers has to be called in earnest.
            made.append(make_model(width))
    return made[0], made[1]


def unchanged(model: nn.Module, fans: Mapping[str, Fans]) -> tuple[Planned, ...]:
    """The plan at the base width, which touches nothing."""
    sizes, one = moments(model), Fraction(1)
    found = []
    for name, known in fans.items():
        shape, size = tuple(model.get_parameter(name).shape), sizes[name].rms
        start = Initial(size, size, 1.0, (Fraction(0), Fraction(0)), 0.0)
        found.append(Planned(name, Fans(known.role, shape, shape, one, one), start))
    return tuple(found)
