"""The graph of a module at two widths, by torch.export, without memory and without a change to what the user has."""

import copy
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import Tensor, fx, nn

from mupi.architecture.trace.extents import Experiment, Pair
from mupi.architecture.trace.sources import BuiltAt, failed_at, line_of
from mupi.architecture.trace.twins import LARGEST_TWIN, Unknown, made_without_memory
from mupi.checks import fail
from mupi.torch_internals import buffers_of, fake_tensors, is_fake

MAKE = "trace(make_model, ...)"


@dataclass(frozen=True)
class Capture:
    """A module at two widths.

    Attributes:
        experiment: The widths and batch sizes.
        nodes: Those of both graphs, in pairs.
        parameters: For each placeholder of a parameter, the parameter's first name.
        numbers: For each placeholder of a buffer or constant, its numbers at both widths; None if they are not known.
        shapes: The shape of each parameter at both widths.
        built: Where each module was made, for those that are called by torch only.
    """

    experiment: Experiment
    nodes: tuple[tuple[fx.Node, fx.Node], ...]
    parameters: dict[str, str]
    numbers: dict[str, tuple[Tensor | None, Tensor | None]]
    shapes: dict[str, tuple[Pair, ...]]
    built: dict[str, str]


def capture(make_model: Callable[[int], nn.Module], x: Tensor, experiment: Experiment) -> Capture:
    """Build and export the module at two widths.

    Raises:
        ValueError: If it cannot be built or exported, or is another network at the other width.
    """
    first, second = (
        exported(make_model, x, width, batch)
        for width, batch in zip(experiment.widths, experiment.batches, strict=True)
    )
    names = [{name: p.ndim for name, p in export.parameters.items()} for export in (first, second)]
    if names[0] != names[1]:
        fail(MAKE, "a function whose modules have the same parameters at every width", "others at another width",
             "a depth that depends on the width has no limit")  # fmt: skip
    nodes = paired(first.program.graph, second.program.graph)
    owners: dict[int, str] = {}
    for name, p in first.parameters.items():
        owners.setdefault(id(p), name)
    targets = first.program.graph_signature.inputs_to_parameters
    parameters = {place: owners[id(first.parameters[target])] for place, target in targets.items()}
    shapes = {
        name: tuple(zip(first.parameters[name].shape, second.parameters[name].shape, strict=True))
        for name in owners.values()
    }
    constants = first.constants, second.constants
    numbers = {place: (constants[0][place], constants[1].get(place)) for place in constants[0]}
    if not any(a != b for sizes in shapes.values() for a, b in sizes):
        fail(MAKE, "a function whose modules have weights that grow with the width", "the same sizes at two widths",
             "pass lambda n: Net(width=n)")  # fmt: skip
    return Capture(experiment, nodes, parameters, numbers, shapes, first.built)


@dataclass(frozen=True)
class Export:
    """A module at one width: its program, its parameters by all their names, and the numbers of its constants."""

    program: torch.export.ExportedProgram
    parameters: dict[str, Tensor]
    constants: dict[str, Tensor | None]
    built: dict[str, str]


