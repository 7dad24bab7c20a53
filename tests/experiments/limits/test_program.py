import json
from pathlib import Path

import pytest

from mupi.cli import main

SMALL = ["--widths", "8", "16", "--draws", "2"]


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
