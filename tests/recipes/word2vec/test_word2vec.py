import json
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mupi.cli import main
from mupi.recipes.word2vec import sampling as word2vec_sampling
from mupi.recipes.word2vec import word2vec as module
from mupi.recipes.word2vec.cbow import CBOW
from mupi.recipes.word2vec.config import NORMALIZERS, Word2VecConfig
from mupi.recipes.word2vec.corpus import encode
from mupi.recipes.word2vec.embedding_start import Gaussian, Orthonormal, UnitVectors
from mupi.recipes.word2vec.metrics import Word2VecMetrics, accuracies
from mupi.recipes.word2vec.plots import plot_analogies
from mupi.recipes.word2vec.sampling import Sampling
from mupi.recipes.word2vec.word2vec import word2vec
from mupi.recipes.word2vec.word_training import Training
from mupi.recipes.word2vec.word_vectors import WordVectors
from mupi.reports import Report

WORDS = [f"word{i}" for i in range(20)]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Word2VecConfig:
    """Two epochs of three passages of a text of 280 words, with two questions about them."""
    monkeypatch.setattr(word2vec_sampling, "PASSAGE", 100)
    text = random.Random(0).choices(WORDS, weights=range(20, 0, -1), k=280)
    (tmp_path / "text8").write_text(" ".join(text))
    (tmp_path / "questions-words.txt").write_text(": some\nword0 word1 word2 word3\nword4 word5 word6 other\n")
    return Word2VecConfig(
        start=Gaussian(6),
        epochs=2,
        min_count=1,
        subsampling=0.0,
        lr=0.3,
        data_dir=tmp_path,
        runs_dir=tmp_path / "runs",
        name="small",
        batch_size=10,
        shared_negatives=8,
        negatives=5,
    )


@pytest.fixture
def no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figure, which takes longer than such a run."""
    monkeypatch.setattr(Report, "figure", lambda *_: None)


@pytest.fixture
def press_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``press_ctrl_c(after=n)``: the process gets a SIGINT in its n-th passage from then on, once."""

    def arrange(after: int) -> None:
        passages = iter(range(1, 10**6))
        train = Training.train_passage

        def train_passage(self: Training) -> None:
            train(self)
            if next(passages) == after:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Training, "train_passage", train_passage)

    return arrange


def numbers(metrics: list[Word2VecMetrics]) -> list[tuple]:
    """What must not depend on time."""
    return [(m.epoch, m.positions, m.words, m.loss, m.accuracy, m.sections) for m in metrics]


def test_a_run_writes_configuration_metrics_checkpoint_vectors_and_figure(config, capsys):
    metrics = word2vec(config)
    names = {path.name for path in config.directory.iterdir()}
    assert names == {
        "config.json",
        "metrics.jsonl",
        "checkpoint.pt",
        "vectors.bin",
        "accuracy.png",
        "accuracy.svg",
        "report.html",
    }
    assert [m.epoch for m in metrics] == [0, 1, 2]
    assert [m.positions for m in metrics] == [0, 280, 280]
    assert metrics[0].loss is None
    assert "NaN" not in (config.directory / "metrics.jsonl").read_text()
    assert all(m.sections == {"some": (m.sections["some"][0], 1)} for m in metrics)
    assert metrics[2].loss < metrics[1].loss
    vectors = WordVectors.load(config.directory / "vectors.bin", binary=True)
    assert set(vectors.words) == set(WORDS)
    assert vectors.vectors.shape == (20, 6)
    assert json.loads((config.directory / "config.json").read_text())["lr"] == 0.3
    assert "epoch 2/2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "settings", [dict(start=UnitVectors()), dict(start=Orthonormal(6)), dict(storage=torch.bfloat16)], ids=str
)
def test_every_start_and_storage_learns(config, no_figure, settings):
    metrics = word2vec(replace(config, **settings))
    assert metrics[2].loss < metrics[1].loss


@pytest.mark.parametrize("after", [1, 3, 4])
@pytest.mark.parametrize("settings", [dict(start=UnitVectors()), dict(storage=torch.bfloat16)], ids=str)
def test_an_interrupted_run_goes_on_to_the_same_numbers(config, no_figure, press_ctrl_c, after, settings):
    config = replace(config, **settings)
    whole = word2vec(replace(config, name="whole"))
    press_ctrl_c(after)
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        word2vec(config)
    assert numbers(word2vec(replace(config, resume=True))) == numbers(whole)
    first, second = (config.runs_dir / name / "vectors.bin" for name in ("small", "whole"))
    assert first.read_bytes() == second.read_bytes()


