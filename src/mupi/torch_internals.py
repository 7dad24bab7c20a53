"""The names of PyTorch that are private, in one place: each with what it is for, since no public name does it.

Tried with PyTorch 2.13 on CPUs, by all tests, and with 2.11 on CUDA, by training. Where a later version has moved
one, this file is where the library breaks, at import or by an AttributeError that names it.
"""

import sys
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

BATCH_NORMS = nn.modules.batchnorm._BatchNorm
"""The one type of all batch normalisations, lazy and synchronised ones too."""

DROPOUTS = nn.modules.dropout._DropoutNd
"""The one type of all dropouts."""

OPERATOR = torch._ops.OpOverload
"""The type of the operators in a graph, such as ``torch.ops.aten.add.Tensor``."""

ITEM = torch.ops.aten._local_scalar_dense.default
"""What asks for the number in a tensor."""

DispatchMode, leaves_of, mapped = TorchDispatchMode, tree_leaves, tree_map
"""What sees each operator while it is entered; the tensors in nested arguments, and others put in their place."""

_functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]


def is_transformed(x: Tensor) -> bool:
    """Whether a transform of `torch.func` (vmap, grad, jvp, …) is at work on x, so that Python must keep no value."""
    return _functorch.is_functorch_wrapped_tensor(x)


def is_batched(x: Tensor) -> bool:
    """Whether x is one of many in `torch.func.vmap`, under other transforms or not: no ``if`` can ask for its value."""
    while is_transformed(x):
        if _functorch.is_batchedtensor(x):
            return True
        x = _functorch.get_unwrapped(x)
    return False


def without_transforms(x: Tensor) -> Tensor:
    """The tensor of values under all transforms of `torch.func`."""
    while is_transformed(x):
        x = _functorch.get_unwrapped(x)
    return x


def in_forward_mode() -> bool:
    """Whether forward-mode derivatives are being taken, which an autograd function without a ``jvp`` has to know."""
    return forward_ad._current_level >= 0


def will_execute(node: Any) -> bool:
    """Whether the backward pass in progress will come to a node: not for gradients of other tensors only.

    Raises:
        RuntimeError: If the node is that of a leaf which `torch.autograd.grad` is to differentiate by.
    """
    return torch._C._will_engine_execute_node(node)


def as_plain_tensors() -> AbstractContextManager:
    """A context in which `__torch_function__` of tensor subclasses is not asked, so that it can call the original."""
    return torch._C.DisableTorchFunctionSubclass()


def as_dispatched_tensors() -> AbstractContextManager:
    """The same of `__torch_dispatch__`."""
    return torch._C._DisableTorchDispatch()


def subclassed(cls: type, data: Tensor) -> Any:
    """``data`` as an instance of a subclass of `Tensor`, made in its ``__torch_dispatch__`` without a constructor."""
    return torch.Tensor._make_subclass(cls, data)


def without_storage(cls: type, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Any:
    """An instance of a subclass of `Tensor` that has a shape and no numbers."""
    return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=device)


def has_hooks(x: Tensor) -> bool:
    """Whether someone's hook is to see gradients of x."""
    return bool(x._backward_hooks)


def version(x: Tensor) -> int:
    """How often x was changed in place: what autograd checks saved tensors by; grows with any optimizer's step."""
    return x._version


