"""`mupi train --arch`: every architecture trains, with defaults of its own, and says what it cannot do."""

import subprocess
import sys
from dataclasses import fields, replace

import pytest
import torch

from cases import seeded
from mupi.commands.train import build
from mupi.commands.train.architectures import architecture_protocol, build_architecture, of_kind
from mupi.commands.train.config import FLOATS
from mupi.commands.train.form import chosen
from mupi.commands.train.networks import KINDS
from mupi.commands.train.presets import CIFAR10, DIGITS
from mupi.commands.train.restore import restore
from mupi.commands.train.train import tell_of_precision, train, train_network
from mupi.data import load_digits
from mupi.features import Atoms, Hermite
from mupi.nets import MuCNN, PiCNN, PiMLP, PiResNet, PiTransformer


@pytest.mark.parametrize(
    ("arch", "kind"), [("mlp", PiMLP), ("cnn", PiCNN), ("resnet", PiResNet), ("transformer", PiTransformer)]
)
def test_the_name_decides_the_network(arch, kind):
    config = chosen(["--arch", arch], DIGITS)
    data = load_digits()
    net = build_architecture(config.changed(rank=8), data, seeded())
    assert isinstance(net, kind)
    assert net(data.test_x[:2]).shape == (2, 10)
    assert config.directory.name.startswith("digits-" if arch == "mlp" else f"digits-{arch}-")


def test_photographs_are_moved_and_digits_are_not():
    assert (architecture_protocol(CIFAR10, "cnn").flip, architecture_protocol(CIFAR10, "cnn").shift) == (True, 4)
    assert (architecture_protocol(DIGITS, "cnn").flip, architecture_protocol(DIGITS, "cnn").shift) == (False, 0)


@pytest.mark.usefixtures("no_figures")
def test_a_run_resumes_to_the_same_numbers(tmp_path):
    config = architecture_protocol(DIGITS, "transformer").changed(
        rank=8, depth=1, train_size=64, epochs=2, runs_dir=tmp_path
    )
    whole = train(config)
    first = replace(config, name="resumed", epochs=1)
    train(first)
    resumed = train(replace(first, epochs=2, resume=True))
    assert resumed[-1].test_loss == whole[-1].test_loss
    assert len(resumed[-1].layer_errors) == 2
    files = {path: path.stat().st_mtime_ns for path in whole_run_files(config)}
    net, _ = restore(config)
    assert isinstance(net, PiTransformer)
    assert {path: path.stat().st_mtime_ns for path in whole_run_files(config)} == files  # looking changes nothing


def test_in_bfloat16_a_run_is_that_of_float32_to_rounding(tmp_path):
    config = architecture_protocol(DIGITS, "cnn").changed(rank=8, train_size=200, epochs=2, runs_dir=tmp_path)
    plain, low = train(config), train(replace(config, precision="bfloat16", name="low"))
    assert low[-1].test_loss != plain[-1].test_loss
    assert abs(low[-1].test_loss - plain[-1].test_loss) < 0.02 * plain[-1].test_loss
    assert restore(replace(config, precision="bfloat16", name="low"))[0].input.weight.dtype == torch.float32
    with pytest.raises(ValueError, match="precision"):
        train(replace(config, name="low", resume=True, epochs=3))


@pytest.mark.parametrize(
    ("features", "batch", "said"),
    [
        (Atoms(), 64, "leaves atoms in float32: layers.0, layers.1"),
        (Hermite(2), 64, None),
        (Hermite(2), 8, "leaves gradients kept as factors in float32: input, layers.0, layers.1"),
    ],
)
def test_what_bfloat16_leaves_alone_is_said(features, batch, said, capsys, monkeypatch):
    monkeypatch.setattr(build, "FEWEST_FACTORED_PARAMETERS", 0)
    config = DIGITS.changed(features=features, batch_size=batch, rank=8)
    tell_of_precision(build_architecture(config, load_digits(), seeded()))
    assert capsys.readouterr().err == (f"mupi: --precision bfloat16 {said}\n" if said else "")


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("network", "arch"), KINDS)
def test_no_number_of_a_network_or_its_optimizer_is_ignored(network, arch, tmp_path):
    config = of_kind(DIGITS, network, arch).changed(train_size=32, batch_size=8, epochs=2, runs_dir=tmp_path)
    config = config.changed(rank=8) if network == "pi" else config.changed(width=16)
    numbers = {f.name: getattr(config.network, f.name) for f in fields(config.network)}
    numbers |= {name: getattr(config, name) for name in FLOATS if name != "drop"} | {"clip": config.clip}
    changes = {name: 1.3 * value or 0.3 for name, value in numbers.items() if isinstance(value, float)}
    changes |= dict(clip=0.01, flip=True, shift=1, label_smoothing=0.2, precision="bfloat16", anneal=2, momentum=0.3)

    def loss(i, **changes):
        return train_network(config.changed(name=str(i), **changes), "")[-1].train_loss

    plain = loss("plain")
    assert [name for i, name in enumerate(changes) if loss(i, **{name: changes[name]}) == plain] == []


@pytest.mark.slow
def test_a_compiled_run_is_the_same_to_rounding_and_goes_on_without_a_compiler(tmp_path):
    config = architecture_protocol(DIGITS, "cnn").changed(rank=8, train_size=200, epochs=2, runs_dir=tmp_path)
    options = ["--arch", "cnn", "--rank", "8", "--train-size", "200", "--runs-dir", str(tmp_path), "--name", "fused"]
    command = [sys.executable, "-m", "mupi", "train", *options, "--epochs", "1", "--compile"]
    subprocess.run(command, check=True, capture_output=True)
    plain = train(config)
    fused = train(replace(config, name="fused", resume=True))
    for ours, theirs in zip(fused, plain, strict=True):
        assert ours.test_loss == pytest.approx(theirs.test_loss, rel=1e-3)


def test_what_no_compiler_fuses_is_refused():
    with pytest.raises(ValueError, match="`compile` must be left out with --features atoms"):
        DIGITS.changed(features=Atoms(), compile=True).check()
    config = architecture_protocol(DIGITS, "cnn").changed(depth=4, pools=(2, 1))
    with pytest.raises(ValueError, match="`pools` must be 3 numbers at depth 4"):
        config.check()


def whole_run_files(config):
    return sorted(config.directory.iterdir())


def test_the_cnn_in_mup_is_there_and_others_are_refused():
    config = chosen(["--arch", "cnn", "--network", "mup"], DIGITS).changed(width=8)
    config.check()
    assert isinstance(build_architecture(config, load_digits(), torch.Generator()), MuCNN)
    with pytest.raises(ValueError, match=r"`arch` must be one that there is for network mup \(mlp, cnn\); got resnet"):
        chosen(["--arch", "resnet", "--network", "mup"], DIGITS)
    with pytest.raises(ValueError, match=r"`--arch` must be mlp or cnn or resnet or transformer; got 'rnn'"):
        chosen(["--arch", "rnn"], DIGITS)
