import json

import pytest
import torch

from mupi.commands.train.config import OF_OWN
from mupi.commands.train.presets import DIGITS
from mupi.commands.train.run import run_folder
from mupi.features import Atoms
from mupi.training.epoch_metrics import EpochMetrics
from mupi.training.run_folder import RunFolder


def epoch(n: int) -> EpochMetrics:
    return EpochMetrics(
        epoch=n,
        train_loss=0.5,
        train_accuracy=0.8,
        test_loss=0.6,
        test_accuracy=0.75,
        seconds=1.0,
        stored_mb=2.0,
        peak_mb=3.0,
        atoms=0,
    )


@pytest.fixture
def run(small) -> RunFolder[EpochMetrics]:
    run = run_folder(small)
    run.start({"epoch": 0, "weight": torch.zeros(3)})
    return run


def test_a_saved_state_is_loaded_as_it_was(run):
    run.save({"epoch": 1, "weight": torch.arange(3.0)})
    state = run.load()
    assert state["epoch"] == 1
    assert torch.equal(state["weight"], torch.arange(3.0))


def test_a_save_that_fails_midway_leaves_the_old_checkpoint(run, monkeypatch):
    before = run.checkpoint_path.read_bytes()

    def full_disk(state: object, file):
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        run.save({"epoch": 1})
    assert run.checkpoint_path.read_bytes() == before
    assert run.load()["epoch"] == 0


@pytest.mark.parametrize(
    "field, saved, got", [("rank", 6, 8), ("seed", 0, 1), ("features", "hermite", Atoms()), ("clip", 0.4, None)]
)
def test_a_checkpoint_of_another_configuration_is_refused_by_field_and_both_values(small, run, field, saved, got):
    other, shown = run_folder(small.changed(**{field: got})), "atoms" if field == "features" else got
    with pytest.raises(ValueError, match=rf"^`{field}` must be {saved!r} as in .*; got {shown!r}; .*--name$"):
        other.load()


def test_a_run_may_be_resumed_for_longer_and_on_another_device(small, run):
    assert run_folder(small.changed(epochs=99, threads=2, device="cuda")).load()["epoch"] == 0


def test_a_missing_checkpoint_is_named(run):
    run.checkpoint_path.unlink()
    with pytest.raises(FileNotFoundError, match=r"checkpoint\.pt` is missing; leave --resume out"):
        run.load()


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_a_damaged_checkpoint_is_refused(run, kept):
    content = run.checkpoint_path.read_bytes()
    run.checkpoint_path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"checkpoint\.pt` is damaged"):
        run.load()


def test_a_checkpoint_cannot_run_code(run):
    torch.save({"config": run.identity, "state": print}, run.checkpoint_path)
    with pytest.raises(ValueError, match=r"checkpoint\.pt` is damaged"):
        run.load()


def test_metrics_that_the_checkpoint_does_not_know_of_are_dropped(run):
    """The process may die between the two writes at the end of an epoch, or within the first."""
    run.append(epoch(1))
    run.save({"epoch": 1})
    run.append(epoch(2))
    # As versions without checksums have left it.
    run.metrics_path.write_text(epoch(1).to_json() + "\n" + epoch(2).to_json() + '\n{"epoch": 3, "train_lo')
    run.load()
    assert run.metrics() == [epoch(1)]


def test_a_new_run_leaves_nothing_of_the_old_one_and_other_files_alone(run):
    run.append(epoch(1))
    (run.directory / "curves.png").touch()
    (run.directory / "notes.txt").touch()
    run.start({"epoch": 0})
    assert run.metrics() == []
    assert {p.name for p in run.directory.iterdir()} == {
        "config.json", "metrics.jsonl", "checkpoint.pt", "notes.txt",
    }  # fmt: skip


def test_a_run_that_is_there_is_not_replaced_by_mistake(run):
    with pytest.raises(ValueError, match=r"already holds a run; .*--resume.*--overwrite.*--name"):
        run.refuse_if_present()


def test_a_file_that_names_no_option_of_own_data_is_of_a_run_without_any(tmp_path):
    run = run_folder(DIGITS.changed(runs_dir=tmp_path))
    of_own = {name: run.identity[name] for name in OF_OWN if name in run.identity}
    assert of_own.keys() >= {"target", "ignore", "test_share"}
    assert json.loads(json.dumps(of_own)) == {name: run.defaults[name] for name in of_own}
