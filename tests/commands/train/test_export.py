import subprocess
import sys

import pytest
import torch
from sklearn.datasets import load_digits

from mupi.cli import main
from mupi.commands.own_process import in_own_process
from mupi.commands.train.activation_names import ACTIVATIONS
from mupi.commands.train.export import ExportConfig, export
from mupi.commands.train.restore import restore, restore_epoch
from mupi.commands.train.train import train_network
from mupi.features import Atoms, Hermite

IN_A_PROCESS_OF_ITS_OWN = """
import json, sys, torch
path, x, out = sys.argv[1:]
about = {"about.json": ""}
net = torch.export.load(path, extra_files=about).module()
y = net(torch.load(x))
for wrong in (-torch.load(x), torch.load(x) * 1000):
    try:
        net(wrong)
    except RuntimeError as error:
        assert "pixels must be numbers from 0 to 16" in str(error)
    else:
        raise AssertionError("pixels out of range are refused")
assert not any(name.split(".")[0] == "mupi" for name in sys.modules)
torch.save((y, json.loads(about["about.json"])), out)
"""


def exported(arguments, tmp_path, x):
    """The outputs of an exported file where nothing but torch is imported."""
    # In a process without the shape checks of the tests, which are no part of the program.
    assert in_own_process(main, ["export", *arguments]) == 0
    torch.save(x, tmp_path / "x.pt")
    files = [tmp_path / "net.pt2", tmp_path / "x.pt", tmp_path / "y.pt"]
    subprocess.run([sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, *map(str, files)], check=True)
    return torch.load(tmp_path / "y.pt")


@pytest.mark.parametrize(
    "activation, degree",
    [
        ("relu", 2),
        pytest.param("tanh", 3, marks=pytest.mark.slow),
        pytest.param("quadratic", 2, marks=pytest.mark.slow),
    ],
)
def test_a_limit_is_exported_and_gives_the_same_outputs_without_this_library(small, tmp_path, activation, degree):
    config = small.changed(
        epochs=1, features=Hermite(degree, subspace=4), activation=ACTIVATIONS[activation], readout_init=1.0
    )
    metrics = train_network(config)
    net, data = restore(config)
    pixels, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(pixels).float().view(-1, 1, 8, 8)
    y, about = exported([str(config.directory), "--out", str(tmp_path / "net.pt2")], tmp_path, x)
    # All of scikit-learn's digits as they are: the images of the test are among them.
    standardized = {tuple(row): i for i, row in enumerate(data.raw(data.test_x).flatten(1).tolist())}
    rows = [i for i, row in enumerate(pixels.tolist()) if tuple(row) in standardized]
    order = [standardized[tuple(pixels[i])] for i in rows]
    torch.testing.assert_close(y[rows], net(data.test_x).detach()[order])
    right = (y[rows].argmax(1) == torch.from_numpy(labels)[rows]).double().mean()
    assert len(rows) == len(data.test_x)
    assert float(right) == pytest.approx(metrics[-1].test_accuracy)
    assert about["classes"] == list("0123456789") and about["output"] == "logits"
    assert about["input"] == dict(shape=["batch", 1, 8, 8], dtype="float32", smallest=0, largest=16)


@pytest.mark.slow
def test_a_finite_network_of_the_limit_is_exported(small, tmp_path):
    config = small.changed(epochs=1, features=Atoms(), readout_init=1.0)
    train_network(config)
    net, data = restore(config)
    x = data.raw(data.test_x[:50])
    arguments = [str(config.directory), "--width", "20000", "--out", str(tmp_path / "net.pt2")]
    y, _ = exported(arguments, tmp_path, x)
    right = net(data.test_x[:50])
    error = torch.linalg.vector_norm(y - right) / torch.linalg.vector_norm(right)
    assert error < 0.15  # of the order of 1/√width, with a constant of some tens for centred outputs


def test_a_kept_epoch_is_exported_under_its_own_name(small, monkeypatch):
    config = small.changed(epochs=1, keep_epochs=True, readout_init=1.0)
    train_network(config)
    modules: list = []

    class Program:
        def __init__(self, module, x):
            modules.append(module)

        def module(self):
            return modules[-1]

    monkeypatch.setattr("mupi.commands.train.export.export_module", Program)
    monkeypatch.setattr(torch.export, "save", lambda program, path, extra_files: None)
    paths = [export(ExportConfig(config.directory, epoch=epoch)) for epoch in (0, None)]
    assert [path.name for path in paths] == ["net-epoch0.pt2", "net.pt2"]
    data = restore(config)[1]
    x = data.test_x[:5]
    torch.testing.assert_close(modules[0](data.raw(x)), restore_epoch(config, 0)[0](x))
    torch.testing.assert_close(modules[1](data.raw(x)), restore(config)[0](x))


def test_what_cannot_be_exported_says_what_to_do(small, tmp_path):
    with pytest.raises(FileNotFoundError, match="mupi train"):
        export(ExportConfig(tmp_path / "nothing"))
    train_network(small.changed(epochs=1, features=Atoms()))
    with pytest.raises(ValueError, match="--width"):
        export(ExportConfig(small.directory))
