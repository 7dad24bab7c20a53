"""What can be asked of any module made of π-layers: finite samples, errors, atoms, its learned kernel."""

from collections.abc import Sequence
from copy import deepcopy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.features import Gate, RandomWeight, whitened_gaussian
from mupi.layers.error import LayerError, layer_error
from mupi.layers.evaluating import evaluating
from mupi.layers.network import Network, readout_of
from mupi.layers.pi_layers import PiLayer, found_junctions, pi_layers, read_by_layers

Module = TypeVar("Module", bound=nn.Module)

ERROR_ROWS = 512
"""Positions of a layer's input that an error is measured on."""


@takes_numpy
def sample(net: Module, width: int, x: Tensor | None = None, generator: torch.Generator | None = None) -> Module:
    """The finite network of width n that a π-limit describes: a copy with `mupi.RandomFeatures` features.

    Each junction draws Ω̃ (n × r, Ω̃ᵀΩ̃ = n I) with rows z_α; a weight that reads it has columns w(z_α)/√n. Layers
    that read one junction must share its Ω̃, as those of a residual stream do: which these are is found on ``x``.

    >>> layer = dict(features=mupi.Hermite(2), activation=mupi.ReLU())
    >>> net = torch.nn.Sequential(mupi.DenseMatrix(3, 8), mupi.PiLinear(8, 8, **layer), mupi.PiLinear(8, 2, **layer))
    >>> mupi.sample(net, 64, x=torch.randn(1, 3))(torch.randn(5, 3)).shape
    torch.Size([5, 2])

    Args:
        net: Any module of `mupi.PiLinear` and `mupi.PiConv2d`.
        width: The width n.
        x: A batch of its inputs; it may be left out for the networks of this library.
        generator: Draws Ω̃.

    Raises:
        ValueError: If ``width`` is below the rank, the network is finite already, or ``x`` is missing.
    """
    positive_int("sample(width=...)", width)
    copy = deepcopy(net)
    junctions: Sequence[Sequence[PiLayer]] | None = getattr(copy, "junctions", None)
    if junctions is None:
        if x is None:
            fail("sample(x=...)", "a batch of inputs, on which is found which layers read one junction", "none")
        layers = pi_layers(copy)
        junctions = [[layers[name] for name in group] for group in found_junctions(net, x)]
    widths = [width] * len(junctions)
    if isinstance(times := getattr(copy, "junction_widths", None), Sequence):
        widths = [junction.at(width) for junction in times]
    omegas: dict[PiLayer, list[Tensor]] = {}
    for readers, n in zip(junctions, widths, strict=True):
        ranks = {_rank_read(layer, len(omegas.get(layer, []))) for layer in readers}
        omega = whitened_gaussian(n, ranks.pop(), generator)
        for layer in readers:
            omegas.setdefault(layer, []).append(omega)
    for layer, parts in omegas.items():
        _make_finite(layer, torch.cat(parts, 1))
    return copy


def _rank_read(layer: PiLayer, before: int) -> int:
    """r of the junction that a layer reads; of a product of two, the second after the first."""
    weight = layer.weight
    if not isinstance(weight.activation, Gate):
        return weight.rank_in
    return weight.rank_in - weight.activation.rank if before else weight.activation.rank


@torch.no_grad()
def _make_finite(layer: PiLayer, omega: Float[Tensor, "n rank"]) -> None:
    """Give a layer the weights at the neurons of its junction."""
    old = layer.weight
    parameter = next(old.parameters())
    omega = omega.to(old.at_neurons(parameter.new_empty(0, old.rank_in)))
    layer.weight = RandomWeight(omega, old.at_neurons(omega), old.activation).train(old.training)
    layer.weight.requires_grad_(parameter.requires_grad)


