"""Learning rates of scaled parameters: parameter groups by kind."""

from collections.abc import Iterable

from torch import Tensor

from mupi.architecture.scaling import Scaled
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
    check_rates(lr=lr, first=first, last=last, bias=bias, weight_decay=weight_decay)
    kinds = {"input": ("first", first), "readout": ("last", last), "vector": ("bias", bias)}
    grouped: dict[tuple[str, float], list[Tensor]] = {}
    for module in modules:
        rate, bias_rate = module.learning_rates(rates or module.parametrization.sgd_rates)
        kind, factor = kinds.get(module.scaling.role, ("hidden", 1.0))
        if module.weight is not None:
            grouped.setdefault((kind, factor * rate), []).append(module.weight)
        if module.bias is not None:
            grouped.setdefault(("bias", bias * bias_rate), []).append(module.bias)
    order = ("first", "hidden", "last", "bias")
    ordered = sorted(grouped.items(), key=lambda item: order.index(item[0][0]))
    return rate_groups(((name, p, factor) for (name, factor), p in ordered), lr, weight_decay)
