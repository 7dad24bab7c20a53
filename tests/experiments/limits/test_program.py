import json
from pathlib import Path

import pytest

from mupi.cli import main

SMALL = ["--widths", "8", "16", "--draws", "2"]
TINY = ["--images", "4", "--steps", "2", "--samples", "600", "--replicates", "2", "--widths", "8", "16", "--seeds", "1"]


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_demo_is_explained_and_run_beside_its_limit(capsys):
    assert main(["program", "dependence", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "Ż = 1 x   (E ∂gradient/∂Wx = 1)" in out
    measured = json.loads(Path("runs/program/program.json").read_text())["demos"]["dependence"]
    assert measured["limit"] == pytest.approx([1, 0, 3, 2])
    assert len(measured["gaps"]) == 2
    assert Path("runs/program/program.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_name_the_demos_are_listed(capsys):
    assert main(["program"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("forward", "backward", "dependence", "sgd", "rnn", "attention"))


def test_an_unknown_demo_is_one_line_that_names_the_known_ones(capsys):
    assert main(["program", "transformer"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "'transformer'" in err and "attention" in err


def test_the_mu_limit_is_trained_beside_finite_nets_and_what_is_kept_is_not_trained_again(capsys, monkeypatch):
    assert main(["mu-limit", *TINY]) == 0
    directory = Path("runs/mu-limit")
    summary = json.loads((directory / "mu_limit.json").read_text())
    assert set(summary["gaps"]) == {"8", "16"} and len(summary["losses"]) == 2
    assert (directory / "mu_limit.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr("mupi.experiments.limits.mu_limit.limit_curves", lambda *args: pytest.fail("trained again"))
    assert main(["mu-limit", *TINY]) == 0
    capsys.readouterr()
    assert main(["mu-limit", *TINY, "--lr", "0.5"]) == 2
    assert "a directory of the same settings" in capsys.readouterr().err
