"""`mupi transfer both`: models by seeds, trained once and evaluated together."""

import json
from pathlib import Path

import pytest

from mupi.cli import main
from mupi.commands.train.presets import PRESETS
from mupi.features import Atoms, RandomFeatures
from mupi.recipes.transfer.both import both, pretraining
from mupi.recipes.transfer.config import BothConfig, EvaluationConfig

EVALUATION = EvaluationConfig(threads=1)


pytestmark = pytest.mark.usefixtures("no_figures", "no_transfer_figure")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch, tmp_path):
    monkeypatch.setattr("mupi.recipes.comparison.contestants.in_own_process", lambda f, *args: f(*args))
    monkeypatch.chdir(tmp_path)


def test_all_models_are_pretrained_alike_but_for_their_protocols():
    config = BothConfig(evaluation=EVALUATION, pretrain_epochs=7, pretrain_lr=0.3, rank=5, width=9, pretrain_classes=11)
    for model, preset in zip(
        ("pi-limit", "pi-net", "mu-net"), list(vars(PRESETS["imagenet32"]).values()), strict=False
    ):
        changed = (
            dict(epochs=7, lr=0.3, classes=11, threads=1, data_seed=0, keep_epochs=True)
            | {
                "pi-limit": dict(rank=5),
                "pi-net": dict(rank=5, features=RandomFeatures(9)),
                "mu-net": dict(width=9),
            }[model]
        )
        assert pretraining(config, model) == preset.changed(**changed)
    assert pretraining(BothConfig(evaluation=EVALUATION), "pi-limit").classes == 250
    assert pretraining(BothConfig(evaluation=EVALUATION, pretrain_classes="all"), "pi-limit").classes is None
    assert pretraining(BothConfig(evaluation=EVALUATION, exact=True), "pi-limit").features == Atoms()
    cnn = pretraining(BothConfig(evaluation=EVALUATION, arch="cnn", rank=5), "pi-net")
    assert (cnn.network.rank, cnn.network.features, cnn.keep_epochs) == (5, RandomFeatures(256), True)
    drops = pretraining(BothConfig(evaluation=EVALUATION, dataset="cifar10", pretrain_epochs=10), "pi-limit")
    assert (drops.epochs, drops.drop_epoch) == (10, 8)


def test_the_command_trains_and_compares_and_the_second_time_finds_all(capsys, monkeypatch):
    source = ["--dataset", "digits", "--pretrain-size", "40", "--pretrain-epochs", "1", "--rank", "4", "--width", "8"]
    command = ["transfer", "both", "--models", "pi-limit", "mu-net", "--seeds", "2", *source]
    command += ["--train-size", "40", "--parts", "kernel", "--baselines", "--threads", "1"]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert "π-limit, r = 4" in first and "μ-net, n = 8" in first
    found = json.loads(next(Path("runs").glob("transfer-digits-*-digits-40/results.json")).read_text())
    assert [len(model["runs"]) for model in found["models"]] == [2, 2]
    monkeypatch.setattr("mupi.recipes.comparison.contestants.in_own_process", None)
    assert main(command) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    "field, option", [("seeds", "--seeds"), ("rank", "--rank"), ("pretrain_epochs", "--pretrain-epochs")]
)
def test_bad_values_are_named(field, option):
    with pytest.raises(ValueError, match=f"`{option}` must be an integer"):
        both(BothConfig(evaluation=EVALUATION, **{field: 0}))
