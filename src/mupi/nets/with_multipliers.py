"""`with_multipliers`: put a user's own PyTorch perceptron into an abc-parametrization."""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail, non_negative
from mupi.nets.chains import refuse_other_than_chains
from mupi.nets.mlp import ScaledLinear
from mupi.parametrization import Parametrization

Model = TypeVar("Model", bound=nn.Module)

# They have no parameters, but fix the size of what they are given, which the exponents are meant to decide.
NORMALIZATIONS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.CrossMapLRN2d)


@takes_numpy
def with_multipliers(
    model: Model,
    parametrization: Parametrization | None = None,
    *,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    input_std: float | None = None,
    readout_std: float | None = None,
    example: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Model:
    """A copy of a perceptron in an abc-parametrization: other initial weights, with multipliers before them.

    Every `torch.nn.Linear`, in the order of ``model.modules()``, becomes a `ScaledLinear`; biases, where there are
    any, get multipliers too. The model is tried on random rows: between two ``nn.Linear`` there must be nothing but a
    function of each coordinate, whether in modules or in the forward pass, and no way around a weight. n is the width
    of the hidden layer that a weight reads (for the first weight, that it writes), so hidden widths may differ.
    Learning rates come from `parameter_groups`, and are as much a part of the parametrization as the weights. The
    ``state_dict`` has the same keys as before and one more for each layer, with which it fits no model that is not in
    the same parametrization; save and load it, and the optimiser's, as usual.

    >>> net = with_multipliers(nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 10)))
    >>> optimizer = torch.optim.SGD(mupi.parameter_groups(net, lr=0.1))

    Args:
        model: Made of ``nn.Linear``, activations, ``Flatten``, ``Dropout`` and the like, each used once; not changed.
        parametrization: The exponents, with as many weights as the model has ``nn.Linear``; None for μP.
        sigma_w: σ of the weights, see `MLP`.
        sigma_b: σ of the biases; 0 starts them at 0.
        input_std: σ_1, if not sigma_w/√d_in.
        readout_std: σ_{L+1}, if not sigma_w.
        example: A batch of inputs to try the model on; None for random rows of the first weight's size.
        generator: Draws the initial weights; None for torch's own.

    Raises:
        ValueError: If a module is of another kind (named in the message), the model has fewer than two
            ``nn.Linear``, these do not fit one after the other or are not used so, or the parametrization has another
            depth.
    """
    for name, value in dict(sigma_w=sigma_w, sigma_b=sigma_b).items():
        non_negative(f"with_multipliers({name}=...)", value)
    model = deepcopy(model)
    linears = _linears(model)
    refuse_other_than_chains(model, linears, example)
    depth = len(linears) - 1
    p = Parametrization.mup(depth) if parametrization is None else parametrization
    if p.depth != depth:
        fail("with_multipliers(parametrization=...)", f"of depth {depth}, the model's", f"depth {p.depth}")
    for layer, (name, linear) in enumerate(linears.items(), start=1):
        std = sigma_w
        if layer == 1:
            std = sigma_w / linear.in_features**0.5 if input_std is None else input_std
        elif layer > depth and readout_std is not None:
            std = readout_std
        scaled = ScaledLinear(
            linear.in_features,
            linear.out_features,
            layer=layer,
            width=linear.out_features if layer == 1 else linear.in_features,
            parametrization=p,
            bias_scale=0.0 if linear.bias is None else 1.0,
            std=std,
            bias_std=sigma_b,
            generator=generator,
            dtype=linear.weight.dtype,
            device=linear.weight.device,
        )
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, scaled)
    return model


def _linears(model: nn.Module) -> dict[str, nn.Linear]:
    """All ``nn.Linear`` by name.

    Raises:
        ValueError: If there is a module that a perceptron does not have, or they do not fit together.
    """
    linears: dict[str, nn.Linear] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        where = f"`{name}` ({type(module).__name__})" if name else type(module).__name__
        if type(module) is nn.Linear:
            if any(module is other for other in linears.values()):
                fail("with_multipliers(model)", "made of layers that are used once", where, "make a layer for each use")
            linears[name] = module
        elif isinstance(module, NORMALIZATIONS) or module._parameters or module._buffers:
            fail("with_multipliers(model)", "a perceptron of nn.Linear and activations", where, "remove or replace it")
    if len(linears) < 2:
        fail("with_multipliers(model)", "a perceptron with at least two nn.Linear in modules of it", len(linears))
    (_, before), *rest = linears.items()
    for name, linear in rest:
        if linear.in_features != before.out_features:
            fail(
                "with_multipliers(model)",
                "made of nn.Linear that fit one after the other",
                f"`{name}` with {linear.in_features} inputs after {before.out_features} outputs",
                "register the layers in the order of their use",
            )
        before = linear
    return linears