@takes_numpy
def error_report(net: nn.Module, x: Tensor) -> list[LayerError]:
    """The relative error of output and input gradient of each weight's feature map against κ_φ, on a batch.

    A network of this library without π-layers has none, and an empty report.

    >>> layer = dict(features=mupi.Hermite(1), activation=mupi.ReLU())
    >>> net = torch.nn.Sequential(mupi.DenseMatrix(3, 8), mupi.PiLinear(8, 2, **layer))
    >>> [error] = mupi.error_report(net, torch.randn(5, 3))
    >>> error.layer, 0 < error.output < 1  # the second module
    ('1', True)

    Measured on a sum of atoms known both ways: the last ones of the training (`Hermite(window=...)`; the initial
    ones before), evaluated under the exact kernel and under the features' own, at the junctions g of the batch
    (of many positions, at a few spread over them). It is the error of the function that these samples added. The
    gradient's is for Gaussian δ, that is, of the whole Jacobian. `Atoms` has no error, `RandomFeatures` is its own
    exact finite network: both report 0.

    Args:
        net: Any module of `mupi.PiLinear` and `mupi.PiConv2d`.
        x: A batch of its inputs.

    Raises:
        ValueError: If there is no input in ``x``, the network does not take it, or does not use one of its layers.
    """
    return net.error_report(x) if isinstance(net, Network) else error_of_layers(net, x)


@torch.no_grad()
def error_of_layers(net: nn.Module, x: Tensor) -> list[LayerError]:
    """`error_report` of a module of π-layers."""
    if len(x) == 0:
        fail("error_report(x)", "at least one input", f"shape {tuple(x.shape)}")
    layers = pi_layers(net)
    seen: dict[nn.Module, list[Tensor]] = {layer: [] for layer in layers.values()}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: seen[layer].append(inputs[0].flatten(0, -2)))
        for layer in layers.values()
    ]
    try:
        with evaluating(net):
            net(x)
    finally:
        for hook in hooks:
            hook.remove()
    report = []
    for name, layer in layers.items():
        shown = _shown(net, name, layer)
        if not seen[layer]:
            fail("error_report(net)", "a network that uses all its π-layers", f"`{shown}` unused")
        g = torch.cat(seen[layer])
        report.append(layer_error(shown, layer.weight, g[:: -(-len(g) // ERROR_ROWS)]))
    return report


def _shown(net: nn.Module, name: str, layer: nn.Module) -> str:
    """What a report calls a layer."""
    if layer is getattr(net, "readout", None):
        return "readout"
    parent, _, place = name.rpartition(".")
    return f"layer {int(place) + 1}" if parent == "layers" and place.isdigit() else name


def num_atoms(net: nn.Module) -> int:
    """How many atoms are stored in all π-layers of a module; 0 at constant memory.

    >>> mupi.num_atoms(torch.nn.Sequential(mupi.PiLinear(8, 2, features=mupi.Atoms(), activation=mupi.ReLU())))
    8

    Raises:
        ValueError: If there is no π-layer.
    """
    if isinstance(net, Network):
        return net.num_atoms
    return sum(layer.weight.num_atoms for layer in pi_layers(net).values())


@takes_numpy
def feature_kernel(net: nn.Module, x1: Tensor, x2: Tensor) -> Float[Tensor, "*pairs"]:
    """E φ(h)φ(h') of the last hidden layer, as of a `mupi.PiNetwork`, of any module that calls its last ``readout``.

    >>> layer = dict(features=mupi.Hermite(2), activation=mupi.ReLU())
    >>> net = torch.nn.Sequential()
    >>> net.add_module("input", mupi.DenseMatrix(3, 8))
    >>> net.add_module("readout", mupi.PiLinear(8, 2, **layer))
    >>> mupi.feature_kernel(net, torch.randn(5, 3), torch.randn(4, 3)).shape
    torch.Size([5, 4])

    Raises:
        ValueError: If there is no such layer, it is no `mupi.PiLinear` or `mupi.AveragedReadout`, or not used once.
    """
    if isinstance(net, Network):
        return net.feature_kernel(x1, x2)
    readout = readout_of(net)
    features = [readout.features(read_by_layers(net, x)[-1]) for x in (x1, x2)]
    return readout.kernel(*features)
