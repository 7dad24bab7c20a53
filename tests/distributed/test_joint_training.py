"""Two processes that train a network together do what one does with whole batches; see `joint_worker`."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch.distributed as dist

QUICK = (
    "a Trainer, atoms",
    "hermite, factored",
    "atoms, data_parallel, clipped jointly",
    "centered",
    "random, DDP, clipped jointly",
    "in turn",
    "refused: Atoms in DDP",
    "refused: a share saved",
    "refused: trainers",
)
"""The checks of the default suite, which are those that need few imports."""

NAMES = 66
"""How many checks there are."""


def said_of(folder: Path, names: Sequence[str], size: int = 2) -> list[dict[str, str]]:
    """What each process says of each check: what went wrong, or nothing."""
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("torch was built without gloo")
    command = [sys.executable, "-W", "ignore", str(Path(__file__).parent / "joint_worker.py"), str(folder)]
    workers = [subprocess.Popen([*command, str(rank), str(size), *names]) for rank in range(size)]
    try:
        assert [worker.wait(timeout=600) for worker in workers] == [0] * size
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


def test_two_processes_make_of_halves_what_one_makes_of_whole_batches(tmp_path):
    found = said_of(tmp_path, QUICK)
    assert [list(process) for process in found] == [sorted(QUICK)] * 2
    assert not [f"{name}: {wrong}" for process in found for name, wrong in process.items() if wrong]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict[str, str]]:
    """Of all other checks."""
    return said_of(tmp_path_factory.mktemp("processes"), [f"-{name}" for name in QUICK])


@pytest.mark.slow
def test_every_check_was_made(found):
    assert len(found[0]) == len(found[1]) == NAMES - len(QUICK)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "hermite",
        "random",
        "atoms",
        "unequal rows",
        "in parts",
        "checkpointed",
        "memory is shared out",
        "a copy is of the same processes",
        "factors are less to send",
        "whole states",
        "a Trainer",
        "trains",
        "in turn",
        "kernel regression",
        "autocast",
        "limits",
        "reduced by hand",
        "refused",
    ],
)
def test_all_other_checks_hold(found, kind):
    names = [name for name in found[0] if name.startswith(kind)]
    assert names
    assert not [f"{name}: {process[name]}" for process in found for name in names if process[name]]


@pytest.mark.slow
def test_four_processes_share_a_kernel_regression(tmp_path):
    names = ["kernel regression, a factor", "kernel regression, a factor is shared out", "refused: kernel regressions"]
    for process in said_of(tmp_path, names, size=4):
        assert process == dict.fromkeys(names, "")
