"""`mupi recipe forecast` and `rate-transfer`, at sizes of seconds; their networks are ones that `mupi.trace` reads."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mupi.cli import main
from mupi.mup import parametrize
from mupi.recipes.any_module.forecast import SIZES, TASKS
from mupi.recipes.any_module.tasks import CONTEXT, WINDOWS, image_task, text_pieces, text_task
from mupi.recipes.any_module.ways import builder


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_forecast_is_held_against_the_wide_network_and_goes_on_where_it_was(capsys):
    tiny = ["forecast", "--tasks", "mlp-digits", "--steps", "6", "--points", "3", "--seeds", "2", "--wide-seeds", "2"]
    assert main(tiny) == 0
    found = json.loads(Path("runs/forecast/forecast.json").read_text())["tasks"]["mlp-digits"]
    low, high = (np.array(found["law"]["mean"]) + s * np.array(found["law"]["half_width"]) for s in (-1, 1))
    runs = np.array(found["runs"])
    assert found["coverage"] == pytest.approx(((low <= runs) & (runs <= high)).mean())
    assert found["narrow_seconds"] > 0 < found["wide_seconds"]
    assert Path("runs/forecast/forecast.png").read_bytes().startswith(b"\x89PNG")
    kept = Path("runs/forecast/mlp-digits/narrow/runs.jsonl").read_text()
    assert main(tiny) == 0
    assert Path("runs/forecast/mlp-digits/narrow/runs.jsonl").read_text() == kept
    capsys.readouterr()
    assert main([*tiny, "--batch-size", "8"]) == 2
    assert "`forecast(batch_size=...)` must be of batch_size = 16" in capsys.readouterr().err


def test_rates_are_moved_and_the_verdict_is_of_both_widths():
    tiny = "rate-transfer --networks mlp --optimizers sgd --ways mup standard --width 8 --times 2 --steps 3 --seeds 2"
    assert main([*tiny.split(), "--span", "1"]) == 0
    found = json.loads(Path("runs/rate-transfer/rate_transfer.json").read_text())["sweeps"]
    assert list(found) == ["mlp, sgd, mup", "mlp, sgd, standard"]
    # Rates went on to where both widths have their best one inside.
    assert all(sweep["verdict"] != "widen the rates" and len(sweep["rates"]) > 3 for sweep in found.values())
    by_rate = [
        {rate: [np.array(losses[k]) for losses in sweep["losses"]] for k, rate in enumerate(sweep["rates"])}
        for sweep in found.values()
    ]
    both = [(by_rate[0][rate], by_rate[1][rate]) for rate in by_rate[0] if rate in by_rate[1]]
    assert len(both) > 3
    for (narrow, wide), (same, other) in both:
        assert (narrow == same).all() and (wide != other).any()


def test_a_text_is_cut_into_pieces_of_itself():
    alphabet = "abcdefghij"
    Path("text").write_text("".join(alphabet[i % 10] for i in range(WINDOWS * (CONTEXT + 2))))
    pieces, characters = text_pieces(Path("text"))
    assert pieces.shape == (WINDOWS, CONTEXT + 1) and characters == 10
    assert ((pieces[:, 1:] - pieces[:, :-1]) % 10 == 1).all()
    Path("short").write_text("abc")
    with pytest.raises(ValueError, match=r"`--text` must be of at least"):
        text_pieces(Path("short"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TASKS if "cifar" not in name] + ["cnn-norm-digits", "resnet-digits"])
def test_its_networks_are_read_and_have_no_fault(name):
    network, data = name.rsplit("-", 1)
    task = text_task(network, None) if data == "text" else image_task(network, data, None)
    base = SIZES.get(network, SIZES["cnn"]).narrow[0]
    p = parametrize(task.make_model, 2 * base, base, task.x[:1])
    assert p.architecture is not None, p.reason
    assert not p.faults
    for way in ("mup", "standard"):
        for optimizer in ("sgd", "adamw", "muon"):
            if optimizer == "muon" and network in ("cnn", "cnn-norm", "resnet"):
                continue  # no matrices between hidden layers: all is convolutions
            model, descent = builder(way, optimizer, task.make_model, base, 2 * base, task.x[:1])(2 * base)(0.01)
            before = [p.detach().clone() for p in model.parameters()]
            task.loss(model(task.x[:4]), task.y[:4]).backward()
            descent.step()
            assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
