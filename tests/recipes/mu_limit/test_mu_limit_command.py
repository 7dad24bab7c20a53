import json
from pathlib import Path

import pytest

from mupi.cli import main
from mupi.recipes.mu_limit import beside_networks

TINY = ["--images", "4", "--steps", "2", "--samples", "600", "--replicates", "2", "--widths", "8", "16", "--seeds", "1"]
NETWORKS = ["limit", "ntp", "width-8-seed-0", "width-16-seed-0"]
DIRECTORY = Path("runs/mu-limit")


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def progress():
    return [json.loads(line) for line in (DIRECTORY / "progress.jsonl").read_text().splitlines()]


def test_the_mu_limit_is_trained_beside_finite_nets():
    assert main(["mu-limit", *TINY]) == 0
    summary = json.loads((DIRECTORY / "mu_limit.json").read_text())
    assert set(summary["gaps"]) == {"8", "16"} and len(summary["losses"]) == 2
    assert (DIRECTORY / "mu_limit.png").read_bytes().startswith(b"\x89PNG")
    assert [line["network"] for line in progress()] == NETWORKS
    assert all(line["seconds"] > 0 and line["peak_mb"] >= 0 for line in progress())


@pytest.mark.usefixtures("no_drawings")
def test_after_ctrl_c_the_same_command_trains_the_networks_that_are_missing(capsys, monkeypatch):
    train = beside_networks.finite_curves

    def interrupted(config, width, *rest):
        if width == 16:
            raise KeyboardInterrupt
        return train(config, width, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(beside_networks, "finite_curves", interrupted)
        assert main(["mu-limit", *TINY]) == 130
    assert "interrupted with 3 of 4 networks trained, kept in runs/mu-limit" in capsys.readouterr().err
    assert [line["network"] for line in progress()] == NETWORKS[:3]
    monkeypatch.setattr(beside_networks, "limit_curves", lambda *args: pytest.fail("trained again"))
    assert main(["mu-limit", *TINY]) == 0
    assert [line["network"] for line in progress()] == NETWORKS


@pytest.mark.usefixtures("no_drawings")
def test_a_directory_of_other_settings_is_refused(capsys):
    assert main(["mu-limit", *TINY]) == 0
    assert main(["mu-limit", *TINY, "--lr", "0.5"]) == 2
    assert "a directory of the same settings" in capsys.readouterr().err
