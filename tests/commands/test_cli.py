import json
from pathlib import Path

import pytest

from mupi.cli import main

SMALL = ["--train-size", "40", "--rank", "4", "--epochs", "1", "--name", "small"]


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def the_line(captured) -> str:
    """What was printed on stderr, which must be one line."""
    assert captured.err.startswith("mupi: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_train_writes_configuration_metrics_checkpoint_and_figures_and_prints_the_accuracy(capsys):
    assert main(["train", *SMALL]) == 0
    assert "small: test accuracy" in capsys.readouterr().out
    directory = Path("runs/small")
    names = {path.name for path in directory.iterdir()}
    figures = {"curves.png", "curves.svg", "cost.png", "cost.svg"}
    assert names == {"config.json", "metrics.jsonl", "checkpoint.pt", "report.html"} | figures
    assert json.loads((directory / "config.json").read_text())["rank"] == 4
    (line,) = (directory / "metrics.jsonl").read_text().splitlines()
    assert {"epoch", "train_loss", "test_accuracy", "seconds", "peak_mb", "atoms"} <= json.loads(line).keys()


@pytest.mark.parametrize("features", ["atoms", "hermite", "random"])
def test_every_feature_map_can_be_trained_and_resumed(features, no_figures):
    assert main(["train", *SMALL, "--features", features]) == 0
    assert main(["train", *SMALL, "--features", features, "--epochs", "2", "--resume"]) == 0


def test_the_defaults_are_those_of_the_data_set(capsys):
    for dataset, rank in (("digits", 64), ("cifar10", 400)):
        with pytest.raises(SystemExit) as stopped:
            main(["train", "--dataset", dataset, "--help"])
        assert stopped.value.code == 0
        help_text = " ".join(capsys.readouterr().out.split())
        assert f"the rank of each junction. (default: {rank})" in help_text


def test_an_unknown_data_set_is_one_line_that_names_it_and_the_known_ones(capsys):
    assert main(["train", "--dataset", "mnist"]) == 2
    line = the_line(capsys.readouterr())
    assert all(name in line for name in ("mnist", "digits", "cifar10"))


@pytest.mark.parametrize("flag, value", [("--rank", "0"), ("--lr", "-1"), ("--depth", "0"), ("--clip", "-2")])
def test_a_bad_value_is_one_line_that_names_it(capsys, flag, value):
    assert main(["train", *SMALL, flag, value]) == 2
    line = the_line(capsys.readouterr())
    assert flag.strip("-") in line
    assert value in line


def test_missing_data_is_one_line_and_no_traceback(capsys, monkeypatch):
    def offline(*args: object, **kwargs: object):
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", offline)
    assert main(["train", "--dataset", "cifar10", "--data-dir", "nowhere"]) == 2
    assert "`nowhere`" in the_line(capsys.readouterr())
    assert not Path("runs").exists()


def test_another_configuration_than_the_checkpoint_s_is_one_line(capsys, no_figures):
    main(["train", *SMALL])
    capsys.readouterr()
    assert main(["train", *SMALL, "--seed", "5", "--resume"]) == 2
    assert "`seed` must be 0 as in" in the_line(capsys.readouterr())


def test_ctrl_c_ends_with_130_and_a_line_that_says_how_to_go_on(capsys, press_ctrl_c, no_figures):
    press_ctrl_c(2)
    assert main(["train", *SMALL]) == 130
    assert "--resume" in the_line(capsys.readouterr())
    assert main(["train", *SMALL, "--resume"]) == 0


def test_a_run_that_diverges_ends_with_1(capsys):
    assert main(["train", *SMALL, "--lr", "1e30", "--clip", "None"]) == 1
    assert "the loss became" in the_line(capsys.readouterr())


def test_plot_compares_saved_runs(no_figures):
    main(["train", *SMALL])
    assert main(["plot", "runs/small", "runs/small", "--out", "figures"]) == 0
    assert Path("figures/cost.png").exists()


def test_plot_of_what_is_no_run_is_one_line(capsys):
    assert main(["plot", "runs/other"]) == 2
    assert "runs/other" in the_line(capsys.readouterr())
    assert main(["plot"]) == 2
    assert "mupi plot runs/*" in the_line(capsys.readouterr())
