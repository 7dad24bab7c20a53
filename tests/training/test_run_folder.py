"""A run's folder is one to go on from wherever the process dies, and holds nothing of others in danger."""

import json
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from typeguard import TypeCheckError

from mupi.training.damaged import DamagedFile
from mupi.training.records import Record
from mupi.training.run_folder import RunFolder


@dataclass(frozen=True)
class Line(Record):
    epoch: int
    loss: float


def folder(directory: Path, **settings) -> RunFolder[Line]:
    settings = {"lr": 0.5, "width": 3, "runs_dir": "runs", "seed": 0, **settings}
    identity = {"lr": settings["lr"], "width": settings["width"]}
    return RunFolder(directory, settings, identity, Line, "epoch", "mupi train", outputs=("curves.png",))


def train(run: RunFolder[Line], *, resume: bool = False, overwrite: bool = False, epochs: int = 2) -> None:
    """What a command does, without what it computes."""
    with run.held():
        if not (resume or overwrite):
            run.refuse_if_present()
        done = run.load()["epoch"] if resume else 0
        if not resume:
            run.start({"epoch": 0, "net": torch.zeros(2)})
        if done == 0:
            run.keep(0, {"net": torch.zeros(2)})
        for epoch in range(done + 1, epochs + 1):
            run.append(Line(epoch, 1 / epoch))
            run.keep(epoch, {"net": torch.full((2,), float(epoch))})
            run.save({"epoch": epoch, "net": torch.full((2,), float(epoch))})


def contents(directory: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(directory)): p for p in sorted(directory.rglob("*")) if p.is_file()}
    return {name: p.read_bytes() for name, p in found.items() if p.name != ".lock"}


def killed_at(event: int, what, directory: Path) -> bool:
    """Whether a process that does ``what`` came to its n-th change of a file in a directory, where it was killed."""
    if not (child := os.fork()):
        left = iter(range(event))

        def hook(name: str, args: tuple) -> None:
            opened = name == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            changes = opened or name in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
            if changes and str(directory) in os.fsdecode(args[0]) and next(left, None) is None:
                os._exit(9)

        sys.addaudithook(hook)
        try:
            what()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("old", [False, True])
def test_a_run_that_is_killed_at_any_change_of_a_file_goes_on_to_the_same_files(tmp_path, old):
    """Plainly, or with --resume where that is refused; one that was to replace another, also with --overwrite."""
    run = folder(tmp_path / "x")
    train(whole := folder(tmp_path / "whole"), epochs=1)
    expected = contents(whole.directory)
    event = 0
    while True:
        if old:
            with run.held():
                run.start({"epoch": 0})
                run.append(Line(1, 0.3))
                run.keep(3, {})
        if not killed_at(event, lambda: train(run, overwrite=old, epochs=1), run.directory):
            break
        if old:
            train(run, overwrite=True, epochs=1)
        else:
            try:
                train(run, epochs=1)
            except ValueError as error:
                assert "--resume" in str(error)
                train(run, resume=True, epochs=1)
        assert contents(run.directory) == expected, event
        if not old:
            for path in sorted(run.directory.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            run.directory.rmdir()
        event += 1
    assert event > 25


FOREIGN = {"holiday.png": "a picture", "curves.png": "another", "checkpoint.pt": "a model"}


@pytest.mark.parametrize("config", [None, "{", "{}", "[]", '{"architectures": 1, "width": 3}'])
def test_a_folder_of_something_else_is_left_alone(tmp_path, config):
    for name, text in FOREIGN.items():
        (tmp_path / name).write_text(text)
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"holds files that are not of a run of `mupi train`, such as .*--name"):
        folder(tmp_path).start({"epoch": 0})
    assert contents(tmp_path) == before


def test_a_new_run_in_the_place_of_a_damaged_one_deletes_what_runs_write_and_nothing_else(tmp_path):
    train(run := folder(tmp_path))
    run.config_path.write_text("")
    train(run, overwrite=True)
    run.config_path.write_text("")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"such as `notes\.txt`"):
        train(run, overwrite=True)


def test_a_run_that_an_earlier_version_left_before_its_first_checkpoint_starts(tmp_path):
    run = folder(tmp_path)
    run.config_path.write_text(json.dumps(dict(run.settings)))
    run.metrics_path.touch()
    assert not run.present
    train(run)


