import json
import math
from pathlib import Path

import pytest

from mupi.cli import main
from mupi.programs.limit_gaps import Convergence

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


def convergence(bias, error):
    """Two averages at four widths: one off the limit by bias(n), with a standard error."""
    widths = (16, 32, 64, 128)
    return Convergence(
        labels=("a", "b"),
        limit=(1.0, 2.0),
        limit_error=0.0,
        widths=widths,
        means=tuple((1.0, 2.0 + bias(n)) for n in widths),
        mean_errors=tuple((error, error) for _ in widths),
        gaps=tuple(3 * n**-0.5 for n in widths),
        gap_errors=tuple(0.1 * n**-0.5 for n in widths),
    )


def test_slopes_are_those_of_power_laws_with_their_errors():
    result = convergence(lambda n: -3.0 / n, 1e-3)
    assert result.mean_slope is not None
    assert result.mean_slope[0] == pytest.approx(-1.0) and 0 < result.mean_slope[1] < 0.02
    assert result.slope[0] == pytest.approx(-0.5)
    # A relative error of 1/30 at each of four widths, log 2 apart: (1/30)/(log 2 · √5).
    assert result.slope[1] == pytest.approx(1 / 30 / (math.log(2) * 5**0.5))


def test_means_that_are_not_clearly_off_the_limit_have_no_slope():
    assert convergence(lambda n: 3.0 / n, 0.1).mean_slope is None
