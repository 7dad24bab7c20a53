"""What a command asks of the machine: threads, a device, and memory; refused before it is taken."""

import os

import torch

from mupi.checks import fail
from mupi.kernels.memory import available_memory, require_memory

MOST_THREADS = max(64, os.cpu_count() or 1)
"""Many more than processors are slower than one thread, and at some number the system stops the process."""


def set_threads(threads: int | None) -> None:
    """Use so many threads of torch on the CPU; None leaves it to torch.

    Raises:
        ValueError: If they are more than any use of them can explain.
    """
    if threads is None:
        return
    if not 1 <= threads <= MOST_THREADS:
        fail("threads", f"between 1 and {MOST_THREADS}", threads)
    torch.set_num_threads(threads)


def require_device(name: str) -> None:
    """Refuse a device that cannot compute here.

    Raises:
        ValueError: If torch has none of that name, or one that holds no numbers.
    """
    try:
        torch.ones(1, device=name).add_(1).item()
    except Exception as error:  # each of torch's backends has its own, down to modules that cannot be imported
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        fail("device", "one that torch has here, such as cpu, to compute on", f"{name!r} ({reason})")


def require_room(argument: str, needed: int, device: str = "cpu") -> None:
    """Refuse what cannot fit into memory, before any of it is taken.

    Args:
        argument: The argument that decides the size, for the message.
        needed: Bytes, at the least.
        device: The device that is to hold it.

    Raises:
        ValueError: With what is needed and what there is.
    """
    require_memory(argument, needed, available_memory(torch.device(device)), "choose a smaller one")
