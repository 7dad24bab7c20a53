"""The π-layers of any module, what they read, and which of them read one junction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn

from mupi.checks import fail
from mupi.layers.dense_matrix import DenseMatrix
from mupi.layers.input_conv2d import InputConv2d
from mupi.layers.pi_conv2d import PiConv2d
from mupi.layers.pi_linear import PiLinear

PiLayer = PiLinear | PiConv2d

WRITERS = (PiLinear, PiConv2d, DenseMatrix, InputConv2d, nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding)
"""Layers whose output is new: at a junction that only they, and what is added to them, decide."""


def pi_layers(net: nn.Module) -> dict[str, PiLayer]:
    """All of a module by name, in the order of their registration, one called ``readout`` last.

    Raises:
        ValueError: If there is none.
    """
    found = {name: module for name, module in net.named_modules() if isinstance(module, PiLayer)}
    if not found:
        fail(type(net).__name__, "made of mupi.PiLinear or mupi.PiConv2d", "none of them in its modules")
    readout = getattr(net, "readout", None)
    return dict(sorted(found.items(), key=lambda item: item[1] is readout))


def read_by_layers(net: nn.Module, x: Tensor) -> list[Tensor]:
    """What the π-layers of a module are given in a forward pass, in order, each tensor once, the readout's last.

    Raises:
        ValueError: If there is no π-layer, or the readout is not used once.
    """
    readout = getattr(net, "readout", None)
    hidden: dict[int, Tensor] = {}
    last: list[Tensor] = []

    def note(layer: nn.Module, args: tuple, kwargs: dict) -> None:
        g = args[0] if args else kwargs["g"]
        if layer is not readout:
            hidden[id(g)] = g
            return
        if len(args) > 1 or kwargs.get("pool") is not None:
            fail(f"{type(net).__name__}.readout", "mupi.AveragedReadout, where it averages", "a PiLinear with a pool")
        last.append(g)

    with _hooked([layer.register_forward_pre_hook(note, with_kwargs=True) for layer in pi_layers(net).values()]):
        net(x)
    if isinstance(readout, PiLayer) and len(last) != 1:
        fail(f"{type(net).__name__}.readout", "used once in a forward pass", f"{len(last)} uses")
    return [*(g for g in hidden.values() if not any(g is h for h in last)), *last]


def found_junctions(net: nn.Module, x: Tensor) -> list[list[str]]:
    """Names of the π-layers that read each junction, found by what their inputs are made of on an example ``x``.

    A layer reads the sum of what some layers wrote; all that is added is of one junction. So the outputs of weights are
    cut off, and autograd says which of them an input depends on. Where more than sums joins two streams, as a product
    does, they count as one junction: two that share Ω̃ without need are a finite network all the same.

    Raises:
        ValueError: If there is no π-layer, or one is not used.
    """
    net = deepcopy(net).requires_grad_().eval()
    layers = pi_layers(net)
    sources: list[Tensor] = [p for name, p in net.named_parameters() if not _within(name, layers)]
    if x.is_floating_point():
        x = x.detach().clone().requires_grad_()
        sources.append(x)
    written: dict[nn.Module, list[int]] = {}
    read: dict[str, list[Tensor]] = {name: [] for name in layers}

    def cut(module: nn.Module, _: tuple, output: Tensor) -> Tensor:
        written.setdefault(module, []).append(len(sources))
        sources.append(output.detach().requires_grad_())
        return sources[-1]

    writers = [module for module in net.modules() if isinstance(module, WRITERS)]
    hooks = [module.register_forward_hook(cut) for module in writers]
    for name, layer in layers.items():
        hooks.append(layer.register_forward_pre_hook(_noting(read[name])))
    with _hooked(hooks), torch.enable_grad():
        net(x)
    groups = _Groups(len(sources) + len(layers))
    for places in written.values():
        groups.join(places)
    for i, (name, inputs) in enumerate(read.items(), len(sources)):
        if not inputs:
            fail("sample(net, x=...)", "an example in whose forward pass all π-layers are used", f"`{name}` unused")
        for g in inputs:
            made_of: list[Tensor | None] = [None] * len(sources)
            if g.requires_grad:
                made_of = list(torch.autograd.grad(g.sum(), sources, retain_graph=True, allow_unused=True))
            groups.join([i, *(j for j, gradient in enumerate(made_of) if gradient is not None)])
    junctions: dict[tuple[int, int], list[str]] = {}
    for i, (name, layer) in enumerate(layers.items(), len(sources)):
        # What only looks like one junction to autograd may have several ranks.
        junctions.setdefault((groups.root(i), layer.weight.rank_in), []).append(name)
    return list(junctions.values())


def _noting(inputs: list[Tensor]) -> Callable[[nn.Module, tuple], None]:
    """A hook that keeps what a module is given."""
    return lambda _, given: inputs.append(given[0])


class _Groups:
    """Disjoint sets of the numbers below n."""

    def __init__(self, n: int):
        self.parent = list(range(n))

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            i = self.parent[i]
        return i

    def join(self, members: list[int]) -> None:
        for i in members[1:]:
            self.parent[self.root(i)] = self.root(members[0])


def _within(name: str, layers: dict[str, PiLayer]) -> bool:
    return any(not layer or name.startswith(f"{layer}.") for layer in layers)


@contextmanager
def _hooked(handles: list[torch.utils.hooks.RemovableHandle]) -> Iterator[None]:
    """With hooks, which are removed at the end."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