def test_a_second_ctrl_c_inside_a_passage_saves_nothing_half_done(config, no_figure, monkeypatch):
    """It loses what came after the last save, and the run still goes on to the same numbers."""
    whole = word2vec(replace(config, name="whole"))
    step, steps = CBOW._step, iter(range(10**6))

    def interrupted(self: CBOW, *args) -> None:
        step(self, *args)
        if next(steps) == 43:  # of 10 + 10 + 8 in each epoch: inside the second passage of the second
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CBOW, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            word2vec(config)
    assert numbers(word2vec(replace(config, resume=True))) == numbers(whole)
    first, second = (config.runs_dir / name / "vectors.bin" for name in ("small", "whole"))
    assert first.read_bytes() == second.read_bytes()


def test_a_saved_run_is_neither_replaced_nor_resumed_as_another(config, no_figure):
    word2vec(config)
    with pytest.raises(ValueError, match="already holds a run"):
        word2vec(config)
    with pytest.raises(ValueError, match=r"`lr` must be 0.3 as in .* to resume it; got 0.5"):
        word2vec(replace(config, lr=0.5, resume=True))
    word2vec(replace(config, lr=0.5, overwrite=True))


def test_what_does_not_fit_into_memory_is_refused_before_the_start_with_both_figures(config, monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda device: 10_000)
    with pytest.raises(
        ValueError, match=r"`width` must be small enough .* 0\.0 GB; got a size that needs .*orthonormal"
    ):
        word2vec(replace(config, start=UnitVectors()))
    assert not config.directory.exists()


def test_a_run_that_diverges_says_so(config):
    with pytest.raises(FloatingPointError, match="the loss became"):
        word2vec(replace(config, lr=1e30, weight_decay=0.0))


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(epochs=0), "`epochs` must be an integer ≥ 1"),
        (dict(lr=-1.0), "`lr`"),
        (dict(weight_decay=100.0), "`weight_decay` must be less than 1/lr"),
        (dict(resume=True, overwrite=True), "`resume` must be without overwrite"),
    ],
)
def test_settings_that_make_no_sense_are_named(config, settings, message):
    with pytest.raises(ValueError, match=message):
        word2vec(replace(config, **settings))


@pytest.mark.parametrize(
    "start, saved, folder",
    [
        (UnitVectors(), ("inf", "gaussian"), "word2vec-text8-inf"),
        (Gaussian(6), (6, "gaussian"), "word2vec-text8-6"),
        (Orthonormal(6), (6, "orthonormal"), "word2vec-text8-6-orthonormal"),
    ],
    ids=str,
)
def test_a_start_is_written_as_earlier_versions_did(start, saved, folder):
    config = Word2VecConfig(start=start, storage=torch.bfloat16, normalise=NORMALIZERS["letters"])
    plain = config.as_plain()
    assert (plain["width"], plain["start"]) == saved
    assert (plain["storage"], plain["normalise"]) == ("bfloat16", "letters")
    assert Word2VecConfig(start=start).directory == Path("runs") / f"{folder}-seed0"


def test_the_limit_leaves_words_not_met_at_zero_and_scores_nothing_at_the_start(config, no_figure):
    assert word2vec(replace(config, start=UnitVectors()))[0].accuracy == 0


def test_sampling_covers_the_text_once_and_cuts_contexts_at_passages(monkeypatch):
    monkeypatch.setattr(word2vec_sampling, "PASSAGE", 100)
    corpus = encode(iter([f"w{i % 7}" for i in range(230)]), min_count=1)
    sampling = Sampling(corpus, window=3, subsampling=0.0, batch_size=32, shared_negatives=5, seed=0)
    assert sampling.passages == 3
    passages = [sampling.passage(0, number) for number in range(3)]
    assert torch.equal(torch.cat([p.words for p in passages]), corpus.ids.long())
    assert [(p.steps, p.batch_size, p.window) for p in passages] == [(4, 32, 3), (4, 32, 3), (1, 32, 3)]
    assert all(p.negatives.shape == (p.steps, 5) for p in passages)
    again, later = sampling.passage(0, 1), sampling.passage(1, 1)
    assert torch.equal(again.negatives, passages[1].negatives)
    assert torch.equal(again.radius, passages[1].radius)
    assert not torch.equal(later.radius, again.radius)


