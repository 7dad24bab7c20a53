"""Learning rates for each kind of layer of any network."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from mupi.architecture.finite import FiniteNetwork
from mupi.architecture.scaled_groups import scaled_groups
from mupi.architecture.scaling import Scaled
from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.layers.network import Network
from mupi.layers.pi_groups import pi_groups
from mupi.layers.pi_layers import PiLayer
from mupi.optim.families import AdamLike, Family, SGDLike
from mupi.optim.known_optimizers import family_of
from mupi.parametrization import LearningRates


@takes_numpy
def parameter_groups(
    model: nn.Module,
    lr: float,
    first: float = 1.0,
    last: float = 1.0,
    bias: float = 1.0,
    weight_decay: float = 0.0,
    *,
    optimizer: type[Optimizer] | Family | None = None,
    rates: LearningRates | None = None,
) -> list[dict]:
    """Parameter groups of any network of this library: rates for SGD, or for the family of another optimizer.

    A module of one's own that is none of these gets rates from `mupi.parametrize`, for any optimizer.

    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
    >>> groups = mupi.parameter_groups(mupi.with_multipliers(model), lr=0.1, last=4.0)
    >>> sorted(group["lr"] for group in groups)
    [0.1, 0.1, 0.4]
    >>> net = torch.nn.Sequential(mupi.PiLinear(8, 2, features=mupi.Hermite(2), activation=mupi.ReLU()))
    >>> [group["name"] for group in mupi.parameter_groups(net, lr=0.1)]
    ['hidden', 'bias']

    Args:
        model: A `mupi.nets.Network`; a model from `with_multipliers`; or any module of `mupi.PiLinear` and
            `mupi.PiConv2d`, whose last layer is registered as ``readout``, and as ``input`` what leads to the first
            junction.
        lr: Learning rate of the hidden weights; the others multiply it.
        first: Multiplier for the weights of ``input``.
        last: Multiplier for the readout's weight.
        bias: Multiplier for all biases.
        weight_decay: Not multiplied: lr·weight_decay is the same for all groups.
        optimizer: The class of the optimizer, or its family; None for SGD. Rates of SGD given to Adam make wide layers
            move too far (its steps do not shrink with the gradient), which groups alone cannot tell: so say it. The
            groups then remember, and `mupi.SGD` and `mupi.training.Trainer` refuse those of another family.
        rates: The exponents of width, of a model in an abc-parametrization: see `scaled_groups`.

    Raises:
        ValueError: For another model, a negative or non-finite value, a multiplier of a layer that has no name, or an
            optimizer with whose steps the rates of this model are not known.
    """
    if optimizer is None:
        return _groups(model, lr, first, last, bias, weight_decay, rates)
    if rates is not None:
        fail("parameter_groups(rates=...)", "None where the optimizer says them", type(rates).__name__)
    family = family_of(optimizer)
    groups = _groups(model, lr, first, last, bias, weight_decay, _rates(model, family))
    for group in groups:
        family.check(group)
        group["family"] = type(family).__name__
    return groups


def _rates(model: nn.Module, family: Family) -> LearningRates | None:
    """The exponents of a family; None for those of SGD, and where no rate depends on a width.

    Raises:
        ValueError: If they are not known.
    """
    if isinstance(family, SGDLike):
        return None
    if not isinstance(family, AdamLike):
        hint = "use mupi.parametrize on a module of your own"
        fail("parameter_groups(optimizer=...)", "SGD, or Adam and its kin", type(family).__name__, hint)
    scaled: list[Any] = [module for module in model.modules() if isinstance(module, Scaled)]
    if scaled:
        return scaled[0].parametrization.adam_rates
    if any(module.weight.width is not None for module in model.modules() if isinstance(module, PiLayer)):
        must = "SGD for random features, whose gradients shrink with their number"
        fail("parameter_groups(optimizer=...)", must, type(family).__name__, "use mupi.Hermite features")
    return None


def _groups(
    model: nn.Module, lr: float, first: float, last: float, bias: float, decay: float, rates: LearningRates | None
) -> list[dict]:
    """See `parameter_groups`."""
    multipliers = (lr, first, last, bias, decay)
    if isinstance(model, FiniteNetwork):
        return model.parameter_groups(*multipliers, rates=rates)
    scaled = [module for module in model.modules() if isinstance(module, Scaled)]
    has_pi_layers = any(isinstance(module, PiLayer) for module in model.modules())
    if scaled and not has_pi_layers:
        return scaled_groups(scaled, *multipliers, rates=rates)
    if rates is not None:
        must = "None for a network whose rates do not depend on a width"
        fail("parameter_groups(rates=...)", must, type(rates).__name__)
    if isinstance(model, Network):
        return model.parameter_groups(*multipliers)
    if scaled or not has_pi_layers:
        must = "a network of this library, a module of mupi.PiLinear, or a model that `with_multipliers` returned"
        came = f"{type(model).__name__}{' of both kinds of layers' if scaled else ''}"
        fail("parameter_groups(model)", must, came, "mupi.parametrize(make_model, ...) has groups for any module")
    return pi_groups(model, *multipliers)
