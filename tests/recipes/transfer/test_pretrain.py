"""`mupi transfer pretrain`: every epoch is kept, whatever interrupts the run."""

import pytest
import torch

from imagenet32_batches import write_batches
from mupi.cli import main
from mupi.commands.train.architectures import build_architecture
from mupi.commands.train.build import build_data, independent_generators
from mupi.commands.train.networks import MuConvolutional, PiConvolutional, PiPerceptron
from mupi.commands.train.presets import PRESETS
from mupi.commands.train.restore import restore, restore_epoch
from mupi.commands.train.run import run_folder
from mupi.commands.train.train import train_network
from mupi.features import Atoms, Hermite
from mupi.recipes.transfer.config import PretrainConfig, pretraining_protocol
from mupi.recipes.transfer.pretrain import pretrain
from mupi.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("no_figures")


def weights(config, epoch):
    """What is kept of an epoch."""
    return torch.load(run_folder(config).epoch_path(epoch), weights_only=True)


def assert_same_epochs(a, b):
    assert run_folder(a).kept_epochs() == run_folder(b).kept_epochs()
    for epoch in run_folder(a).kept_epochs():
        one, other = weights(a, epoch)["state"]["net"], weights(b, epoch)["state"]["net"]
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_untrained_network_and_that_of_every_epoch_are_kept_at_constant_size(small):
    pretrain(PretrainConfig(training=small))
    run = run_folder(small)
    assert run.kept_epochs() == [0, 1, 2, 3]
    assert len({run.epoch_path(epoch).stat().st_size for epoch in run.kept_epochs()}) == 1
    for_data, for_net = independent_generators(small.seed, 2)
    data = build_data(small, for_data)
    untrained = build_architecture(small, data, for_net).eval()
    first, description = restore_epoch(small, 0)
    last, _ = restore_epoch(small, 3)
    x = data.test_x[:5]
    assert torch.equal(first(x), untrained(x))
    assert torch.equal(last(x), restore(small)[0](x))
    assert not torch.equal(last(x), first(x))
    assert (description.classes, description.image_shape, len(description.train_x)) == (data.classes, (1, 8, 8), 0)


@pytest.mark.parametrize("features, step", [(Hermite(2, subspace=4), 7), (Hermite(2, subspace=4), 11), (Atoms(), 11)])
def test_an_interrupted_run_resumes_to_the_same_networks(small, press_ctrl_c, features, step):
    """After an epoch's last step, and in the middle of one."""
    whole, parted = (small.changed(features=features, keep_epochs=True, name=name) for name in ("whole", "parted"))
    train_network(whole)
    press_ctrl_c(step)
    with pytest.raises(KeyboardInterrupt):
        train_network(parted)
    train_network(parted.changed(resume=True))
    assert_same_epochs(whole, parted)


def test_a_death_between_the_writes_at_the_end_of_an_epoch_loses_nothing(small, monkeypatch):
    whole, parted = (small.changed(keep_epochs=True, name=name) for name in ("whole", "parted"))
    train_network(whole)

    def dies(run, state):
        raise OSError("no space left on device")

    train_network(parted.changed(epochs=1))
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(RunFolder, "save", dies)
        train_network(parted.changed(resume=True))
    assert run_folder(parted).kept_epochs() == [0, 1, 2]  # one more than the checkpoint knows of
    train_network(parted.changed(resume=True))
    assert_same_epochs(whole, parted)


def test_a_new_run_keeps_nothing_of_the_old_one(small):
    train_network(small.changed(keep_epochs=True))
    train_network(small.changed(keep_epochs=True, epochs=1, overwrite=True))
    assert run_folder(small).kept_epochs() == [0, 1]
    train_network(small.changed(epochs=1, overwrite=True))
    assert run_folder(small).kept_epochs() == []


def test_an_epoch_that_was_not_kept_is_named_with_those_that_were(small):
    train_network(small.changed(keep_epochs=True, epochs=1))
    with pytest.raises(FileNotFoundError, match=r"epochs/007\.pt` is missing; kept epochs: 0, 1 "):
        restore_epoch(small, 7)


