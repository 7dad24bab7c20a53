"""`torchrun -m mupi train`: what is killed or stopped ends cleanly, and goes on in any number of processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch.distributed as dist

pytestmark = pytest.mark.slow

ARGUMENTS = ["-m", "mupi", "train", "--train-size", "300", "--features", "atoms", "--rank", "8"]
ARGUMENTS += ["--momentum", "0.5", "--threads", "1"]
SECONDS = 120


@pytest.fixture(autouse=True)
def gloo():
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("torch was built without gloo")


def started(folder: Path, processes: int, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.Popen:
    """The command, in so many processes."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*torchrun, *options] if processes > 1 or options else [sys.executable]
    return subprocess.Popen(
        [*command, *ARGUMENTS, "--runs-dir", str(folder), "--name", "run", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def losses(folder: Path) -> list[float]:
    path = folder / "run" / "metrics.jsonl"
    return [json.loads(line)["test_loss"] for line in path.read_text().splitlines()] if path.exists() else []


def after(epochs: int, folder: Path, command: subprocess.Popen) -> list[int]:
    """The processes of the command, once so many epochs are finished."""
    start = time.monotonic()
    while len(losses(folder)) < epochs:
        if command.poll() is not None or time.monotonic() - start > SECONDS:
            command.kill()
            pytest.fail(f"it ended before, or hangs: {command.communicate()}")
        time.sleep(0.05)
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
    return [int(child) for child in children if b"mupi" in Path(f"/proc/{child}/cmdline").read_bytes()]


def ended(command: subprocess.Popen) -> tuple[int, str]:
    """Its status, and the lines that it said of mupi's."""
    out, err = command.communicate(timeout=SECONDS)
    assert "mupi: this is a bug" not in err and "bug of mupi" not in err, err
    return command.returncode, out + "\n".join(line for line in err.splitlines() if line.startswith("mupi:"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[float]:
    """The losses of a run of one process that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    status, _ = ended(started(folder, 1, "--epochs", "6"))
    assert status == 0
    return losses(folder)


def test_a_killed_worker_ends_the_run_and_another_number_goes_on_from_what_was_saved(tmp_path, whole):
    command = started(tmp_path, 2, "--epochs", "6")
    os.kill(after(2, tmp_path, command)[1], signal.SIGKILL)
    status, said = ended(command)
    assert status != 0 and "another process of the run has ended" in said
    status, said = ended(started(tmp_path, 3, "--epochs", "6", "--resume"))
    assert status == 0, said
    assert losses(tmp_path) == pytest.approx(whole, rel=1e-4)
    assert said.count("test accuracy") == 1, "one process speaks"


def test_torchrun_starts_again_what_was_killed_and_it_goes_on_by_itself(tmp_path, whole):
    command = started(tmp_path, 2, "--epochs", "6", "--overwrite", options=("--max-restarts", "1"))
    os.kill(after(3, tmp_path, command)[0], signal.SIGKILL)
    status, said = ended(command)
    assert status == 0, said
    assert losses(tmp_path) == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("whom", ["torchrun", "one worker", "all"])
def test_a_signal_to_stop_ends_all_between_two_steps_once_the_state_is_saved(tmp_path, whole, whom):
    command = started(tmp_path, 2, "--epochs", "6")
    workers = after(2, tmp_path, command)
    for process in {"torchrun": [command.pid], "one worker": workers[1:], "all": [command.pid, *workers]}[whom]:
        os.kill(process, signal.SIGINT if whom == "all" else signal.SIGTERM)
    status, said = ended(command)
    assert status != 0 and said.count("holds them all, and --resume goes on from there") == 1, said
    status, said = ended(started(tmp_path, 1, "--epochs", "6", "--resume"))
    assert status == 0, said
    assert losses(tmp_path) == pytest.approx(whole, rel=1e-4)


def test_compiled_steps_of_two_processes_are_those_of_one_that_compiles_nothing(tmp_path):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # Of the last batch one process has no row.
    options = ["--train-size", "41", "--batch-size", "20", "--rank", "6", "--epochs", "1", "--threads", "1"]
    train = ["-m", "mupi", "train", *options, "--runs-dir", str(tmp_path), "--name"]
    for command in ([*train, "run"], [*torchrun, *train, "both", "--compile"]):
        subprocess.run([sys.executable, *command], check=True, capture_output=True, timeout=10 * SECONDS)
    (found,) = [json.loads(line) for line in (tmp_path / "both" / "metrics.jsonl").read_text().splitlines()]
    assert found["test_loss"] == pytest.approx(losses(tmp_path)[0], rel=1e-4)


def test_what_does_not_know_of_others_is_refused_once(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    found = subprocess.run([*torchrun, "-m", "mupi", "abc"], capture_output=True, text=True, timeout=SECONDS)
    assert found.stderr.count("`mupi abc` must be started once; got torchrun with 2 processes") == 1