def test_subsampling_and_negatives_have_the_frequencies_of_their_distributions():
    corpus = encode(iter(["a"] * 30_000 + ["b"] * 9_000 + ["c"] * 1_000), min_count=1)
    sampling = Sampling(corpus, window=3, subsampling=0.1, batch_size=64, shared_negatives=64, seed=0)
    passage = sampling.passage(0, 0)
    centers = passage.words.bincount(minlength=3)
    expected = corpus.vocabulary.counts * corpus.vocabulary.kept_share(0.1)
    assert ((centers - expected).abs() < 5 * expected.sqrt() + 1).all()
    negatives = passage.negatives.flatten()
    expected = corpus.vocabulary.noise() * len(negatives)
    assert ((negatives.bincount(minlength=3) - expected).abs() < 5 * expected.sqrt()).all()


def test_neighbors_analogies_and_the_figure_are_asked_for_on_the_command_line(config, no_figure, capsys):
    for seed in (0, 1):
        word2vec(replace(config, seed=seed, name=f"small{seed}"))
    run = str(config.runs_dir / "small0")
    capsys.readouterr()
    assert main(["neighbours", run, "word0", "word1", "--count", "3"]) == 0
    assert capsys.readouterr().out.count("word") >= 3
    assert main(["analogies", run, "--data-dir", str(config.data_dir)]) == 0
    assert "total" in capsys.readouterr().out
    figure = config.runs_dir / "f" / "word2vec.png"
    assert main(["word2vec-figure", run, str(config.runs_dir / "small1"), "--out", str(figure)]) == 0
    assert figure.exists()
    assert main(["neighbours", run, "emperor"]) == 2
    assert "among the 20 words" in capsys.readouterr().err


def test_words_with_a_minus_are_subtracted_wherever_they_stand(config, no_figure, capsys):
    word2vec(config)
    run = str(config.directory)
    vectors = WordVectors.load(config.directory / "vectors.bin", binary=True)
    right = [word for word, _ in vectors.nearest(["word0", "word1"], ["word2"], 3)]
    for args in (
        [run, "word0", "word1", "-word2", "--count", "3"],
        ["--count=3", "--", run, "-word2", "word0", "word1"],
        [run, "-word2", "word0", "--count", "3", "word1"],
    ):
        capsys.readouterr()
        assert main(["neighbours", *args]) == 0
        assert [word for word in capsys.readouterr().out.split() if word[-1].isdigit() and word[0] == "w"] == right
    assert main(["neighbours", run, "word0", "-"]) == 2
    assert "write it before its word" in capsys.readouterr().err


def test_another_text_than_text8_is_trained_without_analogies(config, tmp_path, monkeypatch, capsys):
    def offline(*args: object, **kwargs: object):
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", offline)
    (tmp_path / "text8").rename(tmp_path / "my.txt")
    config = replace(config, text=str(tmp_path / "my.txt"))
    (tmp_path / "questions-words.txt").write_text("zwei drei vier fünf\n")
    assert [m.accuracy for m in word2vec(replace(config, name="none known"))] == [None] * 3
    (tmp_path / "questions-words.txt").unlink()
    metrics = word2vec(config)
    assert [m.accuracy for m in metrics] == [None] * 3 and metrics[2].loss < metrics[1].loss
    assert "no analogies are scored" in capsys.readouterr().out
    (tmp_path / "my.txt").rename(tmp_path / "text8")
    with pytest.raises(FileNotFoundError, match=r"questions-words\.txt"):
        word2vec(replace(config, text="text8", name="other"))


def test_the_command_needs_a_text_and_says_which(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions-words.txt").write_text("a b c d\n")
    assert main(["word2vec", "--text", "none", "--data-dir", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("mupi: error: found no text `none`")
    assert err.count("\n") == 1


def test_the_figure_has_a_line_and_a_band_for_each_width(config, no_figure):
    metrics = word2vec(config)
    axes = plot_analogies(accuracies({"width 6": [metrics, metrics[:2]], "width ∞": [metrics]})).axes[0]
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 3]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["width 6", "width ∞"]
