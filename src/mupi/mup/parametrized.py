"""`Parametrized`: the model, the plan, and what follows from it for optimizers and schedulers."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from mupi.architecture.architecture import Architecture
from mupi.checks import fail, non_negative
from mupi.distributed.sharded import unsharded
from mupi.mup.check import check
from mupi.mup.check_result import Check
from mupi.mup.depth_scaling import DepthScaling
from mupi.mup.explained import explained, remarks
from mupi.mup.faults import Fault
from mupi.mup.groups import is_matrix, named, parameter_groups, refuse_new_parameters
from mupi.mup.plan import Planned
from mupi.mup.schedulers import scheduler_args
from mupi.mup.together import Together
from mupi.optim.families import Family, MuonLike
from mupi.optim.known_optimizers import check_class, family_of


@dataclass(frozen=True)
class Depth:
    """How deep a module is.

    Attributes:
        depth: The depth of the model, as its factory takes it.
        base: The depth at which settings are tuned.
        scaling: By which power of their number branches are multiplied.
    """

    depth: int
    base: int
    scaling: DepthScaling


@dataclass(frozen=True, eq=False)
class Parametrized:
    """A module in μP relative to a base width: see `mupi.parametrize`, which makes it.

    Attributes:
        model: The user's own module, of the width: the same class and ``state_dict`` keys.
        plan: One row for each parameter.
        width: The width n of ``model``.
        base_width: The width n0 at which settings are tuned.
        architecture: What `mupi.trace` read; None if it could not.
        reason: Why it could not; empty if it could.
        faults: What no initial value and no rate can mend, with the line to change; where there is no graph, those that
            the kinds of modules show.
        make_model: The user's factory, which takes a width.
        at: The same for another width, ``p.at(512)``, and another depth, ``p.at(512, 24)``.
        depth: How deep it is; None for a factory that takes a width only.
    """

    model: nn.Module
    plan: tuple[Planned, ...]
    width: int
    base_width: int
    architecture: Architecture | None
    reason: str
    faults: tuple[Fault, ...]
    make_model: Callable[[int], nn.Module]
    at: Callable[..., "Parametrized"] = field(repr=False)
    depth: Depth | None = None

    def parameter_groups(
        self,
        optimizer: type[Optimizer] | Family,
        *,
        lr: float,
        weight_decay: float | None = None,
        family: Family | None = None,
        no_decay: Collection[str] = (),
        model: nn.Module | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer: rates by μP for its family, independent decay, ε as gradients shrink.

        With r_in and r_out the ratios of what a parameter sums over and what it feeds to the base, the rate is

            SGD  lr·r_out/r_in,   Adam and its kin  lr/r_in,   Muon  lr·√(r_out/r_in) over its own factor's ratio,

        and lr·weight_decay is the same in every group. Parameters with equal settings are in one group; each has its
        roles as ``"name"`` and its rate relative to lr as ``"times"``. What depends on the width is in the groups, and
        wins over what is given to the optimizer: say ε and decay here.

        Args:
            optimizer: Its class: of torch, of mupi, or derived from them.
            lr: The rate that is good at the base width.
            weight_decay: The decay that is good there; None for the optimizer's default, of a family alone for none.
            family: How the steps of an optimizer scale that mupi does not know: `mupi.mup.AdamLike()`, …
            no_decay: Roles without decay: ``("vector", "finite")`` for biases and gains.
            model: What has been made of ``p.model``: a copy, or a wrapper such as DDP. None for ``p.model`` itself.
            **options: Other options of the optimizer, for all groups.

        Raises:
            ValueError: For an unknown optimizer or option, or one that breaks the ratios of the rates.
        """
        refuse_new_parameters(self.plan, model or self.model)
        return parameter_groups(self.plan, model or self.model, optimizer, lr, weight_decay, family, no_decay, options)

    def optimizer(
        self,
        optimizer: type[Optimizer],
        *,
        lr: float,
        weight_decay: float | None = None,
        family: Family | None = None,
        no_decay: Collection[str] = (),
        model: nn.Module | None = None,
        rest: type[Optimizer] | None = None,
        rest_lr: float | None = None,
        rest_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> Optimizer:
        """The optimizer itself, of `parameter_groups`; with ``rest``, two of them as one (`Together`).

        >>> make_model = lambda n: nn.Sequential(nn.Linear(8, n), nn.ReLU(), nn.Linear(n, n), nn.Linear(n, 2))
        >>> p = mupi.parametrize(make_model, width=64, base_width=16, example=torch.zeros(1, 8))
        >>> muon = p.optimizer(torch.optim.Muon, lr=0.02, rest=torch.optim.AdamW, rest_lr=1e-3)
        >>> [group["name"] for group in muon.param_groups]
        ['hidden', 'input, vector', 'readout', 'finite']

        Args:
            optimizer: The class; Muon moves hidden matrices only, and needs a ``rest``.
            lr: As in `parameter_groups`.
            weight_decay: As there, and for the rest too unless ``rest_options`` has another.
            family: As there.
            no_decay: As there, for both.
            model: As there.
            rest: The class for all but hidden matrices.
            rest_lr: The rate of the rest that is good at the base width.
            rest_options: Options of the rest.
            **options: Options of the optimizer.
        """
        check_class("optimizer(optimizer)", optimizer)
        whole = model or self.model
        refuse_new_parameters(self.plan, whole)
        known = family_of(optimizer, family)
        make: Any = optimizer
        make_rest: Any = rest
        if rest is None:
            if rest_lr is not None or rest_options is not None:
                fail("optimizer(rest=...)", "an optimizer's class where rest_lr or rest_options is given", None)
            groups = parameter_groups(self.plan, whole, optimizer, lr, weight_decay, family, no_decay, options)
            return make(groups)
        if not isinstance(known, MuonLike):
            fail("optimizer(rest=...)", "None but for Muon, whose hidden matrices are not all", rest.__name__)
        if rest_lr is None:
            fail("optimizer(rest_lr=...)", "the rate of the rest at the base width", None)
        matrices = [row for row in self.plan if is_matrix(row)]
        if not matrices:
            fail("optimizer(optimizer)", f"{rest.__name__} where there is no hidden matrix", optimizer.__name__)
        others = [row for row in self.plan if not is_matrix(row)]
        other_options = {} if weight_decay is None else {"weight_decay": weight_decay}
        other_options |= rest_options or {}
        other_decay = other_options.pop("weight_decay", None)
        first = parameter_groups(matrices, whole, optimizer, lr, weight_decay, family, no_decay, options)
        second = parameter_groups(others, whole, rest, rest_lr, other_decay, None, no_decay, other_options)
        for group in second:
            # Relative to lr, by which a schedule is given.
            group["times"] *= rest_lr / lr if lr else 1.0
        return Together(make(first), make_rest(second))

    def check(
        self,
        x: Tensor,
        y: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
        *,
        lr: float,
        **options: Any,
    ) -> Check:
        """Train a few steps at several widths, compare with what the graph predicts, and say what is wrong.

        Args:
            x: Inputs; every step takes all of them.
            y: Targets of the inputs, one row each.
            loss: Of the model's output and ``y``.
            lr: The rate at the base width.
            **options: Those of `mupi.mup.check`: ``optimizer``, ``widths``, ``seeds``, ``steps``, ``tolerance``; and of
                `optimizer`, such as ``weight_decay``.
        """
        return check(self, x, y, loss, lr=lr, **options)

    @torch.no_grad()
    def clip_grad_norm_(self, max_norm: float, *, model: nn.Module | None = None) -> Tensor:
        """Clip gradients by a norm that does not depend on the width; returns it, as it was.

        Without multipliers the readout's gradient is Θ(√n) and the first weight's Θ(n^{−½}): torch's norm of all would
        clip wide networks more. Here each parameter counts with what SGD would move it by, (Σ r_out/r_in |g|²)^{½}: the
        norm of the same network with multipliers, in which all are Θ(1), and at the base width torch's own.

        Args:
            max_norm: Largest norm.
            model: What has been made of ``p.model``; None for ``p.model`` itself.
        """
        non_negative("clip_grad_norm_(max_norm=...)", max_norm)
        parameters = named(model or self.model)
        moving = [(row, g) for row in self.plan if (g := parameters[row.name].grad) is not None]
        if not moving:
            return torch.zeros(())
        parts = [unsharded(torch.linalg.vector_norm(g)) * row.fans.metric**0.5 for row, g in moving]
        norm = torch.linalg.vector_norm(torch.stack([part.to(parts[0].device) for part in parts]))
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for _, g in moving:
            # What is sharded is multiplied by a number.
            g.mul_(float(factor) if hasattr(g, "full_tensor") else factor.to(g.device))
        return norm

    def scheduler_args(self, scheduler: type, optimizer: Optimizer, **options: Any) -> dict[str, Any]:
        """The options of a scheduler, absolute rates among them as lists: for each group its own.

        >>> make_model = lambda n: nn.Sequential(nn.Linear(8, n), nn.ReLU(), nn.Linear(n, 2))
        >>> p = mupi.parametrize(make_model, width=64, base_width=16, example=torch.zeros(1, 8))
        >>> optimizer = p.optimizer(torch.optim.AdamW, lr=1e-3)
        >>> OneCycle = torch.optim.lr_scheduler.OneCycleLR
        >>> p.scheduler_args(OneCycle, optimizer, max_lr=4e-3, total_steps=100)
        {'max_lr': [0.004, 0.001, 0.004], 'total_steps': 100}

        Args:
            scheduler: The class of the scheduler.
            optimizer: The optimizer, of this object's groups.
            **options: As they are good at the base width.

        Raises:
            ValueError: If the scheduler takes one absolute rate for all groups (``eta_min``), or is not known.
        """
        return scheduler_args(scheduler, optimizer, options)

    def explain(
        self,
        optimizer: Optimizer | type[Optimizer] | Family | None = None,
        *,
        lr: float = 1.0,
        weight_decay: float | None = None,
        family: Family | None = None,
        **options: Any,
    ) -> str:
        """A table of all parameters: role, size at the base and here, and rate, decay and ε of an optimizer; faults.

        Args:
            optimizer: Whose settings are shown, as it is, or by its class; None for what SGD and Adam multiply lr by.
            lr: As in `parameter_groups`.
            weight_decay: As there.
            family: As there.
            **options: As there.
        """
        groups = None
        if isinstance(optimizer, Optimizer):
            groups = optimizer.param_groups
        elif optimizer is not None:
            groups = self.parameter_groups(optimizer, lr=lr, weight_decay=weight_decay, family=family, **options)
        head = f"μP at width {self.width}, relative to width {self.base_width}"
        if self.depth is not None:
            at = self.depth
            head += f"\ndepth {at.depth}, relative to depth {at.base}: branches times r^-{at.scaling.α}"
        table = explained(self.plan, named(self.model), groups)
        return f"{head}\n{table}\n\n{remarks(self.reason, self.faults)}"
