"""Commands of `mupi` in forks of a process that has imported it once: some of them killed at a file event.

Started by `Commands` in a process of its own, without the shape checks of the tests, which users do not have. Files do
not depend on time and memory here, so that those of two runs can be compared byte for byte.
"""

import contextlib
import hashlib
import io
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from forked import start

Outcome = dict[str, Any]
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}


class Commands:
    """Runs commands, each in a process of its own."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self.server = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True)

    def together(self, *jobs: dict[str, Any]) -> list[Outcome]:
        """Start some at once; exit status (negative: the signal) and stderr of each."""
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(jobs) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def run(self, cwd: Path, args: list[str], **more: Any) -> Outcome:
        """Run one in a folder.

        Args:
            cwd: The folder.
            args: Of the command line.
            more: ``kill``: the file event before which it is killed; or with ``size``, at that event's file when it
                grows beyond so many bytes. ``log``: where to list the events. ``changes``: see `one_by_one`.
        """
        return self.together({"cwd": str(cwd), "args": args, **more})[0]

    def close(self) -> None:
        """End the server."""
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()


class Events:
    """Counts what changes files below the working folder, and ends the process at one of them."""

    def __init__(self, kill: int | None, size: int | None):
        self.kill, self.size = kill, size
        self.root = os.getcwd()
        self.seen: list[tuple[str, str]] = []
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
            # Of `open` or of `os.open`; a lock, say, is opened by the latter and not written.
            event = "open" if mode else "os.open"
        elif event not in WRITES:
            return
        else:
            path = args[1] if event == "os.rename" else args[0]
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.path.relpath(os.fsdecode(path), self.root)
        if name.startswith(".."):
            return
        if len(self.seen) == self.kill:
            if self.size is None:
                os.kill(os.getpid(), signal.SIGKILL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            old = os.path.getsize(path) if args[1] and "a" in args[1] and os.path.exists(path) else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (old + self.size, -1))
        self.seen.append((event, name))


def freeze() -> None:
    """Take time, memory, figures and processes out of the commands, and make the data small."""
    import matplotlib.figure
    import torch

    import mupi.data.omniglot
    import mupi.recipes.comparison.contestants
    import mupi.recipes.word2vec.sampling
    import mupi.training.memory_use

    # Of what some commands import when they are called.
    recipes = (
        "omniglot.few_shot",
        "mu_limit.beside_networks",
        "word2vec.word2vec",
        "transfer.evaluate",
        "comparison.compare",
    )
    for name in recipes:
        __import__(f"mupi.recipes.{name}")
    torch.set_num_threads(1)
    ticks = itertools.count()
    time.perf_counter = time.process_time = lambda: next(ticks) / 1024
    mupi.training.memory_use.PeakMemory.growth = lambda self: 0
    mupi.recipes.comparison.contestants.in_own_process = lambda f, *args: f(*args)

    def savefig(figure: matplotlib.figure.Figure, path: Any, **options: Any) -> None:
        lines = [line.get_xydata().tolist() for axes in figure.axes for line in axes.get_lines()]
        Path(path).write_text(json.dumps(lines))

    matplotlib.figure.Figure.savefig = savefig  # pyright: ignore[reportAttributeAccessIssue]
    mupi.recipes.word2vec.sampling.PASSAGE = 100
    mupi.data.omniglot.CHARACTERS = {"images_background.zip": 13, "images_evaluation.zip": 9}
    mupi.data.omniglot.TEST_CHARACTERS = 7


def call(args: list[str]) -> Outcome:
    """One command in this process."""
    import mupi.cli

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = mupi.cli.main(args)
        except SystemExit as error:
            status = int(error.code or 0)
        except BaseException:
            status = 70
            traceback.print_exc()
    return {"status": status, "err": err.getvalue(), "out": out.getvalue()}


def one_by_one(job: dict[str, Any]) -> list[Outcome]:
    """The same command after each of several changes of one file, with what is there after it; all is put back."""
    sound = contents()
    outcomes = []
    for path, changed in job["changes"]:
        Path(path).write_bytes(bytes.fromhex(changed))
        outcome = call(job["args"])
        after = contents()
        outcome["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in after.items()}
        outcomes.append(outcome)
        for name in after.keys() - sound.keys():
            Path(name).unlink()
        for name, data in sound.items():
            if after.get(name) != data:
                Path(name).write_bytes(data)
    return outcomes


def contents() -> dict[str, bytes]:
    """All files of runs here."""
    return {str(p): p.read_bytes() for p in sorted(Path("runs").rglob("*")) if p.is_file() and p.name[0] != "."}


def answer(job: dict[str, Any]) -> Outcome:
    """What a job comes to, in its own process."""
    if "changes" in job:
        return {"outcomes": one_by_one(job), "status": 0, "err": ""}
    events = Events(job.get("kill"), job.get("size"))
    return call(job["args"]) | {"events": events.seen}


def serve() -> None:
    """Read lines of jobs, and fork for each."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    freeze()
    # What is imported and read at the first use, once for all forks.
    with tempfile.TemporaryDirectory() as folder:
        call(["train", "--train-size", "20", "--epochs", "1", "--rank", "2", "--subspace", "1", "--runs-dir", folder])
    for line in sys.stdin:
        ends = [child.end() for child in [start(partial(answer, job), job["cwd"]) for job in json.loads(line)]]
        answers.write(json.dumps([end.result or {"status": end.status, "err": end.said} for end in ends]) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
