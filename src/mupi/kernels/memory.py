"""How much memory can be had, so that a computation that needs more is refused before it starts."""

import os
import re
from functools import cache
from pathlib import Path

import torch

from mupi.checks import fail

MEMORY_INFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def require_memory(argument: str, needed: int, available: int, hint: str) -> None:
    """Raise ``ValueError`` if ``needed`` bytes are more than ``available``, with both figures."""
    if needed > available:
        fail(
            argument,
            f"small enough for the available memory, {available / 1e9:.1f} GB",
            f"a size that needs {needed / 1e9:.1f} GB",
            hint,
        )


@cache
def reuse_freed_memory() -> None:
    """Let temporaries of some megabytes have memory that others had before, once and for all.

    Linux's usual allocator hands blocks as large as those that were ever freed, up to 32 MB, out of memory that it
    keeps; all others it asks of the system each time, which clears their pages: that takes longer than to fill them.
    So one such block is freed, that nothing was written to. Other allocators do not mind.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


def available_memory(device: torch.device) -> int:
    """Bytes that can be allocated on ``device``: what is free and what the system would give back.

    On the CPU the smaller of what the machine has and what a container's limit leaves; where the system tells
    only how much memory is built in, that.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    free = _machine()
    limit = _container()
    return free if limit is None else min(free, limit)


def _machine() -> int:
    if MEMORY_INFO.exists() and (found := re.search(r"MemAvailable:\s*(\d+) kB", MEMORY_INFO.read_text())):
        return 1024 * int(found[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _container() -> int | None:
    """The limit of the control group less what it uses and cannot give back; None where there is none."""
    try:
        limit = int((CGROUP / "memory.max").read_text())  # "max" stands for no limit
        used = int((CGROUP / "memory.current").read_text())
        cache = re.search(r"^inactive_file (\d+)$", (CGROUP / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return max(0, limit - used + (int(cache[1]) if cache else 0))
