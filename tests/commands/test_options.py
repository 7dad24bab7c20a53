"""Options: each has a meaning where it is given, and numbers and paths are refused before anything is done."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

from mupi.activations import Activation, ReLU
from mupi.cli import COMMANDS, main
from mupi.commands.machine import MOST_THREADS, require_device, set_threads
from mupi.commands.options import NotAbove, Only
from mupi.commands.train.form import FIRST, Form, chosen
from mupi.commands.train.presets import DIGITS
from mupi.commands.train.size import feature_count, perceptron_bytes, projected_bytes
from mupi.features import Hermite, RandomFeatures
from mupi.nets import MLP, PiMLP
from mupi.recipes.transfer.config import BothConfig, EvaluateConfig, EvaluationConfig
from mupi.training.augmentation import Augmentation

CONFIGS = [EvaluateConfig, EvaluationConfig, BothConfig]
CONFIGS += [command.load()[0] for name, command in COMMANDS.items() if name not in ("train", "transfer")]


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("config", CONFIGS)
def test_options_say_what_they_apply_to_by_names_of_options(config):
    names = {field.name for field in fields(config)} | {"map"}
    hints = get_type_hints(config, include_extras=True)
    for field in fields(config):
        for mark in getattr(hints[field.name], "__metadata__", ()):
            others = set(mark.values) if isinstance(mark, Only) else set()
            assert others | ({mark.other} if isinstance(mark, NotAbove) else set()) <= names, field.name
        assert isinstance(field.default, Activation) or not is_dataclass(field.default)


@pytest.mark.parametrize("choices", ["", "--features atoms", "--arch cnn --network mup", "--network standard"])
def test_the_options_of_every_network_do_so_too_and_each_has_its_place_in_the_help(choices):
    options = Form(chosen(choices.split(), DIGITS)).options
    names = [o.name for o in options]
    assert len(set(names)) == len(names)
    assert all(set(mark.values) <= {*names, "files"} for o in options for mark in o.marks if isinstance(mark, Only))
    assert sum(name in FIRST for name in names) <= 12


@pytest.mark.parametrize(
    "line, option, reason",
    [
        ("train --network mup --features atoms", "--features", "--network mup"),
        ("train --features atoms --degree 3", "--degree", "--features atoms"),
        ("train --subspace-high 3", "--subspace-high", "--degree 2"),
        ("train --arch transformer --input-scale 2", "--input-scale", "--arch transformer"),
        ("train --arch cnn --input-scale 2", "--input-scale", "--arch cnn"),
        ("compare --models nngp --epochs 2", "--epochs", "--models nngp"),
        ("omniglot pi ntk --lr 1", "--lr", "pi ntk"),
        ("omniglot --model ntk", "--model", "mupi recipe omniglot pi ntk"),
        ("compare --exact True", "--exact", "--models … pi-limit-exact"),
        ("cifar10 --parts kernel --epochs 5 --kernel-epochs 1 10", "--kernel-epochs", "--epochs 5"),
        ("program --draws 3", "mupi program", "dependence"),
        ("abc by-hand --a 0 0 --b 0 0 --depth 3", "--depth", "beside by-hand"),
        ("train --seed 18446744073709551616", "--seed", "64 bits"),
        ("train --lr inf", "--lr", "inf"),
        ("train --activation erf --degree 0", "degree", "erf has none"),
        ("train --arch cnn --degree 0", "degree", "centred has none"),
        ("train --degree 1 --activation 0,0,1", "degree", "0,0,1 has none"),
        ("coordcheck --activation 0,-1", "activation", "≥ 0"),
        ("train --data-dir mistyped", "--data-dir", "mistyped"),
        ("train --name= --rank 3", "--name", "empty"),
        ("train --name \0", "--name", "null bytes"),
        ("train --name ../x", "--name", "../x"),
        ("train --name /tmp/x --overwrite", "--name", "/tmp/x"),
        ("train --name .. --resume", "--name", ".."),
        ("compare --name ../x", "--name", "../x"),
        ("omniglot --name a/b", "--name", "a/b"),
        ("word2vec --name ../x", "--name", "../x"),
        ("transfer pretrain --dataset digits --name ../x", "--name", "../x"),
        ("transfer evaluate run --train-size 40 ", "mupi transfer evaluate run --train-size 40", "empty"),
        ("convergence --out file/below", "--out", "file"),
        ("abc --map map.bogus", "--map", "png"),
        ("export run --out .", "--out", "folder"),
        ("transfer both --models mu-net --rank 8", "--rank", "--models mu-net"),
        ("transfer evaluate run --parts probe --baselines --ridges 1", "--ridges", "--parts probe"),
        ("transfer both --exact", "--exact", "pi-limit-exact"),
    ],
)
def test_a_value_that_would_be_ignored_or_fail_later_is_one_line_that_names_it(capsys, line, option, reason):
    Path("file").touch()
    assert main(line.split(" ")) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"`{option}`" in said and reason in said
    assert [path.name for path in Path().iterdir()] == ["file"]


@pytest.mark.parametrize(
    "line, said",
    [
        ("", "one of tour, train, predict, plot, export, abc, coordcheck, check, program, recipe; got nothing"),
        ("transfer", "`mupi transfer` must be followed by one of pretrain, evaluate, both; got nothing"),
        ("transfer foo", "`mupi transfer` must be followed by one of pretrain, evaluate, both; got foo"),
        ("export", "`mupi export` must be given all that it needs; got no PATH The run's directory."),
        ("train --activation foo", "`activation` must be weights such as 0,0.25,4 or one of relu, leaky-relu, "),
        ("train --rank", "`--rank` must be followed by a value; got none"),
        ("train --rank 1.5", "`--rank` must be INT; got '1.5'"),
        ("word2vec gaussian --width x", "`--width` must be INT; got 'x'"),
        ("word2vec gaussian", "`mupi word2vec` must be given all that it needs; got no --width INT n."),
        ("omniglot mu-net", "`mupi omniglot` must be followed by one of pi, tp4; got 'mu-net'"),
        (
            "compare --models a b",
            "`--models` must be one of nngp, ntk, sp-net, mu-net, pi-net, pi-limit, pi-limit-exact; got 'a'",
        ),
        ("train --ranks 3", "got --ranks 3; perhaps --rank was meant"),
        ("train 3", "`mupi train` must be given options that it has; got 3; see mupi train --help"),
        ("program --widths", "`--widths` must be at least two widths, all different; got ()"),
    ],
)
def test_what_cannot_be_read_is_one_line_too(capsys, monkeypatch, line, said):
    monkeypatch.setenv("COLUMNS", "60")
    assert main(line.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith("mupi: error: ") and err.count("\n") == 1
    assert said in err


def test_threads_and_devices_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match=f"`threads` must be between 1 and {MOST_THREADS}; got 100000"):
        set_threads(100_000)
    for device in ("meta", "bogus", "cpu:x"):
        with pytest.raises(ValueError, match="`device` must be one that torch has here"):
            require_device(device)
    require_device("cpu")


def test_a_shift_stays_inside_the_image():
    Augmentation(False, 7, (1, 8, 9))
    with pytest.raises(ValueError, match="`shift` must be less than the images' 8 pixels"):
        Augmentation(False, 8, (1, 8, 9))


def test_what_a_network_needs_at_the_least_is_what_its_weights_and_gradients_take():
    finite = MLP(7, 3, 50, 3)
    matrices = sum(p.numel() for p in finite.parameters() if p.ndim == 2)
    assert perceptron_bytes(7, 50, 3, 3) == 2 * 4 * matrices
    for features in (Hermite(3), Hermite(2, subspace=4), RandomFeatures(20)):
        net = PiMLP(7, 3, 10, 2, features=features)
        weights = sum(p.numel() for p in net.parameters() if p.ndim == 2)
        initial = 2 * 10 * 10
        assert 0 <= projected_bytes(7, 10, 2, 3, features, ReLU()) - 4 * (2 * weights + initial) <= 2 * 4 * 10 * 13
    assert feature_count(Hermite(2, subspace=100), 400, ReLU()) == 1 + 400 + 100 * 101 // 2
