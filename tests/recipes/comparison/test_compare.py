"""`mupi compare`, on runs of a second."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from statistics import stdev
from typing import Any

import pytest

from mupi.command_list import RECIPES
from mupi.commands.form import read_form
from mupi.commands.own_process import in_own_process
from mupi.commands.train.presets import PRESETS, Presets
from mupi.commands.train.run import run_folder
from mupi.commands.train.train import train_network
from mupi.recipes.comparison.compare import CompareConfig, compare, contestants
from mupi.recipes.comparison.contestants import NetContestant
from mupi.recipes.comparison.models import MODELS, Model, MuNet
from mupi.training.run_folder import RunFolder

SMALL = Presets(**{
    name: config.changed(batch_size=32, **({"rank": 4} if config.features else {})) if name != "ridge" else config
    for name, config in vars(PRESETS["digits"]).items()
})  # fmt: skip


@pytest.fixture
def config(tmp_path, monkeypatch: pytest.MonkeyPatch) -> CompareConfig:
    """Two epochs of two steps, in this process."""
    monkeypatch.setitem(PRESETS, "digits", SMALL)
    monkeypatch.setattr("mupi.recipes.comparison.contestants.in_own_process", lambda f, *args: f(*args))
    return CompareConfig(train_size=60, models=small_models(*MODELS), runs_dir=tmp_path)


def small_models(*words: str, **changes: Any) -> tuple[Model, ...]:
    """Models by their words, with small numbers of what they have."""
    small = {"epochs": 2, "width": 8, "seeds": 2} | changes
    kinds = [type(MODELS[word]) for word in words]
    return tuple(kind(**{f.name: small[f.name] for f in fields(kind)}) for kind in kinds)


def test_the_whole_family_is_compared_kernels_once_and_nets_once_a_seed(config, capsys):
    summaries = {s.model: s for s in compare(config)}
    assert list(summaries) == [
        "NNGP", "NTK", "SP net, n = 8", "μ-net, n = 8", "π-net, n = 8", "π-limit, Hermite", "π-limit, Atoms",
    ]  # fmt: skip
    assert [len(s.results) for s in summaries.values()] == [1, 1, 2, 2, 2, 2, 2]
    for s in summaries.values():
        accuracies = [r.accuracy for r in s.results]
        assert s.accuracy == pytest.approx(sum(accuracies) / len(accuracies))
        assert s.deviation == (pytest.approx(stdev(accuracies)) if len(accuracies) > 1 else None)
        bests = [max(m.test_accuracy for m in r.epochs) for r in s.results if r.epochs]
        assert s.best == (pytest.approx(sum(bests) / len(bests)) if bests else None)
    assert summaries["NNGP"].accuracy > 0.7, "of 60 images"
    assert summaries["π-limit, Atoms"].results[0].size == 2 * (4 + 2 * 60)
    sp = summaries["SP net, n = 8"].results[0]
    assert (sp.size, sp.unit) == (64 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10, "parameters")
    assert list(summaries["π-limit, Hermite"].layer_errors()) == ["layer 1", "readout"]
    assert summaries["π-limit, Atoms"].layer_errors() == {}
    shown = capsys.readouterr().out
    for part in ("test, %", "best epoch", "peak MB", "readout", "248 atoms", "compare.json"):
        assert part in shown
    saved = json.loads((config.directory / "compare.json").read_text())
    assert len(saved["summaries"]) == 7
    assert len(saved["results"]) == 12
    assert {p.name for p in config.directory.glob("*.png")} == {"accuracy.png", "curves.png"}


@pytest.mark.usefixtures("no_drawings")
def test_what_is_finished_is_not_computed_again(config, monkeypatch):
    first = compare(replace(config, models=small_models("nngp", "sp-net")))

    def never(*args: object):
        raise AssertionError("computed again")

    monkeypatch.setattr("mupi.recipes.comparison.contestants.in_own_process", never)
    assert compare(replace(config, models=small_models("nngp", "sp-net"))) == first


@pytest.mark.usefixtures("no_drawings")
def test_a_network_whose_last_checkpoint_is_missing_goes_on_though_its_metrics_are_complete(config, monkeypatch):
    """They are written one after the other, and the process may die in between."""
    config = replace(config, models=small_models("mu-net", seeds=1))
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        save, saves = RunFolder.save, iter(range(10))

        def dies(run, state):
            if next(saves) == 2:
                raise OSError("no space left on device")
            save(run, state)

        patch.setattr(RunFolder, "save", dies)
        compare(config)
    run = run_folder(replace(contestants(config)[0][0].config, name="mu-net-seed0"))  # pyright: ignore
    assert [m.epoch for m in run.metrics()] == [1, 2]
    assert run.read(run.checkpoint_path)["epoch"] == 1
    compare(config)
    assert run.read(run.checkpoint_path)["epoch"] == 2


@pytest.mark.usefixtures("no_drawings")
def test_an_interrupted_comparison_goes_on_where_it_stopped(config, press_ctrl_c: Callable[[int], None]):
    config = replace(config, models=small_models("mu-net"))
    expected = compare(replace(config, name="whole"))
    press_ctrl_c(7)  # in the second epoch of the second seed
    with pytest.raises(KeyboardInterrupt, match="the same command without --overwrite goes on"):
        compare(config)
    (found,) = compare(config)
    assert [r.accuracy for r in found.results] == [r.accuracy for r in expected[0].results]
    assert [m.train_loss for m in found.results[1].epochs] == [m.train_loss for m in expected[0].results[1].epochs]


@pytest.mark.usefixtures("no_drawings")
@pytest.mark.parametrize("models", [("sp-net",), ("ntk",)])
def test_results_of_another_configuration_are_refused_unless_overwritten(config, models):
    config = replace(config, models=small_models(*models), name="same")
    compare(config)
    with pytest.raises(ValueError, match=r"train_size.*(--name|--overwrite)"):
        compare(replace(config, train_size=50))
    compare(replace(config, train_size=50, overwrite=True))


def test_all_train_on_the_same_images_whatever_the_seed(config):
    found = [c for c, _ in contestants(config)]
    assert {c.config.data_seed if isinstance(c, NetContestant) else c.data.data_seed for c in found} == {0}


def test_atoms_take_part_where_they_fit_or_when_asked_for():
    command = RECIPES["compare"]

    def labels(line: str) -> set[str]:
        config = read_form(CompareConfig, line.split(), "mupi compare", command.examples)
        return {c.label for c, _ in contestants(config)}

    assert "π-limit, Atoms" in labels("")
    assert "π-limit, Atoms" not in labels("--dataset cifar10")
    assert labels("--dataset cifar10 --models pi-limit-exact") == {"π-limit, Atoms"}


def test_models_are_in_the_order_of_the_table(config):
    words = ("pi-limit-exact", "ntk", "pi-net", "nngp")
    names = [c.label for c, _ in contestants(replace(config, models=small_models(*words)))]
    assert names == ["NNGP", "NTK", "π-net, n = 8", "π-limit, Atoms"]


@pytest.mark.parametrize("field, value", [("seeds", 0), ("epochs", 0), ("width", -1)])
def test_values_that_make_no_sense_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"--{field}"):
        MuNet(**{field: value})
    with pytest.raises(ValueError, match="--models"):
        CompareConfig(models=())


def test_a_network_trained_in_its_own_process_has_the_same_numbers(small):
    small = small.changed(epochs=1, threads=1)
    apart = in_own_process(train_network, small.changed(name="apart"), "apart")
    here = train_network(small)
    assert [m.test_loss for m in apart] == [m.test_loss for m in here]
