import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from mupi.experiments.training.export import ExportConfig, export
from mupi.experiments.training.restore import restore, restore_epoch
from mupi.experiments.training.train import train_network

IN_A_PROCESS_OF_ITS_OWN = """
import sys, torch
path, x, out = sys.argv[1:]
y = torch.export.load(path).module()(torch.load(x))
assert not any(name.split(".")[0] == "mupi" for name in sys.modules)
torch.save(y, out)
"""
EXPORT = "import sys; from mupi.cli import main; sys.exit(main(sys.argv[1:]))"


def exported(arguments, tmp_path, x):
    """The outputs of an exported file where nothing but torch is imported."""
    # In a process without the shape checks of the tests, which are no part of the program.
    subprocess.run([sys.executable, "-c", EXPORT, "export", *arguments], check=True)
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
    config = replace(small, epochs=1, features="hermite", activation=activation, degree=degree, readout_init=1.0)
    train_network(config)
    net, data = restore(config)
    x = data.test_x[:7]
    y = exported([str(config.directory), "--out", str(tmp_path / "net.pt2")], tmp_path, x)
    torch.testing.assert_close(y, net(x).detach())


@pytest.mark.slow
def test_a_finite_network_of_the_limit_is_exported(small, tmp_path):
    config = replace(small, epochs=1, features="atoms", readout_init=1.0)
    train_network(config)
    net, data = restore(config)
    x = data.test_x[:50]
    arguments = [str(config.directory), "--width", "20000", "--out", str(tmp_path / "net.pt2")]
    y = exported(arguments, tmp_path, x)
    error = torch.linalg.vector_norm(y - net(x)) / torch.linalg.vector_norm(net(x))
    assert error < 0.15  # of the order of 1/√width, with a constant of some tens for centred outputs


def test_a_kept_epoch_is_exported_under_its_own_name(small, monkeypatch):
    config = replace(small, epochs=1, keep_epochs=True, readout_init=1.0)
    train_network(config)
    modules: list = []

    class Program:
        def __init__(self, module, x):
            modules.append(module)

        def module(self):
            return modules[-1]

    monkeypatch.setattr("mupi.experiments.training.export.export_module", Program)
    monkeypatch.setattr(torch.export, "save", lambda program, path: None)
    paths = [export(ExportConfig(config.directory, epoch=epoch)) for epoch in (0, None)]
    assert [path.name for path in paths] == ["net-epoch0.pt2", "net.pt2"]
    x = restore(config)[1].test_x[:5]
    assert torch.equal(modules[0](x), restore_epoch(config, 0)[0](x))
    assert torch.equal(modules[1](x), restore(config)[0](x))


def test_what_cannot_be_exported_says_what_to_do(small, tmp_path):
    with pytest.raises(FileNotFoundError, match="mupi train"):
        export(ExportConfig(tmp_path / "nothing"))
    train_network(replace(small, epochs=1, features="atoms"))
    with pytest.raises(ValueError, match="--width"):
        export(ExportConfig(small.directory))
