"""`mupi transfer both`: models by seeds, trained once and evaluated together."""

import json
from pathlib import Path
from typing import Any

import pytest

from mupi.cli import main
from mupi.commands.train.presets import PRESETS
from mupi.features import Atoms, Hermite, RandomFeatures
from mupi.recipes.transfer.both import both, pretraining
from mupi.recipes.transfer.config import BothConfig, EvaluationConfig, MuNet, PiLimit, PiLimitExact, PiNet

EVALUATION = EvaluationConfig(threads=1)


pytestmark = pytest.mark.usefixtures("no_figures", "no_transfer_figure")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch, tmp_path):
    monkeypatch.setattr("mupi.recipes.comparison.contestants.in_own_process", lambda f, *args: f(*args))
    monkeypatch.chdir(tmp_path)


def test_all_models_are_pretrained_alike_but_for_their_protocols():
    config = BothConfig(evaluation=EVALUATION, pretrain_epochs=7, pretrain_lr=0.3, pretrain_classes=11)
    presets, own = PRESETS["imagenet32"], dict[str, Any](rank=5)
    for model, preset, network in (
        (PiLimit(rank=5), presets.pi_limit, own),
        (PiLimit(rank=5, subspace=3), presets.pi_limit, own | dict(features=Hermite(2, subspace=3))),
        (PiLimitExact(rank=5), presets.pi_limit, own | dict(features=Atoms())),
        (PiNet(rank=5, width=9), presets.pi_net, own | dict(features=RandomFeatures(9))),
        (MuNet(width=9), presets.mu_net, dict(width=9)),
    ):
        changed = dict(epochs=7, lr=0.3, classes=11, threads=1, data_seed=0, keep_epochs=True)
        assert pretraining(config, model) == preset.changed(**changed, **network)
    assert pretraining(BothConfig(evaluation=EVALUATION), PiLimit()).classes == 250
    assert pretraining(BothConfig(evaluation=EVALUATION, pretrain_classes="all"), PiLimit()).classes is None
    cnn = pretraining(BothConfig(evaluation=EVALUATION, arch="cnn"), PiNet(rank=5))
    assert (cnn.network.rank, cnn.network.features, cnn.keep_epochs) == (5, RandomFeatures(256), True)
    drops = pretraining(BothConfig(evaluation=EVALUATION, dataset="cifar10", pretrain_epochs=10), PiLimit())
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
    "wrong, option",
    [
        (dict(seeds=0), "--seeds"),
        (dict(models=(PiNet(rank=0),)), "--rank"),
        (dict(pretrain_epochs=0), "--pretrain-epochs"),
    ],
)
def test_bad_values_are_named(wrong, option):
    with pytest.raises(ValueError, match=f"`{option}` must be an integer"):
        both(BothConfig(evaluation=EVALUATION, **wrong))
