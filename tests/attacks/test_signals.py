"""Commands that are stopped, whose disk is full, whose parent or child is killed: what they say, leave and go on to."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked import End

from commands import command
from mupi.reports import Report
from omniglot_archives import write_archives

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SMALL = ["--train-size", "100", "--rank", "6", "--epochs", "6", "--name", "r"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Small data for all commands, which draw no figures."""
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as monkeypatch:
        write_archives(root, monkeypatch)
        draw = random.Random(0)
        (root / "text8").write_text(" ".join(draw.choices([f"word{i}" for i in range(20)], k=3000)))
        (root / "questions-words.txt").write_text(": some\nword0 word1 word2 word3\n")
        monkeypatch.setattr("mupi.recipes.word2vec.sampling.PASSAGE", 300)
        monkeypatch.setattr("mupi.commands.train.train.report_runs", lambda *_: [])
        # Figures take longer than such runs.
        monkeypatch.setattr(Report, "figure", lambda *_: None)
        yield str(root)


def stop_after(seconds: float, signum: int) -> Callable[[], None]:
    """Sends itself the signal at that moment."""

    def prepare() -> None:
        timer = threading.Timer(seconds, lambda: os.kill(os.getpid(), signum))
        timer.daemon = True
        timer.start()

    return prepare


def one_line(end: End) -> bool:
    """Whether it said nothing but why it ended."""
    return end.said.startswith("mupi: ") and end.said.count("\n") == 1


TIMES = {"seconds", "peak_mb", "cpu_seconds", "crc32"}


def numbers(directory: Path) -> dict[str, object]:
    """All results in a directory that do not depend on time."""

    def timeless(value: object) -> object:
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if k not in TIMES and "seconds" not in k}
        return [timeless(v) for v in value] if isinstance(value, list) else value

    found: dict[str, object] = {}
    for path in sorted(directory.rglob("*.json*")):
        if path.name not in ("config.json", "progress.jsonl"):
            lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            found[str(path.relative_to(directory))] = [timeless(json.loads(line)) for line in lines]
    return found


def going_on(args: list[str], directory: Path) -> list[str]:
    """The command that goes on from what is there."""
    if args[0] in ("train", "word2vec", "omniglot"):
        return [*args, "--resume"] if any(directory.rglob("checkpoint.pt")) else [*args, "--overwrite"]
    return args


RESUMED = {
    "train": ["train", *SMALL],
    "train atoms": ["train", *SMALL, "--features", "atoms"],
    "word2vec": [
        "word2vec", "gaussian", "--width", "6", "--data-dir", "{data}", "--epochs", "3", "--name", "r", "--lr", ".1",
    ],
    "omniglot": [
        "omniglot", "pi", "pi-net", "--data-dir", "{data}", "--batches", "12", "--tasks", "3", "--rank", "5",
        "--width", "8", "--ways", "3", "--evaluate-every", "4", "--validation-episodes", "5", "--test-episodes", "20",
        "--lr", ".5", "--name", "r",
    ],
    "mu-limit": [
        "mu-limit", "--images", "4", "--samples", "256", "--steps", "3", "--widths", "8", "16", "--seeds", "2",
    ],
}  # fmt: skip
NOT_KEPT = {
    "convergence": ["convergence", "--ranks", "2", "--max-width", "128", "--mu-max-width", "128", "--steps", "3"],
    "ensemble": ["ensemble", "--max-width", "128", "--seeds", "4", "--steps", "0", "20"],
    "lr-transfer": ["lr-transfer", "--train-size", "64", "--widths", "8", "16", "--log2-lr", "-5", "-2"],
}


@pytest.mark.parametrize("name", RESUMED)
def test_stopped_at_any_moment_a_command_goes_on_to_the_same_numbers(record, data, tmp_path: Path, name: str):
    draw = random.Random(name)
    args = [part.format(data=data) for part in RESUMED[name]]
    whole = tmp_path / "whole"
    whole.mkdir()
    begin = time.perf_counter()
    assert command(args, whole).end().status == 0
    duration, right = time.perf_counter() - begin, numbers(whole / "runs")
    for signum in SIGNALS:
        for i in range(2):
            directory = tmp_path / f"{signum}-{i}"
            directory.mkdir()
            moment = duration * (0.05 + 0.9 * draw.random())
            end = command(args, directory, stop_after(moment, signum)).end()
            case = f"{name}, {signum.name} after {moment:.2f} s of {duration:.2f} ({end})"
            if "Traceback" in end.said:
                record("signals", case, "traceback")
            elif end.status == 0:
                record("signals", case, "right" if numbers(directory / "runs") == right else "silent")
            elif end.status != 128 + signum or not one_line(end):
                record("signals", case, "lost" if end.status < 0 else "traceback")
            else:
                after = command(going_on(args, directory), directory).end()
                same = after.status == 0 and numbers(directory / "runs") == right
                record("signals", f"{case}, then {after}", "right" if same else "lost")


