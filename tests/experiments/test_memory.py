from pathlib import Path

import pytest
import torch

from mupi.experiments.memory import PeakMemory, stored_bytes
from mupi.features import Atoms, Hermite
from mupi.nets import PiMLP
from mupi.optim import SGD

can_set_its_peak_back = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux lets a process set its peak of memory back"
)


@can_set_its_peak_back
def test_peak_memory_sees_what_was_there_for_a_moment_only():
    peak = PeakMemory(torch.device("cpu"))
    block = torch.ones(60_000_000 // 4)
    del block
    assert peak.growth() > 50e6


@can_set_its_peak_back
def test_peak_memory_forgets_an_earlier_peak():
    block = torch.ones(60_000_000 // 4)
    del block
    peak = PeakMemory(torch.device("cpu"))
    block = torch.ones(30_000_000 // 4)
    assert peak.growth() > 0.8 * block.nbytes


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
    kept = torch.ones(30_000_000 // 4)
    passing = torch.ones(60_000_000 // 4)
    del passing
    peak.restart()
    assert 0.8 * kept.nbytes < peak.growth() < 60e6
