"""Learning rates for each kind of layer of any network."""

from torch import nn

from mupi.architecture.finite import FiniteNetwork
from mupi.architecture.scaled_groups import scaled_groups
from mupi.architecture.scaling import Scaled
from mupi.arrays import takes_numpy
from mupi.checks import fail
from mupi.layers.network import Network
from mupi.layers.pi_groups import pi_groups
from mupi.layers.pi_layers import PiLayer
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
    rates: LearningRates | None = None,
) -> list[dict]:
    """Parameter groups, for any optimizer, of any network of this library and of one's own.

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
        rates: The exponents of width, of a model in an abc-parametrization: see `scaled_groups`.

    Raises:
        ValueError: For another model, a negative or non-finite value, or a multiplier of a layer that has no name.
    """
    multipliers = (lr, first, last, bias, weight_decay)
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
        fail("parameter_groups(model)", must, f"{type(model).__name__}{' of both kinds of layers' if scaled else ''}")
    return pi_groups(model, *multipliers)
