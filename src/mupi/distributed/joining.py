"""`join` and `data_parallel`: tell the layers of a network which processes train it."""

from typing import Any

import torch.distributed as dist
from torch import nn

from mupi.checks import fail
from mupi.distributed.joint_module import JointModule
from mupi.distributed.together import Together
from mupi.torch_internals import leave_to_the_module


def join(net: nn.Module, group: Any = None) -> set[nn.Parameter]:
    """Have the processes of a group train a network together; each calls this, before it makes an optimizer.

    Each process then passes its own rows of every batch, of which the loss is a mean. `mupi.Atoms` keep p-th parts of
    the atoms: a forward pass gathers the inputs of all processes, batch × r numbers a layer, each computes the share
    of its atoms, and the shares are added up. Gradients that are kept as factors (`mupi.factor_gradients`) are gathered
    as factors. All processes start from the weights, atoms and buffers of the first one, as far as these layers have
    them. Passes forward and backward are collective from now on, also for evaluation.

    Args:
        net: The network.
        group: A process group; None for the default one.

    Returns:
        The parameters whose gradients these layers complete by themselves, as averages over the processes. All others
        are for a wrapper: `data_parallel`, or ``fully_shard(net, ignored_params=join(net))``.

    Raises:
        ValueError: If there is no process group, or the network is joined already.
    """
    if not (dist.is_available() and dist.is_initialized()):
        fail("join(net)", "called in a process group", "none", "call torch.distributed.init_process_group first")
    together = Together(dist.group.WORLD if group is None else group)
    layers = [module for module in net.modules() if isinstance(module, JointModule)]
    if any(layer.joined is not None for layer in layers):
        fail("join(net)", "a network that is not joined yet", "one that is", "join it once")
    if together.size == 1:
        return set()
    for layer in layers:
        layer.join(together)
    own = {parameter for layer in layers for parameter in layer.reduced_here()}
    for parameter in net.parameters():
        if parameter in own and parameter.numel():
            together.from_first(parameter.data)
    return own


def data_parallel(net: nn.Module, group: Any = None, **options: Any) -> nn.Module:
    """`torch.nn.parallel.DistributedDataParallel` of a network that is `join`-ed: also for `mupi.Atoms` and factors.

    Where every process has as many rows, training is that of one process with all rows, to rounding: gradients, their
    norms and clipping, directions of `mupi.Hermite`. (Otherwise weigh each process's loss by p·n_i/n.)

    Args:
        net: The network.
        group: A process group; None for the default one.
        **options: Of ``DistributedDataParallel``.

    Returns:
        The wrapper; the network itself in a group of one process.

    Raises:
        ValueError: As `join` says.
    """
    own = join(net, group)
    if dist.get_world_size(group) == 1:
        return net
    if own.issuperset(p for p in net.parameters() if p.requires_grad):
        return net
    names = [name for name, parameter in net.named_parameters() if parameter in own]
    # What layers keep equal by themselves need not be sent before every pass.
    for path, layer in net.named_modules():
        if isinstance(layer, JointModule):
            names += [f"{path}.{name}" if path else name for name, _ in layer.named_buffers()]
    leave_to_the_module(net, names)
    return nn.parallel.DistributedDataParallel(net, process_group=group, **options)
