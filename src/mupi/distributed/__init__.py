"""More than one process: `torch.distributed` under the layers."""

from mupi.distributed.joining import data_parallel, join
from mupi.distributed.joint_module import JointModule
from mupi.distributed.states import load_optimizer_state_dict, optimizer_state_dict, state_dict
from mupi.distributed.together import Together

__all__ = [
    "JointModule",
    "Together",
    "data_parallel",
    "join",
    "load_optimizer_state_dict",
    "optimizer_state_dict",
    "state_dict",
]
