"""Training a few steps at several widths, and what is measured of it: values, parameters, rates, decays, ε."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mupi.architecture import Attention, Description, WeightOperation
from mupi.checks import fail
from mupi.losses import check_broadcast
from mupi.mup.node_values import logits, node_values
from mupi.mup.together import Together
from mupi.optim.families import Family
from mupi.optim.known_optimizers import family_of
from mupi.parametrization.coordinate_check import module_outputs

See = Callable[[nn.Module, Tensor, int], dict[tuple[str, str], Tensor]]
"""What is seen of a module of a width: by symbol (h, f, q·k) and part."""


@dataclass
class Run:
    """One network.

    Attributes:
        sizes: By quantity and part.
        entries: Root mean square of each parameter's initial entries.
        counts: How many entries each has.
        rates: The rate of each; 0 of what is not trained.
        decays: Rate times decay of each.
        epsilons: ε of each, where the optimizer has one.
        families: Of each, the family of its optimizer.
        losses: Before each step, and after all.
    """

    sizes: dict[tuple[str, str], float] = field(default_factory=dict)
    entries: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    decays: dict[str, float] = field(default_factory=dict)
    epsilons: dict[str, float] = field(default_factory=dict)
    families: dict[str, Family] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)


def trained(
    model: nn.Module,
    optimizer: Optimizer,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    width: int,
    see: See,
    family: Family | None,
) -> Run:
    """Train, and measure before and after.

    Args:
        model: The network.
        optimizer: What makes the steps.
        x: Inputs; every step takes all of them.
        y: Targets.
        loss: Of the output and ``y``.
        steps: Steps.
        width: The width n.
        see: What is seen of the model.
        family: Of the optimizer, where the caller knows it.
    """
    run = Run()
    before = see(model, x, width)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    run.entries = {name: rms(p) for name, p in start.items()}
    run.counts = {name: p.numel() for name, p in start.items()}
    _settings(run, model, optimizer, family)
    for step in range(steps):
        optimizer.zero_grad()
        outputs = model(x)
        if step == 0:
            check_broadcast("loss", loss, outputs, y)
        value = loss(outputs, y)
        run.losses.append(float(value.detach()))
        value.backward()
        if step == 0:
            for name, p in model.named_parameters():
                run.sizes["|∇w|", name] = 0.0 if p.grad is None else rms(p.grad)
        optimizer.step()
    for name, p in model.named_parameters():
        run.sizes["|Δw|", name] = rms(p.detach() - start[name])
    after = see(model, x, width)
    for (symbol, part), value in before.items():
        run.sizes[f"|{symbol}|", part] = rms(value)
        run.sizes[f"|Δ{symbol}|", part] = rms(after[symbol, part] - value)
    return run


def _settings(run: Run, model: nn.Module, optimizer: Optimizer, family: Family | None) -> None:
    """Rates, decays, ε and families, by parameter."""
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    run.rates = {name: 0.0 for name in run.entries}
    for one in optimizer.optimizers if isinstance(optimizer, Together) else (optimizer,):
        known = family_of(one, family)
        for group in one.param_groups:
            for p in group["params"]:
                name = names.get(id(p))
                if name is None:
                    continue
                run.rates[name], run.families[name] = float(group["lr"]), known.of(group)
                run.decays[name] = float(group["lr"]) * float(group.get("weight_decay") or 0.0)
                if isinstance(group.get("eps"), float):
                    run.epsilons[name] = group["eps"]


def rms(x: Tensor) -> float:
    """Root mean square of the entries."""
    return float(x.detach().double().square().mean().sqrt())


def by_graph(net: Description) -> See:
    """Values of the weights, the logits of attention, and the output, by the traced description."""

    @torch.no_grad()
    def see(model: nn.Module, x: Tensor, width: int) -> dict[tuple[str, str], Tensor]:
        state: Mapping[str, Tensor] = dict(model.named_parameters())
        values = node_values(net, state, x, width)
        seen: dict[tuple[str, str], Tensor] = {}
        for place, node in enumerate(net.nodes[:-1]):
            if isinstance(node.operation, WeightOperation):
                seen["h", node.name] = values[place].clone()
            elif isinstance(node.operation, Attention):
                query, key = (values[i] for i in node.inputs[:2])
                seen["q·k", node.name] = logits(node, query, key)
        return {**seen, ("f", net.nodes[-1].name): values[-1]}

    return see


def by_modules(model: nn.Module, x: Tensor, width: int) -> dict[tuple[str, str], Tensor]:
    """What the modules with parameters put out, where there is no graph."""
    seen = module_outputs(model, x)
    return {("f" if part == "f" or part.startswith("f[") else "h", part): value for part, value in seen.items()}


def check_graph(net: Description, model: nn.Module, x: Tensor, width: int) -> None:
    """Raise ``ValueError`` unless a description computes what the module does, in evaluation.

    Raises:
        ValueError: With the difference.
    """
    was = model.training
    with torch.no_grad():
        expected = model.eval()(x)
        model.train(was)
        found = node_values(net, dict(model.named_parameters()), x, width)[-1].expand_as(expected)
    gap, size = rms(found - expected), rms(expected)
    if gap > 1e-3 * size + 1e-6:
        must, hint = "of modules that do what the traced graph does", "let only sizes depend on the width"
        fail("check(make_model, ...)", must, f"outputs that differ by {gap:.2g}", hint)