@pytest.mark.parametrize("name", NOT_KEPT)
def test_a_command_that_keeps_nothing_is_stopped_with_a_line(record, data, tmp_path: Path, name: str):
    for signum in SIGNALS:
        end = command(NOT_KEPT[name], tmp_path, stop_after(0.3, signum)).end()
        good = (end.status == 128 + signum and one_line(end)) or end.status == 0
        record("signals", f"{name}, {signum.name} ({end})", "refused" if good else "traceback")


def test_one_stop_that_is_sent_twice_still_saves(record, data, tmp_path: Path):
    def twice() -> None:
        def stop() -> None:
            # Before there is nothing to save, and a busy machine takes its time.
            while not any(path.stat().st_size for path in tmp_path.rglob("metrics.jsonl")):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.02)  # Python would take two that are there at once for one
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=stop, daemon=True).start()

    args = ["train", *SMALL, "--epochs", "200"]
    end = command(args, tmp_path, twice).end()
    saved = end.status == 143 and "holds them all" in end.said
    record("signals", f"SIGTERM twice, as timeout sends it ({end})", "right" if saved else "lost")


@pytest.mark.parametrize("name", ["train atoms", "word2vec", "omniglot", "mu-limit"])
def test_a_full_disk_is_a_line_that_leaves_what_was_saved(record, data, tmp_path: Path, name: str):
    args = [part.format(data=data) for part in RESUMED[name]]
    whole = tmp_path / "whole"
    whole.mkdir()
    assert command(args, whole).end().status == 0
    right = numbers(whole / "runs")
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    for share in (0.05, 0.5, 0.8, 0.95):
        directory = tmp_path / str(share)
        directory.mkdir()

        def prepare(size: int = int(share * largest)) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        end = command(args, directory, prepare).end()
        case = f"{name}, {share:.0%} of the largest file ({end})"
        left = [p.name for p in directory.rglob("*") if "partial" in p.name]
        if not one_line(end) or "[Errno" not in end.said:
            record("full disk", case, "traceback")
        elif end.status in (0, 1) or left:
            record("full disk", f"{case}, left {left}", "silent")
        else:
            after = command(going_on(args, directory), directory).end()
            same = after.status == 0 and numbers(directory / "runs") == right
            record("full disk", f"{case}, then {after}", "right" if same else "lost")


def test_output_that_nobody_reads_or_that_fits_nowhere(record, tmp_path: Path):
    def unread() -> None:
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)

    def full() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    end = command(["abc"], tmp_path, unread).end()
    record(
        "output",
        f"a pipe that is closed ({end})",
        "right" if (end.status, end.said) == (141, "") else "traceback",
    )
    end = command(["abc"], tmp_path, full).end()
    record("output", f"a full disk ({end})", "refused" if one_line(end) and end.status == 74 else "traceback")


@pytest.mark.parametrize("imported", ["numpy", "torch.nn", "matplotlib"])
def test_ctrl_c_while_a_command_starts_is_no_traceback(record, tmp_path: Path, imported: str):
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "mupi", "abc"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.rpartition("|")[2].strip() == imported:
                process.send_signal(signal.SIGINT)
                break
        lines += process.stderr.readlines()
    status = process.returncode
    said = "".join(line for line in lines if not line.startswith("import time:"))
    good = (status == 130 and "Traceback" not in said) or (status == 0 and not said)
    record(
        "start",
        f"Ctrl-C once {imported} is imported: status {status}, {said[-200:]}",
        "refused" if good else "traceback",
    )


COMPARE = ["compare", "--seeds", "1", "--models", "mu-net", "--width", "32", "--train-size", "300", "--name", "r"]


def children(directory: Path) -> list[int]:
    """Processes that are in a directory, but for the leader of their group."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cwd").readlink() == directory and int(path.name) != os.getpgid(int(path.name)):
                found.append(int(path.name))
        except OSError:
            pass
    return found


def training(child: int, directory: Path) -> list[int]:
    """Wait until a comparison trains in a process of its own, and name the processes."""
    while not any(directory.rglob("checkpoint.pt")) and os.waitpid(child, os.WNOHANG)[0] == 0:
        time.sleep(0.1)
    return children(directory)


@pytest.mark.parametrize("what", ["SIGTERM", "SIGINT to all", "SIGHUP to all", "SIGKILL", "SIGKILL to the child"])
def test_a_comparison_ends_with_its_processes(record, data, tmp_path: Path, what: str):
    child = command([*COMPARE, "--epochs", "300"], tmp_path)
    others = training(child.pid, tmp_path)
    assert others
    signum = getattr(signal, what.split()[0])
    if what.endswith("child"):
        os.kill(max(others), signum)
    elif what.endswith("all"):
        os.killpg(child.pid, signum)
    else:
        os.kill(child.pid, signum)
    end = child.end()
    deadline = time.monotonic() + 15
    while (orphans := children(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for orphan in orphans:
        os.kill(orphan, signal.SIGKILL)
    case = f"{what} ({end}), left {len(orphans)}"
    if orphans:
        record("compare", case, "lost")
    elif what == "SIGKILL":
        record("compare", case, "right")
    else:
        wanted = 74 if what.endswith("child") else 128 + signum
        record("compare", case, "right" if one_line(end) and end.status == wanted else "traceback")
