"""State dicts of what several processes have shares of: whole ones, which any number of processes loads."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from mupi.distributed.joint_module import JointModule
from mupi.distributed.sharded import unsharded
from mupi.distributed.together import Together

_collecting: ContextVar[bool] = ContextVar("collecting", default=False)


def is_collecting() -> bool:
    """Whether all processes ask for a whole state just now."""
    return _collecting.get()


@contextmanager
def _collected() -> Iterator[None]:
    token = _collecting.set(True)
    try:
        yield
    finally:
        _collecting.reset(token)


def state_dict(net: nn.Module) -> dict[str, Any]:
    """The whole ``net.state_dict()``, of shares of atoms and of what FSDP shards; all processes call this.

    ``net.load_state_dict`` takes it in one process, and in any number of joined ones, of which each takes its share.

    Args:
        net: The network, without its wrapper (``wrapped.module``).

    Returns:
        It, in the first process; in others what they have.
    """
    with _collected():
        return {
            name: unsharded(value) if isinstance(value, Tensor) else value for name, value in net.state_dict().items()
        }


def optimizer_state_dict(net: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """The whole ``optimizer.state_dict()``: velocities of shares of atoms put together; all processes call this.

    Args:
        net: The network, without its wrapper.
        optimizer: Of its parameters.

    Returns:
        It, in the first process; in others what they have.
    """
    saved = optimizer.state_dict()
    for number, together in _shared_out(net, optimizer).items():
        for name, value in list(saved["state"].get(number, {}).items()):
            if isinstance(value, Tensor) and value.ndim:
                whole = together.in_first(value, together.counts(value))
                saved["state"][number] = {**saved["state"][number], name: whole}
    return saved


def load_optimizer_state_dict(net: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """The inverse of `optimizer_state_dict`, in any number of processes.

    Args:
        net: The network, without its wrapper.
        optimizer: Of its parameters.
        state: The whole state, in all processes.
    """
    own = dict(state["state"])
    for number, together in _shared_out(net, optimizer).items():
        own[number] = {
            name: value[together.slice_of(len(value))] if isinstance(value, Tensor) and value.ndim else value
            for name, value in own.get(number, {}).items()
        }
    optimizer.load_state_dict({**state, "state": own})


def _shared_out(net: nn.Module, optimizer: Optimizer) -> dict[int, Together]:
    """The numbers, in an optimizer's state, of the parameters that processes have shares of."""
    shared = {
        parameter: layer.joined
        for layer in net.modules()
        if isinstance(layer, JointModule) and layer.joined is not None
        for parameter in layer.shared_out()
    }
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {number: shared[p] for number, p in enumerate(parameters) if p in shared}
