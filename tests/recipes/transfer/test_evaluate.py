"""`mupi transfer evaluate`: scores are those of their definitions, computed once, and never by the test images."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mupi.cli import main
from mupi.commands.train.build import independent_generators
from mupi.commands.train.networks import MuPerceptron
from mupi.commands.train.restore import restore_epoch
from mupi.commands.train.run import run_folder
from mupi.commands.train.train import train_network
from mupi.data import load_digits
from mupi.features import Atoms, Hermite, RandomFeatures
from mupi.kernels import KernelRegression, centered_one_hot
from mupi.recipes.transfer.config import EvaluateConfig, EvaluationConfig, pretraining_protocol
from mupi.recipes.transfer.evaluate import evaluate
from mupi.recipes.transfer.parts import FeatureKernel, NewReadout, NTKBaseline, Probe
from mupi.recipes.transfer.scoring import Scoring, held_out
from mupi.training.sealed import read_sealed, write_sealed
from omniglot_archives import write_archives

pytestmark = pytest.mark.usefixtures("no_figures")
no_figure = pytest.mark.usefixtures("no_transfer_figure")

KERNEL, PROBE = FeatureKernel(ridges=(1e-4, 1e-2)), Probe(penalties=(1e-3,))
QUICK = EvaluationConfig(
    train_size=90,
    parts=(KERNEL, PROBE, NewReadout(rates=(0.3,), readout_epochs=1)),
    baselines=(NTKBaseline(ridges=(1e-4, 1e-2)),),
)


@pytest.fixture
def pretrained(small, tmp_path):
    """Two seeds of the π-limit, after one epoch, and how to evaluate them."""
    runs = [small.changed(keep_epochs=True, epochs=1, seed=seed, data_seed=0, name=f"seed{seed}") for seed in (0, 1)]
    for run in runs:
        train_network(run)
    return SimpleNamespace(
        runs=runs,
        config=EvaluateConfig(runs=tuple(r.directory for r in runs), evaluation=replace(QUICK, out=tmp_path / "out")),
    )


def test_all_is_evaluated_for_every_epoch_seed_by_seed_beside_untrained_kernels(pretrained, tmp_path, capsys):
    first, second = evaluate(pretrained.config)
    assert list(first.scores) == [0, 1]
    assert set(first.scores[1]) == {"kernel", "probe", "readout"}
    shown = capsys.readouterr().out
    for part in ("ntk", "π-limit, r = 6", "learned kernel", "linear probe", "gain"):
        assert part in shown
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    (model,) = found["models"]
    assert [run["seed"] for run in model["runs"]] == [0, 1]
    gain = model["gain_over"]["kernel"]["untrained"]
    by_seed = [e.scores[1]["kernel"].accuracy - e.scores[0]["kernel"].accuracy for e in (first, second)]
    assert gain["by_seed"] == pytest.approx(by_seed)
    assert gain["over_images"] > 0 and gain["over_seeds"] >= 0
    assert found["baselines"]["ntk"]["accuracy"] > 0.6
    assert (tmp_path / "out" / "accuracy.png").exists()


@no_figure
def test_the_kernel_score_is_that_of_a_regression_on_the_feature_kernel_of_unit_norm(pretrained):
    (evaluated, _) = evaluate(
        replace(pretrained.config, evaluation=replace(pretrained.config.evaluation, parts=(KERNEL,)))
    )
    score = evaluated.scores[1]["kernel"]
    assert score.validation_accuracy == max(score.validation.values())
    net, _ = restore_epoch(pretrained.runs[0], 1)
    data = load_digits().take(90, independent_generators(0, 1)[0])
    # For ReLU φ(h) has norm 1 if g has, up to a factor that the ridge knows of.
    g, h = (torch.nn.functional.normalize(net.hidden(x)[-1].detach()) for x in (data.train_x, data.test_x))
    regression = KernelRegression(net.readout.weight.feature_kernel, score.value).fit(g, centered_one_hot(data.train_y))
    right = regression.predict(h).argmax(1) == data.test_y
    assert (torch.from_numpy(score.right.copy()).bool() != right).sum() <= 1
    assert score.alignment is not None and 0 < score.alignment < 1


@no_figure
def test_what_was_computed_is_found_again_and_what_was_not_is_computed(pretrained, monkeypatch):
    part, done = Scoring.part, []

    def counted(self, name, representation):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(name)
        return part(self, name, representation)

    how = replace(pretrained.config.evaluation, parts=(KERNEL, PROBE))
    config = replace(pretrained.config, evaluation=how)
    expected = evaluate(replace(config, evaluation=replace(how, name="whole")))
    with monkeypatch.context() as patch:
        patch.setattr(Scoring, "part", counted)
        with pytest.raises(KeyboardInterrupt, match="the same command without --overwrite goes on"):
            evaluate(config)
    found = evaluate(config)
    monkeypatch.setattr(Scoring, "part", None)
    again = evaluate(config)
    for a, b, c in zip(expected, found, again, strict=True):
        for epoch, scores in a.scores.items():
            for name, score in scores.items():
                assert b.scores[epoch][name].answers == score.answers
                assert c.scores[epoch][name] == b.scores[epoch][name]


@no_figure
def test_results_of_an_earlier_version_are_found(pretrained, tmp_path, monkeypatch):
    """Which wrote all that decides feature kernels beside baselines too."""
    config = replace(pretrained.config, evaluation=replace(pretrained.config.evaluation, parts=(KERNEL,)))
    expected = evaluate(config)
    path = tmp_path / "out" / "ntk.json"
    saved = read_sealed(path)
    settings = saved["settings"] | {"unit_norm": True}
    known = {"kernel", "target", "classes", "train_size", "validation", "data_seed", "fit_size", "validation_size"}
    assert settings.keys() == known | {"unit_norm", "double", "ridges"}
    write_sealed(path, {"settings": settings, "result": saved["result"]})
    monkeypatch.setattr(Scoring, "baseline", None)
    assert evaluate(config)[0].scores[1]["kernel"] == expected[0].scores[1]["kernel"]


@no_figure
def test_results_of_other_settings_are_refused_unless_overwritten(pretrained):
    config = replace(pretrained.config, evaluation=replace(pretrained.config.evaluation, parts=(PROBE,), epochs=(1,)))
    evaluate(config)
    other = replace(config, evaluation=replace(config.evaluation, parts=(Probe(penalties=(0.1,)),)))
    with pytest.raises(
        ValueError, match=r"penalties = \[0.001\], not \[0.1\]; replace it with --overwrite, or .*--name"
    ):
        evaluate(other)
    evaluate(replace(other, evaluation=replace(other.evaluation, overwrite=True)))


def test_no_test_image_takes_part_in_a_choice():
    data = load_digits()
    part = held_out(EvaluationConfig(fit_size=50, validation_size=20), data)
    assert (len(part.train_x), len(part.test_x)) == (50, 20)
    known = set(map(tuple, data.train_x.tolist()))
    chosen = [set(map(tuple, x.tolist())) for x in (part.train_x, part.test_x)]
    assert chosen[0] | chosen[1] <= known and not chosen[0] & chosen[1]
    few = held_out(EvaluationConfig(), data.take(10, torch.Generator()))
    assert (len(few.train_x), len(few.test_x)) == (6, 3)


@pytest.mark.parametrize(
    "kind",
    [dict(features=Atoms()), dict(features=RandomFeatures(32)), dict(kind=MuPerceptron, width=32, lr=0.1)],
    ids=["atoms", "random", "mup"],
)
@no_figure
def test_every_kind_of_network_can_be_used(small, kind, tmp_path):
    run = small.changed(**kind, keep_epochs=True, epochs=1)
    train_network(run)
    parts = (replace(KERNEL, double=True, unit_norm=False), *QUICK.parts[1:])
    how = replace(QUICK, out=tmp_path / "out", baselines=(), parts=parts)
    (evaluated,) = evaluate(EvaluateConfig(runs=(run.directory,), evaluation=how))
    assert all(0.3 < evaluated.scores[1][part].accuracy <= 1 for part in ("kernel", "probe"))


@no_figure
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "kind",
    [
        dict(features=Hermite(2, subspace=4)),
        dict(features=RandomFeatures(32)),
        dict(kind=MuPerceptron, width=32, lr=0.1),
    ],
)
def test_on_an_accelerator_scores_are_those_of_the_cpu(small, kind, tmp_path):
    run = small.changed(**kind, keep_epochs=True, epochs=1, device="cuda")
    train_network(run)
    found = {}
    for device in ("cpu", "cuda"):
        how = replace(QUICK, out=tmp_path / device, device=device, name=device)
        found[device] = evaluate(EvaluateConfig(runs=(run.directory,), evaluation=how))[0].scores[1]
    for part, score in found["cuda"].items():
        assert score.accuracy == pytest.approx(found["cpu"][part].accuracy, abs=0.02)


@no_figure
def test_characters_of_the_background_alphabets_are_transferred_to_others(tmp_path, monkeypatch):
    write_archives(tmp_path, monkeypatch)
    protocol = pretraining_protocol("pi-limit", "omniglot-background")
    run = protocol.changed(rank=8, epochs=1, data_dir=tmp_path, runs_dir=tmp_path, name="drawings", keep_epochs=True)
    train_network(run)
    how = replace(QUICK, train_size=None, classes=5, data_dir=tmp_path, out=tmp_path / "out", parts=(KERNEL,))
    evaluate(EvaluateConfig(runs=(run.directory,), evaluation=how))
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["title"] == "omniglot-background → omniglot-evaluation-classes5"
    score = found["models"][0]["runs"][0]["epochs"]["1"]["kernel"]
    assert score["images"] == 5 * 5 and score["accuracy"] > 0.5
    with pytest.raises(ValueError, match=r"`--target` must be a data set with images of \(1, 28, 28\)"):
        evaluate(
            EvaluateConfig(runs=(run.directory,), evaluation=replace(how, target="digits", baselines=(), classes=None))
        )


@pytest.mark.parametrize(
    "wrong, words",
    [
        (dict(parts=(FeatureKernel(ridges=(0.0,)),)), "`--ridges` must be numbers > 0; got 0"),
        (dict(parts=(NewReadout(rates=()),)), "`--rates` must be at least one"),
        (dict(fit_size=0), "`--fit-size` must be an integer"),
        (dict(parts=(NewReadout(readout_batch_size=0),)), "`--readout-batch-size` must be an integer"),
        (dict(epochs=(-1,)), "`--epochs` must be numbers ≥ 0; got -1"),
        (dict(parts=()), "`--parts` must be at least one"),
        (dict(threads=0), "`--threads` must be an integer"),
    ],
)
def test_bad_values_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        evaluate(EvaluateConfig(runs=(Path("nowhere"),), evaluation=replace(QUICK, **wrong)))


@pytest.mark.parametrize("runs, words", [([], "given the directories of runs"), (["nowhere"], "nowhere")])
def test_runs_that_are_not_there_are_one_line(runs, words, capsys):
    assert main(["transfer", "evaluate", *runs]) == 2
    line = capsys.readouterr().err
    assert words in line and line.count("\n") == 1


def test_runs_on_several_data_sets_need_a_target(small, tmp_path):
    for name, data in (("a", "digits"), ("b", "cifar10")):
        run_folder(small.changed(dataset=data, name=name)).start({"epoch": 0})
        run_folder(small.changed(dataset=data, name=name)).keep(0, {})
    with pytest.raises(ValueError, match="`--target` must be given for runs on several data sets"):
        evaluate(EvaluateConfig(runs=(tmp_path / "a", tmp_path / "b"), evaluation=QUICK))


def test_a_run_without_kept_epochs_says_how_to_keep_them(small):
    train_network(small.changed(epochs=1))
    with pytest.raises(FileNotFoundError, match="mupi train --keep-epochs"):
        evaluate(EvaluateConfig(runs=(small.directory,), evaluation=QUICK))


def test_an_epoch_that_was_not_kept_is_named(pretrained):
    how = replace(pretrained.config.evaluation, epochs=(5,))
    with pytest.raises(FileNotFoundError, match=r"005\.pt` is missing; kept epochs: 0, 1 "):
        evaluate(replace(pretrained.config, evaluation=how))
