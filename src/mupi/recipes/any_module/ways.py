"""Ways to take settings from a narrow network to a wide one: μP of mupi, none, and microsoft/mup if installed."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mupi.checks import fail
from mupi.mup import Together, parametrize
from mupi.mup.sweep import Builder, Built

OptimizerName = Literal["sgd", "adamw", "muon"]
Way = Literal["mup", "standard", "microsoft"]

MUON_REST = 0.125
"""The rate of AdamW for all that Muon does not move, relative to Muon's."""

CLASSES: dict[str, type[Optimizer]] = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
"""Of the optimizers that move all parameters, which Muon does not."""


def builder(
    way: Way, optimizer: OptimizerName, make_model: Callable[[int], nn.Module], base: int, widest: int, example: Tensor
) -> Callable[[int], Builder]:
    """From a width to what makes networks of it and their optimizers.

    Args:
        way: How settings go to other widths.
        optimizer: Name of the optimizer.
        make_model: From a width to a network whose last layer is ``readout``.
        base: The width that rates are tuned at.
        widest: The largest width that will be asked for.
        example: A batch of one input.
    """
    match way:
        case "mup":
            with torch.random.fork_rng():
                read = parametrize(make_model, widest, base, example)

            def in_mup(width: int) -> Builder:
                def build(rate: float) -> Built:
                    p = read.at(width)
                    if optimizer != "muon":
                        return p.model, p.optimizer(CLASSES[optimizer], lr=rate)
                    rest: dict[str, Any] = dict(rest=torch.optim.AdamW, rest_lr=MUON_REST * rate)
                    return p.model, p.optimizer(torch.optim.Muon, lr=rate, **rest)

                return build

            return in_mup
        case "standard":
            return lambda width: lambda rate: standard(make_model(width), optimizer, rate)
        case "microsoft":
            return lambda width: lambda rate: microsoft(make_model, width, base, optimizer, rate)


def standard(model: nn.Module, optimizer: OptimizerName, rate: float) -> Built:
    """The network as it comes, with one rate for all parameters; Muon for the matrices of its hidden layers."""
    if optimizer != "muon":
        made: Any = CLASSES[optimizer]
        return model, made(model.parameters(), lr=rate)
    ends = ("readout", "first", "embedding", "tokens", "positions")
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and not any(end in name for end in ends)]
    ids = {id(p) for p in hidden}
    others = [p for p in model.parameters() if id(p) not in ids]
    return model, Together(torch.optim.Muon(hidden, lr=rate), torch.optim.AdamW(others, lr=MUON_REST * rate))


def microsoft_is_there() -> bool:
    """Whether the package `mup` of microsoft can be imported."""
    try:
        import_module("mup")
    except ImportError:
        return False
    return True


def microsoft(
    make_model: Callable[[int], nn.Module], width: int, base: int, optimizer: OptimizerName, rate: float
) -> Built:
    """The network with the readout, base shapes, initial values and optimizer of microsoft/mup (Yang et al. 2022).

    Raises:
        ValueError: For Muon, of which it knows nothing.
    """
    mup: Any = import_module("mup")
    if optimizer == "muon":
        fail("--ways", "without microsoft for Muon", "microsoft")

    def with_readout(n: int) -> nn.Module:
        model = make_model(n)
        old: Any = model.readout
        model.readout = mup.MuReadout(old.in_features, old.out_features, bias=old.bias is not None)
        return model

    model = with_readout(width)
    state = torch.random.get_rng_state()
    mup.set_base_shapes(model, with_readout(base), delta=with_readout(2 * base))
    torch.random.set_rng_state(state)
    made = {"sgd": mup.MuSGD, "adamw": mup.MuAdamW}[optimizer]
    return model, made(model.parameters(), lr=rate)
