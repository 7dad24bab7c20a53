"""`mupi cifar10` end to end, on digits in place of its data and at sizes of seconds."""

import json
from typing import Any

import pytest

from mupi.activations import ReLU
from mupi.commands.train.presets import CIFAR10, DIGITS
from mupi.recipes.comparison import cifar10_parts
from mupi.recipes.comparison.cifar10_parts import Cifar10Config, Exact, Kernel, Quadratic, Relu, Truncation, runs
from mupi.recipes.comparison.cifar10_protocol import cifar10, feature_count

TINY: dict[str, Any] = dict(train_size=60, rank=6)


@pytest.fixture
def on_digits(monkeypatch):
    monkeypatch.setattr(cifar10_parts, "CIFAR10", DIGITS.changed(rank=6))


def test_the_runs_are_those_of_the_paper_but_for_batch_and_decay():
    config = Cifar10Config()
    (run,) = runs(config, Relu()).values()
    changed = dict(batch_size=8, weight_decay=1e-5, epochs=50, drop_epoch=40, data_seed=None)
    assert run.changed(**changed) == CIFAR10
    (quadratic,) = runs(config, Quadratic()).values()
    changed = dict(batch_size=32, weight_decay=6e-5, label_smoothing=0.0, output_scale=0.5, bias_scale=0.5, anneal=0)
    assert quadratic.changed(activation=ReLU(), **changed) == run


def test_feature_counts_are_those_of_the_monomials():
    found = runs(Cifar10Config(), Truncation())
    assert [feature_count(run) for run in found.values()] == [1221, 5451, 20501, 5451 + 8855]


@pytest.mark.slow
def test_truncation_is_trained_and_drawn_and_found_again(on_digits, tmp_path, capsys):
    config = Cifar10Config(parts=(Truncation(short_epochs=1),), out=tmp_path, **TINY)
    cifar10(config)
    found = json.loads((tmp_path / "truncation" / "results.json").read_text())
    assert len(found["summaries"]) == 4
    assert (tmp_path / "truncation" / "truncation.png").exists()
    first = capsys.readouterr().out
    cifar10(config)
    assert capsys.readouterr().out == first


@pytest.mark.slow
def test_the_exact_limit_is_set_beside_its_truncations(on_digits, tmp_path):
    part = Exact(subspace=3, exact_images=60, exact_epochs=1)
    cifar10(Cifar10Config(parts=(part,), out=tmp_path, **TINY))
    alignments = json.loads((tmp_path / "exact" / "alignment.json").read_text())
    assert list(alignments) == ["degree 2 in 3", "degree 2 in full"]
    assert 0.9 < alignments["degree 2 in full"] <= 1 + 1e-6


@pytest.mark.slow
def test_the_learned_kernel_is_scored_once_for_each_epoch(on_digits, tmp_path, monkeypatch):
    part = Kernel(subspace=3, epochs=2, kernel_epochs=(1, 2, 9), kernel_images=30)
    config = Cifar10Config(parts=(part,), out=tmp_path, **TINY)
    cifar10(config)
    scores = json.loads((tmp_path / "kernel" / "results.json").read_text())
    assert [score["epoch"] for score in scores] == [1, 2]
    monkeypatch.setattr("mupi.recipes.comparison.kernel_by_epoch.score_after", None)
    cifar10(config)
    assert json.loads((tmp_path / "kernel" / "results.json").read_text()) == scores


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="--parts"):
        Cifar10Config(parts=())
    with pytest.raises(ValueError, match="--seeds"):
        Relu(seeds=0)
    with pytest.raises(ValueError, match="--kernel-epochs"):
        Kernel(kernel_epochs=(0, 1))
