"""Two processes that train a network together do what one does with whole batches; see `joint_worker`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

NAMES = 38
"""How many checks there are."""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict[str, str]]:
    """What each process says of each check: what went wrong, or nothing."""
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("torch was built without gloo")
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-W", "ignore", str(Path(__file__).parent / "joint_worker.py"), str(folder)]
    workers = [subprocess.Popen([*command, str(rank)]) for rank in range(2)]
    try:
        assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def wrong(found: list[dict[str, str]], kind: str) -> list[str]:
    """What is, of the checks of a kind, of which there must be some."""
    names = [name for name in found[0] if name.startswith(kind)]
    assert names
    return [f"{name}: {process[name]}" for process in found for name in names if process[name]]


def test_every_check_was_made(found):
    assert len(found[0]) == len(found[1]) == NAMES


@pytest.mark.parametrize("features", ["hermite", "random", "atoms"])
def test_two_processes_make_of_halves_what_one_makes_of_whole_batches(found, features):
    assert not wrong(found, features)


def test_of_unequally_many_rows_too(found):
    assert not wrong(found, "unequal rows")


def test_of_batches_in_parts_too(found):
    assert not wrong(found, "in parts")


def test_where_the_forward_pass_is_run_again(found):
    assert not wrong(found, "checkpointed")


def test_atoms_are_shared_out(found):
    assert not wrong(found, "memory is shared out")
    assert not wrong(found, "a copy is of the same processes")


def test_factors_are_less_to_send_than_matrices(found):
    assert not wrong(found, "factors are less to send")


def test_a_state_goes_on_in_any_number_of_processes(found):
    assert not wrong(found, "whole states")


def test_the_mean_that_is_subtracted_is_that_of_all(found):
    assert not wrong(found, "centered")


def test_a_run_of_the_command_is_that_of_one_process_and_goes_on_in_one(found):
    assert not wrong(found, "trains")


def test_a_kernel_regression_on_shared_tiles_is_that_of_one_process(found):
    assert not wrong(found, "kernel regression")


def test_gradients_may_be_reduced_by_hand(found):
    assert not wrong(found, "reduced by hand")


def test_what_would_be_wrong_is_refused_in_one_line(found):
    assert not wrong(found, "refused")