def exported(make_model: Callable[[int], nn.Module], x: Tensor, width: int, batch: int) -> Export:
    """The module of a width, exported."""
    places = BuiltAt()
    try:
        with places:
            made, twins = made_without_memory(make_model, width)
    except Unknown as error:
        fail(MAKE, "a function that needs no random numbers", f"{failed_at(error)}: one that asks for {error}")
    except Exception as error:
        # Whatever a user's function raises: the message says where, and at which width.
        came = f"{type(error).__name__} at width {width} ({failed_at(error)}: {one_line(error)})"
        fail(MAKE, "a function of the width that builds a module", came, "choose widths=(a, b) that it takes")
    if not isinstance(made, nn.Module):
        fail(MAKE, "a function of the width that builds a module", f"a {type(made).__name__}", "return an nn.Module")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in made.parameters()):
        fail(MAKE, "a function that builds a module of known shapes", "lazy layers", "give their sizes")
    frozen = next((name for name, p in made.named_parameters() if p.is_floating_point() and not p.requires_grad), None)
    if frozen is not None:
        fail(MAKE, "a function that builds a module whose parameters are all trained", f"{frozen} frozen",
             "make it a buffer if it is fixed, or train it")  # fmt: skip
    fake = fake_tensors()
    # Only the shape of x matters, so that arrays of NumPy's double precision are taken by modules of single.
    floating = (p.dtype for p in made.parameters() if p.is_floating_point())
    dtype = next(floating, x.dtype) if x.is_floating_point() else x.dtype
    copied = without_numbers(made, twins.twin, fake)
    with fake:
        inputs = torch.zeros((batch, *x.shape[1:]), dtype=dtype, device="cpu")
    with quiet(), without_fast_paths():
        try:
            program = torch.export.export(copied, (inputs,), strict=False)
        except Exception as error:
            # torch.export raises whatever the module does, and errors of its own of many lines.
            came, hint = f"{type(error).__name__}: {one_line(error)}", f"pass x as the module takes it; {shown(inputs)}"
            if "DataDependent" in type(error).__name__:
                came, hint = "one that asks for the numbers of a tensor", "let no control flow depend on them"
            fail(f"trace(make_model, x): {failed_at(error)}", "a line that torch.export can follow", came, hint)
    assert program.call_spec.out_spec is not None
    if not program.call_spec.out_spec.is_leaf():
        fail("trace(make_model, x)", "a module that returns one tensor", "a tuple, list or dict", "wrap it in a module "
             "that does")  # fmt: skip
    return Export(
        program,
        dict(copied.named_parameters(remove_duplicate=False)),
        constants(program),
        {name: places.at.get(id(module), ("",))[0] for name, module in made.named_modules()},
    )


def without_numbers(made: nn.Module, twin: Callable[[Tensor], Tensor | None], fake: Any) -> nn.Module:
    """A copy with parameters that have shapes only, and the numbers of what else is known; in evaluation mode."""

    def hollow(t: Tensor) -> Tensor:
        with fake:
            return torch.empty(t.shape, dtype=t.dtype, device="cpu")

    memo: dict[int, Any] = {}
    for p in made.parameters():
        memo[id(p)] = nn.Parameter(hollow(p), requires_grad=p.is_floating_point())
    held = (t for module in made.modules() for t in (*buffers_of(module), *vars(module).values()))
    for t in held:
        if isinstance(t, Tensor) and id(t) not in memo:
            number = twin(t) if t.numel() <= LARGEST_TWIN else None
            memo[id(t)] = hollow(t) if number is None else number.detach().clone()
    # deepcopy does not look into what the memo has: nothing of the user's is copied, and nothing changed.
    try:
        return copy.deepcopy(made, memo).eval()
    except Exception as error:
        fail(MAKE, "a function that builds a module that can be copied", f"{type(error).__name__}: {one_line(error)}")


def constants(program: torch.export.ExportedProgram) -> dict[str, Tensor | None]:
    """Of each placeholder of a buffer or constant, the numbers."""
    signature = program.graph_signature
    targets = {**signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
    found = {place: program.state_dict.get(name, program.constants.get(name)) for place, name in targets.items()}
    return {place: None if is_fake(t) else t for place, t in found.items()}


def paired(first: fx.Graph, second: fx.Graph) -> tuple[tuple[fx.Node, fx.Node], ...]:
    """The nodes of two graphs of the same operations."""
    pairs = list(zip(first.nodes, second.nodes, strict=False))
    for one, other in pairs:
        if one.op != other.op or (one.op == "call_function" and one.target != other.target):
            where = line_of(one)
            fail(MAKE, "the same operations at every width", f"{one.target} at one and {other.target} at another "
                 f"({where or one.name})", "choose widths=(a, b) at which they are")  # fmt: skip
    if len(first.nodes) != len(second.nodes):
        came = f"{len(first.nodes)} and {len(second.nodes)} operations at two widths"
        fail(MAKE, "the same operations at every width", came, "a depth that depends on the width has no limit")
    return tuple(pairs)


@contextmanager
def without_fast_paths() -> Iterator[None]:
    """nn.TransformerEncoderLayer's fused operation off, so that the graph has what it is made of."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def quiet() -> Iterator[None]:
    """torch writes tracebacks and graphs of its own before it raises; the message says what they say."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def shown(x: Tensor) -> str:
    """A batch in a message."""
    return f"it was given shape {tuple(x.shape)} and {x.dtype}"


def one_line(error: BaseException) -> str:
    """The first sentence of an error's text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"\s+", " ", lines[0])[:160] if lines else "no text"
