from dataclasses import replace

from mupi.experiments.demo import DemoConfig, demo, train_in_own_process
from mupi.experiments.presets import DIGITS
from mupi.experiments.train import train


def test_the_demo_trains_exactly_and_at_constant_memory_and_compares_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mupi.experiments.demo.train_in_own_process", train)
    monkeypatch.setattr("mupi.experiments.demo.DIGITS", replace(DIGITS, train_size=200))
    runs = demo(DemoConfig(epochs=1, rank=4, runs_dir=tmp_path))
    (exact,), (hermite,) = runs.values()
    assert exact.atoms == 2 * (200 + 4)
    assert hermite.atoms == 0
    assert abs(exact.test_accuracy - hermite.test_accuracy) < 0.1
    table = capsys.readouterr().out
    for row in ("test accuracy", "seconds", "MB stored", "error of layer 1", "error of readout"):
        assert row in table
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {"curves.png", "cost.png"}


def test_a_run_in_its_own_process_gives_the_same_numbers(small, no_figures):
    small = replace(small, epochs=1)
    apart = train_in_own_process(replace(small, name="apart", threads=1))
    here = train(small)
    assert [m.test_loss for m in apart] == [m.test_loss for m in here]
