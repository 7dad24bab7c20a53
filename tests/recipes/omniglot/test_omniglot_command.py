"""What `mupi omniglot` promises, on small archives."""

import json
import re
import signal
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mupi.activations import ReLU
from mupi.cli import main
from mupi.recipes.omniglot.config import OmniglotConfig, current
from mupi.recipes.omniglot.few_shot import omniglot
from mupi.recipes.omniglot.few_shot_records import Progress
from mupi.recipes.omniglot.meta_training import MetaTraining
from mupi.recipes.omniglot.models import PROTOCOLS, Model
from mupi.reports import Report
from mupi.training.records import read_records
from omniglot_archives import write_archives

MODELS = [(paper, model) for paper, models in PROTOCOLS.items() for model in models]


FEW = dict(
    batches=6, tasks=3, rank=5, width=8, subspace=3, evaluate_every=2, validation_episodes=5, lr=0.5
)  # fmt: skip


def few(paper: str, name: str, **changes: Any) -> Model:
    """A model with small numbers of what it has."""
    model = PROTOCOLS[paper][name]
    known = {field.name for field in fields(model)}
    return replace(model, **{option: value for option, value in (FEW | changes).items() if option in known})


@pytest.fixture
def small(tmp_path, monkeypatch) -> OmniglotConfig:
    """A few steps on small archives, without figures, which take longer."""
    monkeypatch.setattr(Report, "figure", lambda *_: None)
    write_archives(tmp_path / "data", monkeypatch)
    return OmniglotConfig(
        model=few("pi", "pi-limit"),
        ways=3,
        test_episodes=20,
        name="small",
        runs_dir=tmp_path / "runs",
        data_dir=tmp_path / "data",
    )


def state(config: OmniglotConfig) -> dict:
    return torch.load(config.directory(0) / "checkpoint.pt", weights_only=True)["state"]


def assert_same(a, b) -> None:
    """Bitwise equality of nested states; the time that was taken apart."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a.keys() - {"seconds"}:
            assert_same(a[key], b[key])
    else:
        assert a == b


def press_ctrl_c(monkeypatch, after: int) -> None:
    step, steps = MetaTraining.step, iter(range(1, 10**6))

    def interrupting(self):
        step(self)
        if next(steps) == after:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(MetaTraining, "step", interrupting)


@pytest.mark.parametrize("paper, model", MODELS)
def test_every_model_of_both_papers_runs_and_writes_its_result(small, paper, model):
    config = small.changed(model=few(paper, model, batches=2))
    (accuracy,) = omniglot(config).values()
    assert 1 / 3 - 0.2 < accuracy.mean <= 1
    assert accuracy.episodes == 20
    result = json.loads((config.directory(0) / "result.json").read_text())
    assert result["test"]["mean"] == accuracy.mean
    assert {"test", "validation", "seconds", "peak_mb", "layer_errors", "crc32"} == result.keys()
    errors = {layer["layer"]: layer["output"] for layer in result["layer_errors"]}
    assert ("layer 1" in errors) == (model == "pi-limit")
    assert all(0 < error < 1 for name, error in errors.items() if name != "readout")  # which nothing has trained


def test_meta_training_learns(small):
    """The strokes' places tell the characters apart; the loss of the first batches is that of chance."""
    omniglot(small.changed(batches=80, evaluate_every=20, lr=8.0, queries=5))
    first, *_, last = read_records(small.directory(0) / "metrics.jsonl", Progress, "mupi omniglot")
    assert last.train_loss < 0.8 * first.train_loss
    assert last.train_accuracy > 0.5  # chance is a third


@pytest.mark.parametrize(
    "paper, model, after", [("pi", "pi-limit", 5), ("pi", "pi-limit-exact", 4), ("tp4", "mu-limit", 1)]
)
def test_a_run_that_is_interrupted_and_resumed_gives_the_same_numbers(small, monkeypatch, paper, model, after):
    whole = small.changed(model=few(paper, model), name="whole")
    parted = replace(whole, name="parted")
    expected = omniglot(whole)
    with monkeypatch.context() as interrupting:
        press_ctrl_c(interrupting, after)
        with pytest.raises(KeyboardInterrupt, match=rf"interrupted after {after} batches; .*parted.*--resume"):
            omniglot(parted)
    assert omniglot(replace(parted, resume=True)) == expected
    assert_same(state(parted), state(whole))
    curves = [read_records(c.directory(0) / "metrics.jsonl", Progress, "mupi omniglot") for c in (whole, parted)]
    assert [replace(p, seconds=0.0) for p in curves[1]] == [replace(p, seconds=0.0) for p in curves[0]]


def test_the_seed_decides_the_run_and_several_are_summarized(small, capsys):
    results = omniglot(replace(small, seeds=(0, 1)))
    again = omniglot(replace(small, seeds=(1,), name="again"))
    assert results[1] == again[1]
    assert results[0] != results[1]
    assert re.search(r"2 seeds: .* % \(s\.d\.; the 95 % interval of one seed's tasks is ± \d", capsys.readouterr().out)


def test_the_rate_falls_along_half_a_cosine_to_zero(small):
    omniglot(small)
    rates = [group["lr"] for group in state(small)["optimizer"]["param_groups"]]
    assert rates == pytest.approx([0.0] * len(rates), abs=1e-12)


