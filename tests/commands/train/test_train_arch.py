"""`mupi train --arch`: every architecture trains, with defaults of its own, and says what it cannot do."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from cases import seeded
from mupi.commands.train.architectures import architecture_protocol, build_architecture
from mupi.commands.train.form import chosen
from mupi.commands.train.presets import CIFAR10, DIGITS
from mupi.commands.train.restore import restore
from mupi.commands.train.train import train
from mupi.data import load_digits
from mupi.features import Atoms
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