def in_process_group() -> bool:
    """Whether this process has been told of others; see `torch.distributed.init_process_group`."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def default_store() -> Any:
    """What the processes of the default group were connected by, in which any of them may count."""
    from torch.distributed.distributed_c10d import _get_default_store

    return _get_default_store()


def in_backward() -> bool:
    """Whether autograd runs a backward pass in this thread."""
    return torch._C._current_graph_task_id() != -1


def data_parallel_group(layer: nn.Module) -> Any:
    """The processes of the DistributedDataParallel or FSDP that runs a layer's forward pass just now, or None.

    Args:
        layer: A pass of FSDP that raised goes on for ever by its own account: one through other layers says nothing.

    Raises:
        ValueError: If FSDP's mesh has more than one axis.
    """
    if not in_process_group():
        return None
    wrapper = nn.parallel.DistributedDataParallel._get_active_ddp_module()
    if wrapper is not None:
        return wrapper.process_group
    for state in _sharding_states():
        if state._training_state.name == "FORWARD" and _holds(state, layer):
            for group in _parameter_groups(state):
                mesh = group.mesh_info.mesh
                if mesh.ndim != 1:
                    raise ValueError(
                        f"`fully_shard(mesh=...)` must be of one axis for mupi's layers; got {mesh.ndim} axes; "
                        "use mupi.distributed.join(net) and reduce over all processes"
                    )
                return mesh.get_group()
    return None


def leave_to_the_module(module: nn.Module, names: list[str]) -> None:
    """Have DistributedDataParallel leave parameters and buffers of these names alone."""
    nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


def sharded_parameter(module: nn.Module, name: str) -> Any:
    """What an optimizer holds of a module's parameter that FSDP (`fully_shard`) manages; None where it does not."""
    for state in _sharding_states():
        for group in _parameter_groups(state):
            for parameter in group.fsdp_params:
                if parameter._module_info.module is module and parameter._module_info.param_name == name:
                    return parameter.sharded_param
    return None


def _sharding_states() -> list[Any]:
    """The states of all modules that `fully_shard` was called on."""
    if "torch.distributed.fsdp._fully_shard" not in sys.modules:
        return []
    from torch.distributed._composable_state import _module_state_mapping
    from torch.distributed.fsdp._fully_shard._fsdp_state import FSDPState

    references = (reference() for reference in list(_module_state_mapping.values()))
    return [state for state in references if isinstance(state, FSDPState)]


def _holds(state: Any, layer: nn.Module) -> bool:
    """Whether a layer is of the modules that a state is of."""
    return any(module is layer for root in state._modules for module in root.modules())


def _parameter_groups(state: Any) -> list[Any]:
    """Of one of them; versions before 2.10 or so had one group at most."""
    groups = getattr(state, "_fsdp_param_groups", None)
    if groups is None:
        groups = [state._fsdp_param_group]
    return [group for group in groups if group is not None]


def assert_on_device(condition: Tensor, message: str) -> None:
    """An assertion that an accelerator makes without Python waiting for it, and that `torch.export` keeps."""
    torch._assert_async(condition, message)  # pyright: ignore[reportPrivateImportUsage]


def operator_name(operator: Any) -> tuple[str, str, str]:
    """Namespace, name and overload (aten, add, Tensor), the name without the _ of those that work in place."""
    return operator.namespace, operator._opname.rstrip("_"), operator._overloadname


def schema(operator: Any) -> Any:
    """An operator's arguments, and which of them it changes."""
    return operator._schema


def factories() -> Any:
    """torch.zeros and all the other functions that make tensors, on a device that one may name."""
    return _device_constructors()


def memory_of(x: Tensor) -> int:
    """A number for the memory that a tensor has its numbers in, which its views share; meta tensors have one too."""
    return x.untyped_storage()._cdata


def buffers_of(module: nn.Module) -> list[Tensor | None]:
    """A module's own buffers."""
    return list(module._buffers.values())


def fake_tensors() -> Any:
    """A mode in which tensors have shapes, dtypes and devices, and no numbers, as `torch.export` wants them."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


def is_fake(x: Any) -> bool:
    """Whether a tensor has no numbers."""
    from torch._subclasses.fake_tensor import FakeTensor

    return isinstance(x, FakeTensor)


def allow_variants(count: int) -> None:
    """Let a compiler make so many variants of one piece of code before it leaves it as it is, if it allows fewer."""
    from torch._dynamo import config  # takes seconds

    config.recompile_limit = max(config.recompile_limit, count)