def test_more_shots_and_ways_are_options(small):
    (accuracy,) = omniglot(replace(small, ways=6, shots=4, queries=3, model=few("pi", "nngp"))).values()
    assert accuracy.mean > 1 / 6


@pytest.mark.parametrize(
    "changed, message",
    [
        (dict(ways=8), "`ways` must be at most 7, the number of classes; got 8"),
        (dict(model=few("pi", "pi-net", width=4)), "`--width` must be at least the rank 5; got 4"),
        (dict(ways=1), "`--ways` must be at least 2; got 1"),
        (dict(tasks=0), "`--tasks` must be an integer ≥ 1; got 0"),
        (dict(lr=-1.0), "`--lr` must be a finite number ≥ 0; got -1.0"),
        (dict(batches=-1), "`--batches` must be ≥ 0; got -1"),
        (dict(seeds=(1, 1)), "`--seeds` must be one or more different numbers"),
        (dict(resume=True, overwrite=True), "`--resume` must be without --overwrite"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(small, changed, message):
    with pytest.raises(ValueError, match=message):
        omniglot(small.changed(**changed))
    assert not small.directory(0).exists()


def test_a_saved_run_is_not_replaced_or_resumed_as_another(small):
    omniglot(small)
    with pytest.raises(ValueError, match=r"already holds a run; .*--resume.*--overwrite.*--name"):
        omniglot(small)
    with pytest.raises(ValueError, match=r"`--lr` must be 0.5 as in .* to resume it; got 0.7"):
        omniglot(small.changed(lr=0.7, resume=True))
    omniglot(small.changed(lr=0.7, overwrite=True))
    (small.directory(0) / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="is damaged or of another version; start the run again with --overwrite"):
        omniglot(small.changed(lr=0.7, resume=True))


# What earlier versions wrote into every run's configuration, whatever its model.
OLD = dict(
    paper="tp4", model="mu-net", linear=True, ways=3, shots=1, queries=1, batches=6, tasks=3, inner_steps=1,
    step_size=0.4, lr=0.5, lr_first=1.0, clip=0.5, cosine=False, depth=1, width=8, rank=400, subspace=40,
    input_std=1.0, readout_std=1 / 32, sigma_b=None, bias_scale=1.0,
)  # fmt: skip


@pytest.mark.parametrize("paper, model", MODELS)
def test_a_run_of_an_earlier_version_goes_on(small, paper, model):
    config = small.changed(model=few(paper, model))
    written = OLD | {name: value for name, value in config.identity().items() if name in OLD}
    assert current(written) == config.identity()
    assert set(OLD) >= set(config.identity())


def test_the_folder_of_a_run_that_was_given_no_name_is_where_it_was(small):
    names = [
        replace(small.changed(model=few(paper, model, **more)), name=None).directory(0).name
        for paper, model, more in (
            ("pi", "pi-limit", {}),
            ("tp4", "mu-net", {"activation": ReLU()}),
            ("pi", "ntk", {"sigma_b": 0.5}),
        )
    ]
    assert names == [
        "omniglot-pi-pi-limit-batches6-lr0.5-rank5-subspace3-tasks3-ways3-seed0",
        "omniglot-tp4-mu-net-batches6-linearFalse-lr0.5-tasks3-ways3-width8-seed0",
        "omniglot-pi-ntk-sigma-b0.5-ways3-seed0",
    ]


def test_a_loss_that_is_not_finite_stops_the_run(small):
    with pytest.raises(FloatingPointError, match="the loss became .* in batch .*--lr"):
        omniglot(small.changed(lr=1e30, clip=1e30))


def test_the_command_line_writes_figures_and_compares_runs(small, tmp_path, capsys, monkeypatch):
    monkeypatch.undo()  # figures are meant here
    write_archives(tmp_path / "other", monkeypatch)
    common = ["--batches", "2", "--ways", "3", "--test-episodes", "5", "--data-dir", str(tmp_path / "other"),
              "--runs-dir", str(tmp_path / "runs"), "--validation-episodes", "5"]  # fmt: skip
    assert main(["omniglot", "tp4", "mu-limit", *common]) == 0
    for width in ("4", "8"):
        assert main(["omniglot", "tp4", "mu-net", *common, "--width", width, "--name", f"n{width}"]) == 0
    assert "omniglot-tp4-mu-limit-batches2-ways3-seed0: test" in capsys.readouterr().out.replace("\n", "")
    runs = sorted((tmp_path / "runs").iterdir())
    assert all((run / "classes.png").read_bytes().startswith(b"\x89PNG") for run in runs)
    assert main(["omniglot-plot", *map(str, runs), "--out", str(tmp_path / "out")]) == 0
    assert {path.stem for path in Path(tmp_path / "out").iterdir()} == {"classes", "curves", "width", "report"}
    assert "omniglot-tp4" in capsys.readouterr().out


def test_errors_of_the_command_line_are_one_line(tmp_path, capsys, monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", offline)
    assert main(["omniglot", "--data-dir", str(tmp_path), "--runs-dir", str(tmp_path)]) == 2
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1 and "images_background.zip" in captured
    assert main(["omniglot-plot", str(tmp_path / "nothing")]) == 2
    assert "config.json` is missing" in capsys.readouterr().err
    assert main(["omniglot-plot"]) == 2
