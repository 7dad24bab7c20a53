"""Learning rates of scaled parameters: parameter groups by kind."""

from collections.abc import Iterable

from torch import Tensor

from mupi.architecture.scaling import Scaled
from mupi.checks import fail
from mupi.optim import check_rates, rate_groups
from mupi.parametrization import LearningRates


def scaled_groups(
    modules: Iterable[Scaled],
    lr: float,
    first: float = 1.0,
    last: float = 1.0,
    bias: float = 1.0,
    weight_decay: float = 0.0,
    *,
    rates: LearningRates | None = None,
) -> list[dict]:
    """Parameter groups with learning rate lr·n^{−c} times a multiplier for each kind of parameter.

    Args:
        modules: All that have parameters.
        lr: Learning rate η.
        first: Multiplier for input weights.
        last: Multiplier for readouts' weights.
        bias: Multiplier for biases, gains and shifts.
        weight_decay: Not multiplied: a group's lr·weight_decay is the η·weight_decay given here, at every width.
        rates: The exponents c; None for the parametrization's own, for SGD. For Adam pass
            ``parametrization.adam_rates``.

    Raises:
        ValueError: For a negative or non-finite value.
    """
    parts = ((module, module.weight, module.bias) for module in modules)
    return grouped(parts, (lr, first, last, bias, weight_decay), rates)


def grouped(
    parts: Iterable[tuple[Scaled, Tensor | None, Tensor | None]],
    multipliers: tuple[float, float, float, float, float],
    rates: LearningRates | None,
) -> list[dict]:
    """`scaled_groups` of modules with their weights and biases."""
    lr, first, last, bias, weight_decay = multipliers
    check_rates(lr=lr, first=first, last=last, bias=bias, weight_decay=weight_decay)
    kinds = {"input": ("first", first), "readout": ("last", last), "vector": ("bias", bias)}
    found: dict[tuple[str, float], list[Tensor]] = {}
    for module, weight, β in parts:
        weights = module.parametrization.depth + 1
        if rates is not None and len(rates.weights) != weights:
            fail("parameter_groups(rates=...)", f"of the network's {weights} weights", f"those of {len(rates.weights)}")
        rate, bias_rate = module.learning_rates(rates or module.parametrization.sgd_rates)
        kind, factor = kinds.get(module.scaling.role, ("hidden", 1.0))
        if weight is not None:
            found.setdefault((kind, factor * rate), []).append(weight)
        if β is not None:
            found.setdefault(("bias", bias * bias_rate), []).append(β)
    order = ("first", "hidden", "last", "bias")
    ordered = sorted(found.items(), key=lambda item: order.index(item[0][0]))
    return rate_groups(((name, p, factor) for (name, factor), p in ordered), lr, weight_decay)
