"""Names of runs that were given none."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from mupi.commands.naming import named_by, run_directory
from mupi.commands.train.config import FREE_ON_RESUME
from mupi.commands.train.form import read_train
from mupi.recipes.comparison.compare import CompareConfig
from mupi.recipes.comparison.models import MuNet, PiLimit, PiNet
from mupi.recipes.omniglot.config import OmniglotConfig
from mupi.recipes.omniglot.models import DeepMuNet
from mupi.recipes.word2vec.config import Word2VecConfig
from mupi.recipes.word2vec.embedding_start import Gaussian

LINES = [
    "", "--lr 2", "--lr 3", "--clip None", "--subspace 3", "--degree 3", "--degree 3 --subspace 2:4,3:5", "--seed 1",
    "--flip", "--activation tanh", "--features atoms", "--features random", "--features random --width 99",
    "--network mup", "--network standard", "--network mup --sigma-w 2", "--arch cnn", "--arch cnn --network mup",
    "--rank 3", "--depth 3", "--anneal 2", "--anneal 2 --epochs 9", "--train-size 50", "--train-size 50 --data-seed 0",
    "--lr 2 --lr-first 3 --lr-last 5 --lr-bias 7 --clip 8 --momentum 0.5", "--drop-epoch None", "--bias-scale 0",
]  # fmt: skip


def directory(line: str) -> Path:
    config, _ = read_train(line.split(), "mupi train", "", ())
    return config.directory


def test_runs_of_other_numbers_have_other_names():
    names = [directory(line).name for line in LINES]
    assert len(set(names)) == len(names)
    assert names[:2] == ["digits-hermite-r64-seed0", "digits-hermite-r64-lr2.0-seed0"]
    assert all(len(name) < 100 and "/" not in name for name in names)


@pytest.mark.parametrize("line", ["--epochs 3", "--threads 1", "--keep-epochs", "--overwrite"])
def test_a_run_that_goes_on_keeps_its_name(line):
    assert directory(line) == directory("")


def test_a_run_of_an_earlier_version_is_found_where_it_was(tmp_path):
    old = tmp_path / "digits-hermite-r64-seed0"
    old.mkdir()
    given = f"--lr 2 --runs-dir {tmp_path}"
    assert directory(given) != old
    assert directory(given + " --resume") == old
    directory(given).mkdir()
    assert directory(given + " --resume") != old


def test_recipes_name_what_differs_too():
    words = Word2VecConfig()
    changed = [replace(words, lr=0.5), replace(words, epochs=2), replace(words, window=3)]
    changed += [replace(words, start=Gaussian(3))]
    assert len({config.directory for config in (words, *changed)}) == 5
    few = OmniglotConfig()
    changed = [replace(few, ways=3), few.changed(lr=1.0), replace(few, model=DeepMuNet()), few.changed(cosine=False)]
    assert len({config.directory(0) for config in (few, *changed)}) == 5
    compared = [CompareConfig(models=(MuNet(), *more)) for more in ((), (PiLimit(epochs=3),), (PiNet(width=8),))]
    compared += [replace(compared[0], train_size=9)]
    assert len({config.directory for config in compared}) == 4


def test_many_options_are_a_checksum():
    many = {field.name: 1.0 for field in fields(Word2VecConfig)}
    assert len(named_by(many)) == 9
    assert named_by(many) != named_by(many | {"lr": 2.0})
    assert named_by({"text": "a/../b c"}) == "-texta_.._b_c"
    assert run_directory(Path("runs"), "x", {}, resume=False) == Path("runs/x")
    assert "epochs" in FREE_ON_RESUME