def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(tmp_path):
    run = folder(tmp_path)
    run.config_path.write_text(json.dumps(dict(run.settings)))
    run.metrics_path.write_text('{"epoch": 1, "loss": 1.0}\n{"epoch": 2, "loss": 0.5}\n{"epoch": 3, "lo')
    torch.save({"config": dict(run.identity), "state": {"epoch": 1}}, run.checkpoint_path)
    train(run, resume=True)
    assert run.metrics() == [Line(1, 1.0), Line(2, 0.5)]


@pytest.mark.parametrize("keep", [0, 1])
def test_metrics_that_lack_what_the_checkpoint_knows_of_are_refused(tmp_path, keep):
    train(run := folder(tmp_path))
    lines = run.metrics_path.read_text().splitlines(keepends=True)
    run.metrics_path.write_text("".join(lines[:keep]))
    with pytest.raises(DamagedFile, match=rf"metrics\.jsonl` is damaged: it has {keep} of the 2 lines"):
        run.load()


DAMAGES = {
    "empty": lambda text: "",
    "no JSON": lambda text: text[:-5] + "\n",
    "cut off": lambda text: text[:-5],
    "another digit": lambda text: text.replace("0.5", "0.7"),
    "other fields": lambda text: text.replace('"loss"', '"lost"'),
    "another type": lambda text: re.sub(r', "crc32": "\w+"', "", text.replace("0.5", '"a"')),
    "no fields": lambda text: "[1]\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_metrics_are_named(tmp_path, damage):
    train(run := folder(tmp_path))
    run.metrics_path.write_text(DAMAGES[damage](run.metrics_path.read_text()))
    with pytest.raises(DamagedFile, match=r"metrics\.jsonl` is damaged.*; start the run again with --overwrite"):
        run.load()


@pytest.mark.parametrize(
    "saved",
    [
        [1],
        torch.zeros(2),
        {},
        {"config": 3, "state": {"epoch": 0}},
        {"config": {"lr": 0.5, "width": 3}, "state": [0]},
        {"config": {"lr": 0.5, "width": 3}, "state": {}},
        {"config": {"lr": 0.5, "width": 3, "from_the_future": 1}, "state": {"epoch": 0}},
    ],
    ids=str,
)
def test_files_of_another_kind_or_version_are_named(tmp_path, saved):
    train(run := folder(tmp_path))
    torch.save(saved, run.checkpoint_path)
    with pytest.raises(DamagedFile, match=r"checkpoint\.pt` is damaged or of another version; start the run again"):
        run.load()


def test_a_run_whose_start_was_cut_off_is_not_the_old_one(tmp_path, monkeypatch):
    train(run := folder(tmp_path))
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(RunFolder, "save", lambda run, state: (_ for _ in ()).throw(OSError("full")))
        train(run, overwrite=True)
    assert not run.present
    with pytest.raises(FileNotFoundError, match="was not started yet; leave --resume out"):
        train(run, resume=True)
    train(replace(run, settings=dict(run.settings)))


@dataclass(frozen=True)
class Part:
    name: str
    both: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Nested(Record):
    epoch: int
    loss: float | None
    rates: tuple[float, ...]
    parts: tuple[Part, ...]
    shares: dict[str, tuple[int, int]]
    by_ridge: dict[float, float]
    one: Part


NESTED = Nested(1, None, (0.5, 0.25), (Part("a", (1.0, 2.0)), Part("b")), {"x": (1, 2)}, {0.5: 1.0}, Part("c"))


def test_records_of_all_shapes_come_back_from_their_line():
    assert Nested.from_json(NESTED.to_json()) == NESTED
    changed = replace(NESTED, loss=0.5, parts=())
    assert Nested.from_json(changed.to_json()) == changed


@pytest.mark.parametrize(
    "field, value",
    [
        ("epoch", "1"),
        ("rates", ["a"]),
        ("parts", [{"nome": "a"}]),
        ("parts", [{"name": 1}]),
        ("shares", {"x": [1]}),
        ("one", []),
    ],
)
def test_a_record_of_wrong_types_is_refused(field, value):
    line = json.dumps({**json.loads(NESTED.to_json()), field: value})
    with pytest.raises((TypeError, ValueError, TypeCheckError)):
        Nested.from_json(line)
