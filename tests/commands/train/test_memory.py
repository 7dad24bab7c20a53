import mmap
from pathlib import Path

import pytest
import torch

from mupi.features import Atoms, Hermite
from mupi.nets import PiMLP
from mupi.optim import SGD
from mupi.training.memory_use import PeakMemory, stored_bytes

can_set_its_peak_back = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux lets a process set its peak of memory back"
)

BLOCK = 40_000_000


def touched(size: int) -> mmap.mmap:
    """That many bytes in pages of their own: a tensor may lie in memory that the process freed and kept."""
    pages = mmap.mmap(-1, size)
    for start in range(0, size, mmap.PAGESIZE):
        pages[start] = 1
    return pages


@can_set_its_peak_back
def test_peak_memory_sees_what_was_there_for_a_moment_only():
    peak = PeakMemory(torch.device("cpu"))
    touched(2 * BLOCK).close()
    assert peak.growth() > 0.8 * 2 * BLOCK


@can_set_its_peak_back
def test_peak_memory_forgets_an_earlier_peak():
    touched(2 * BLOCK).close()
    peak = PeakMemory(torch.device("cpu"))
    with touched(BLOCK):
        assert peak.growth() > 0.8 * BLOCK


def test_stored_bytes_are_those_of_parameters_and_buffers():
    net = PiMLP(5, 3, rank=4, depth=1, features=Hermite())
    assert stored_bytes(net) == sum(t.nbytes for t in [*net.parameters(), *net.buffers()])


def test_stored_bytes_grow_by_every_atom_that_had_no_space_reserved():
    net = PiMLP(5, 3, rank=4, depth=1, features=Atoms(), readout_std=1.0)
    optimizer = SGD(net.parameter_groups(lr=0.1))
    before = stored_bytes(net)
    for _ in range(2):
        net(torch.ones(1000, 5)).sum().backward()
        optimizer.step()
    assert net.num_atoms == 2004
    assert stored_bytes(net) - before >= 4 * (1 + 3 + 4) * (2004 - 256)


@can_set_its_peak_back
def test_a_restart_forgets_the_peak_but_not_the_start():
    peak = PeakMemory(torch.device("cpu"))
    with touched(BLOCK):
        touched(4 * BLOCK).close()
        peak.restart()
        assert 0.8 * BLOCK < peak.growth() < 2 * BLOCK
