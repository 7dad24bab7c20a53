"""`parametrize`: the user's own module at a width, in μP relative to a base width at which nothing changes."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from mupi.architecture.architecture import Architecture
from mupi.architecture.trace.twins import made_without_memory
from mupi.checks import fail, positive_int
from mupi.mup.depth import depth_faults, depths
from mupi.mup.depth_scaling import DepthScaling
from mupi.mup.faults import faults, faults_by_kind
from mupi.mup.graph import read
from mupi.mup.initial import Initial
from mupi.mup.parametrized import Depth, Parametrized
from mupi.mup.plan import Planned, moments, planned, random_numbers_kept, start, with_depth
from mupi.mup.structure import structure
from mupi.optim.fans import Fans


def parametrize(
    make_model: Callable[..., nn.Module],
    width: int,
    base_width: int,
    example: Tensor | Sequence[Tensor] | Any = None,
    *,
    depth: int | None = None,
    base_depth: int | None = None,
    depth_scaling: DepthScaling | None = None,
    roles: Mapping[str, str] | None = None,
) -> Parametrized:
    """μP for a module of one's own: settings that are good at ``base_width`` are good at ``width``.

    ``p.model`` is ``make_model(width)``: the same class, the same ``state_dict`` keys, the user's own initial draws,
    each parameter multiplied by one number so that its size is the base's times 1 (weights that read data, embeddings,
    biases, gains), (n/n0)^{−½} (hidden weights) or n0/n (readouts). There are no multipliers: by the abc symmetry all
    of μP is in the initial values and the rates (Yang et al. 2022, arXiv 2203.03466, table 8), which
    `Parametrized.parameter_groups` gives for a family of optimizers. At ``width == base_width`` nothing changes.

    With ``depth`` it is ``make_model(width, depth)``, and settings move from ``base_depth`` too: residual branches are
    found in the graph, and the last weights of each carry the multiplier of `DepthScaling`, as do the rates.

    >>> make_model = lambda n: nn.Sequential(nn.Linear(8, n), nn.ReLU(), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, 2))
    >>> p = mupi.parametrize(make_model, width=256, base_width=32, example=torch.zeros(1, 8))
    >>> optimizer = torch.optim.AdamW(p.parameter_groups(torch.optim.AdamW, lr=1e-3, weight_decay=0.1))
    >>> {group["name"]: group["lr"] for group in optimizer.param_groups}
    {'input, vector': 0.001, 'hidden': 0.000125, 'readout': 0.000125, 'finite': 0.001}

    Args:
        make_model: Builds the module of a width, or of a width and a depth, by torch's global generator.
        width: The width n.
        base_width: The width n0 at which settings were, or are to be, tuned.
        example: A batch of what the module takes; `mupi.trace` reads the graph by it, so that faults that no initial
            value can mend are found. Without one, with several tensors, or where the graph cannot be read, roles come
            from the shapes at two widths and the kinds of modules, and such faults are not looked for.
        depth: What the factory takes as its second argument; None if it takes none. The number of branches is counted.
        base_depth: The depth at which settings were, or are to be, tuned.
        depth_scaling: None for `DepthScaling.depth_mup`.
        roles: Roles of parameters that neither decides, or that should be others: by name or pattern ("*.norm.weight").

    Raises:
        ValueError: If the module is another at the other width, or the role of a parameter cannot be told; if it is
            deeper than the base and its graph cannot be read, or has a branch that no parameter can multiply.
    """
    if isinstance(make_model, nn.Module) or not callable(make_model):
        came = f"the module {type(make_model).__name__}" if isinstance(make_model, nn.Module) else repr(make_model)
        hint = "pass lambda n: Net(n); a perceptron gets multipliers from mupi.with_multipliers(model)"
        fail("parametrize(make_model, ...)", "a function of the width that builds a module", came, hint)
    width = positive_int("parametrize(width=...)", width)
    base_width = positive_int("parametrize(base_width=...)", base_width)
    base = Base(make_model, base_width, example, _depth_settings(depth, base_depth, depth_scaling), dict(roles or {}))
    with random_numbers_kept():
        base.graph(depth, width)
    p = built(base, width, depth)
    if p.faults:
        text = "\n".join(f"{fault.where}: {fault.what}; {fault.remedy}" for fault in p.faults)
        warnings.warn(f"what no initial value can mend in this module:\n{text}", UserWarning, stacklevel=2)
    return p


def _depth_settings(
    depth: int | None, base_depth: int | None, scaling: DepthScaling | None
) -> tuple[int, DepthScaling] | None:
    """The base depth, and how depth scales; None without a depth."""
    if scaling is not None and not isinstance(scaling, DepthScaling):
        must = "None or a mupi.mup.DepthScaling, such as mupi.mup.DepthScaling.complete_p()"
        fail("parametrize(depth_scaling=...)", must, repr(scaling))
    if depth is None:
        for name, value in dict(base_depth=base_depth, depth_scaling=scaling).items():
            if value is not None:
                must = "given with depth, which make_model(width, depth) takes"
                fail(f"parametrize({name}=...)", must, f"{value} without it")
        return None
    positive_int("parametrize(depth=...)", depth)
    if base_depth is None:
        fail("parametrize(base_depth=...)", "the depth at which settings are tuned, where depth is given", None)
    return positive_int("parametrize(base_depth=...)", base_depth), scaling or DepthScaling()


@dataclass(frozen=True)
class Base:
    """What is the same at all widths and depths; graphs are read once.

    Args:
        make_model: The user's factory.
        width: The base width.
        example: What the module takes.
        deep: The base depth, and how depth scales; None for a factory that takes a width only.
        roles: Roles of parameters, as the user gives them.
    """

    make_model: Callable[..., nn.Module]
    width: int
    example: Any
    deep: tuple[int, DepthScaling] | None
    roles: Mapping[str, str]
    _graphs: dict[int | None, tuple[Architecture | None, str]] = field(default_factory=dict)

    def of_depth(self, depth: int | None) -> Callable[[int], nn.Module]:
        """The factory of a depth, which takes a width.

        Args:
            depth: The depth.
        """
        return self.make_model if depth is None else lambda width: self.make_model(width, depth)

    def graph(self, depth: int | None, width: int) -> tuple[Architecture | None, str]:
        """What `mupi.trace` reads, or None and why.

        Args:
            depth: The depth.
            width: A width that the factory takes.
        """
        if depth not in self._graphs:
            self._graphs[depth] = read(self.of_depth(depth), self.example, self.width, width)
        return self._graphs[depth]


def built(base: Base, width: int, depth: int | None) -> Parametrized:
    """The module of a width and a depth.

    Args:
        base: What it is relative to.
        width: The width.
        depth: The depth; None where there is none.
    """
    make_model = base.of_depth(depth)
    model = make_model(width)
    if not isinstance(model, nn.Module):
        fail("parametrize(make_model, ...)", "a function of the width that builds a module", type(model).__name__)
    with random_numbers_kept():
        net, reason = base.graph(depth, width)
        if width == base.width:
            pair = other_widths(make_model, base.width)
            rows = unchanged(model, structure(*pair, net, base.roles))
            narrow = model
        else:
            torch.manual_seed(0)
            narrow = make_model(base.width)
            pair = narrow, model
            rows = planned(make_model, model, narrow, (base.width, width), structure(*pair, net, base.roles))
        if base.deep is not None and depth is not None and depth != base.deep[0]:
            rows = deepened(base, rows, narrow, width, depth)
    if all(row.role == "finite" for row in rows):
        came = f"the same shapes at widths {base.width} and {width if width != base.width else 2 * base.width}"
        fail("parametrize(make_model, ...)", "a function whose modules have weights that grow with the width", came)
    start(model, rows)

    def again(other: int, deep: int | None = None) -> Parametrized:
        if deep is not None and depth is None:
            fail("at(depth=...)", "None for a factory that takes a width only", deep)
        given = depth if deep is None else positive_int("at(depth=...)", deep)
        return built(base, positive_int("at(width)", other), given)

    found = faults_by_kind(*pair, base.width) if net is None else faults(net, base.width)
    if base.deep is not None and net is not None:
        found += depth_faults(net)
    known = None if base.deep is None or depth is None else Depth(depth, *base.deep)
    return Parametrized(model, rows, width, base.width, net, reason, found, make_model, again, known)


def deepened(base: Base, rows: Sequence[Planned], narrow: nn.Module, width: int, depth: int) -> tuple[Planned, ...]:
    """The plan with what depth changes.

    Args:
        base: What it is relative to.
        rows: The plan of the width.
        narrow: The module of the base width and the depth.
        width: The width.
        depth: The depth.
    """
    assert base.deep is not None
    base_depth, scaling = base.deep
    graphs = base.graph(depth, width), base.graph(base_depth, width)
    if reason := graphs[0][1] or graphs[1][1]:
        must = "that of the base for a module whose graph mupi.trace cannot read, as it has the residual branches"
        fail("parametrize(depth=...)", must, f"{depth}: {reason}")
    deep, shallow = (net for net, _ in graphs if net is not None)
    changes = depths(deep, shallow, scaling)
    torch.manual_seed(0)
    return with_depth(rows, changes, narrow, base.of_depth(base_depth)(base.width), Fraction(depth, base_depth))


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