def test_a_run_of_an_earlier_version_without_a_field_is_read_at_its_default(small):
    train_network(small.changed(keep_epochs=True, epochs=1))
    path = run_folder(small).epoch_path(1)
    saved = torch.load(path, weights_only=True)
    del saved["config"]["arch"]
    torch.save(saved, path)
    restore_epoch(small, 1)
    with pytest.raises(ValueError, match="`arch` must be 'mlp' as in"):
        restore_epoch(small.changed(kind=PiConvolutional), 1)


def test_a_cnn_is_trained_as_cnns_are():
    cnn, perceptron = (pretraining_protocol("mu-net", "imagenet32", arch) for arch in ("cnn", "mlp"))
    assert (type(cnn.network), cnn.dataset, cnn.classes) == (MuConvolutional, "imagenet32", perceptron.classes)
    limit = pretraining_protocol("pi-limit", "cifar10", "cnn")
    assert (cnn.flip, cnn.shift, cnn.lr) == (True, 4, limit.lr)
    assert cnn.network.bias_scale == limit.network.bias_scale, "the perceptron's is another, at which it diverges"
    assert pretraining_protocol("pi-limit", "digits", "resnet").flip is False


def test_the_protocol_is_that_of_the_paper():
    """Yang, Santacroce & Hu (2022), ImageNet32."""
    c = pretraining_protocol("pi-limit", "imagenet32")
    net = c.network
    assert isinstance(net, PiPerceptron)
    assert (c.classes, c.batch_size, c.epochs, net.rank, net.depth) == (250, 16, 40, 200, 2)
    assert (c.lr, c.lr_first, c.lr_last, c.lr_bias, c.weight_decay) == (0.01, 1.0, 1.0, 0.5, 1e-4)
    assert (c.clip, c.drop_epoch, net.bias_scale, net.input_scale, net.output_scale) == (None, None, 0.5, 1.0, 1.0)
    for model in ("pi-net", "mu-net"):
        other = pretraining_protocol(model, "imagenet32")
        assert (other.lr, other.batch_size, other.epochs, other.classes) == (c.lr, c.batch_size, c.epochs, c.classes)


SIZES = {"pi-limit": ["--rank", "3"], "pi-net": ["--rank", "3", "--width", "8"], "mu-net": ["--width", "8"]}


def test_the_command_reads_files_and_classes_of_imagenet32(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_batches(tmp_path)
    small = ["--data-dir", ".", "--epochs", "1", "--files", "2", "--classes", "4"]
    for model in ("pi-limit", "pi-net", "mu-net"):
        assert main(["transfer", "pretrain", "--model", model, *SIZES[model], *small, "--name", model]) == 0
        assert f"{model}: test accuracy" in capsys.readouterr().out
    assert main(["transfer", "pretrain", *small, "--name", "other", "--files", "3"]) == 2
    assert "train_data_batch_3" in capsys.readouterr().err
    assert main(["transfer", "pretrain", *small, "--classes", "7"]) == 2
    assert "at most 6" in capsys.readouterr().err


def test_the_command_s_defaults_are_those_of_model_and_data_set(capsys):
    for options, lr, network in (
        ([], 0.01, "pi"),
        (["--dataset", "cifar10", "--model", "mu-net"], PRESETS["cifar10"].mu_net.lr, "mup"),
    ):
        with pytest.raises(SystemExit):
            main(["transfer", "pretrain", *options, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert f"Learning rate of the hidden layers. (default: {lr})" in shown
        assert f"(default: {network})" in shown


@pytest.mark.parametrize("option, value", [("--model", "transformer"), ("--dataset", "mnist")])
def test_an_unknown_model_or_data_set_is_one_line(capsys, option, value):
    assert main(["transfer", "pretrain", option, value]) == 2
    line = capsys.readouterr().err
    assert option in line and value in line and line.count("\n") == 1
