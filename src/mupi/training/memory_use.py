"""How much memory a network holds, and a process has used."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from mupi.features import AtomWeight

PROCESS_STATUS = Path("/proc/self/status")

# The unit of ru_maxrss: bytes on macOS, KiB elsewhere.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def stored_bytes(net: nn.Module) -> int:
    """Bytes of a network's parameters, buffers and atoms; of atoms also the space reserved for more."""
    tensors = [*net.parameters(), *net.buffers()]
    for module in net.modules():
        if isinstance(module, AtomWeight):
            for block in module.blocks:
                tensors += [block.atoms.c, block.atoms.a, block.atoms.b]
    return sum(tensor.nbytes for tensor in tensors)


def stored_atoms(net: nn.Module) -> int:
    """How many atoms a network's weights hold; 0 at constant memory."""
    return sum(module.num_atoms for module in net.modules() if isinstance(module, AtomWeight))


class PeakMemory:
    """How far the peak of memory in use lies above what was in use when this object was made.

    On the CPU this is the resident memory of the whole process. Linux lets a process set its peak back to what it
    uses now; elsewhere what an earlier and higher peak hides is not seen, and `restart` changes nothing.

    Args:
        device: Where the network is.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.restart()
        self.start = self._peak()

    def restart(self) -> None:
        """Forget the peak so far."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")

    def growth(self) -> int:
        """The peak since the last restart, in bytes above the start."""
        return self._peak() - self.start

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if PROCESS_STATUS.exists():
            # Not ru_maxrss: a process inherits that from its parent and never sets it back.
            line = next(line for line in PROCESS_STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
            return int(line.split()[1]) * 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
