"""The scripts of examples/, as users run them, at small sizes."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
ARGUMENTS = {
    "bayesian_optimization.py": ["--models", "random", "ntk", "--first", "4", "--steps", "1", "--seeds", "1"],
    "myrtle_kernel.py": ["--dataset", "digits", "--train", "20", "--test", "6", "--size", "4", "--tile", "8"],
    "your_own_network.py": ["--train", "40", "--test", "30", "--epochs", "1"],
    "your_own_operation.py": [],
}


SLOW = {"bayesian_optimization.py"}


def test_every_example_is_run():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(ARGUMENTS)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # GPyTorch's and BoTorch's, at import
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in ARGUMENTS]
)
def test_an_example_runs(name, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *ARGUMENTS[name]])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    printed = capsys.readouterr().out
    expected = {
        "bayesian_optimization.py": ["hartmann6", "after 5", "random", "ntk"],
        "myrtle_kernel.py": ["train-20", "ms of CPU each", "held out", "tested", "20 to learn from"],
        "your_own_network.py": ["ResNet", "ViT", "NNGP", "π-limit"],
        "your_own_operation.py": ["Mix(0.3)", "NNGP", "Tensor Program in the limit", "loss after 100 steps"],
    }
    assert all(text in printed for text in expected[name])
