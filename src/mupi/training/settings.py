"""What decides a run of a `Trainer`, as JSON has it: a run goes on only with the same."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mupi.conventions import without_address
from mupi.distributed.processes import checksum
from mupi.training.epoch_record import EpochRecord
from mupi.training.examples import Examples
from mupi.training.run_folder import RunFolder

CALL_OF_FIT = ("data", "test")


def plain(value: Any) -> Any:
    """A value as JSON has it: tensors by their checksum, functions and objects by their name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Tensor):
        return checksum(value)
    if isinstance(value, partial):
        return [plain(value.func), plain(value.args), plain(value.keywords)]
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__qualname__, plain(asdict(value))]
    if isinstance(value, nn.Module):
        numbers = {
            k: plain(v) for k, v in vars(value).items() if isinstance(v, bool | int | float | str) and k[0] != "_"
        }
        return [without_address(repr(value)), numbers, plain(value.state_dict())]
    if isinstance(value, torch.dtype):
        return str(value)
    return getattr(value, "__qualname__", type(value).__qualname__)


def of_network(net: nn.Module) -> str:
    """Its class, and a checksum of what it prints and of the shapes in its state."""
    shapes = {name: list(v.shape) for name, v in net.state_dict().items() if isinstance(v, Tensor)}
    text = without_address(repr(net)) + json.dumps(shapes)
    return f"{type(net).__qualname__} {zlib.crc32(text.encode()):08x}"


def of_optimizer(optimizer: Optimizer) -> list[Any]:
    """Its class, and what its groups say, and how many parameters they have: for each where they differ."""
    groups = [
        {name: len(value) if name == "params" else plain(value) for name, value in group.items()}
        for group in optimizer.param_groups
    ]
    found = {name: [group.get(name) for group in groups] for name in sorted(set().union(*groups))}
    differ = {name: values[0] if values == values[:1] * len(values) else values for name, values in found.items()}
    return [type(optimizer).__qualname__, len(groups), differ]


def of_examples(examples: Examples | None) -> list[str] | None:
    """The checksums of inputs and targets."""
    return None if examples is None else [checksum(examples.x), checksum(examples.y)]


def argument(name: str) -> str:
    """What errors call a setting."""
    return f"{'fit' if name in CALL_OF_FIT else 'Trainer'}({name}=...)"


def trainer_folder(
    path: Path, settings: dict[str, Any], train: Examples, tests: Examples | None
) -> RunFolder[EpochRecord]:
    """The folder of a `Trainer`'s run on these examples."""
    known = settings | {"data": of_examples(train), "test": of_examples(tests)}
    return RunFolder(
        directory=path,
        settings=known,
        identity=known,
        record=EpochRecord,
        counted_by="epoch",
        writer="Trainer.fit",
        argument=argument,
        otherwise="choose another directory",
        start_again="choose another directory, or remove this one",
    )
