"""`mupi train --data`: from a user's file to predictions of raw rows, and on again after a stop."""

import csv
import json

import numpy as np
import pytest
import torch

from mupi.cli import main
from mupi.commands.train.column_importances import column_importances
from mupi.commands.train.export import export_module
from mupi.commands.train.of_raw import OfRaw, about, examples
from mupi.commands.train.onnx_file import write_onnx
from mupi.commands.train.own_data import read_own
from mupi.commands.train.presets import OWN_DATA
from mupi.commands.train.restore import restore_with_meaning
from mupi.commands.train.run import read_config
from mupi.data.own.columns import Columns
from mupi.training.epoch_metrics import RegressionMetrics
from mupi.training.records import read_records


@pytest.fixture(autouse=True)
def no_drawings(no_figures, monkeypatch):
    """Figures take longer than such a run."""
    monkeypatch.setattr("mupi.commands.train.train.importances_figure", lambda config, own: {})


FEW = ["--rank", "4", "--drop-epoch", "None"]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of numbers, words and missing entries; the current folder is its."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    with open("table.csv", "w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["name", "age", "city", "when", "label", "price"])
        for i in range(60):
            age, city = draw.normal(40, 10), ["Rome", "Oslo", ""][i % 3]
            label = "yes" if age > 40 else "no"
            lines.writerow([f"n{i}", "" if i == 7 else f"{age:.2f}", city, 1.7e9 + i, label, f"{3 * age:.3f}"])
    return tmp_path


def train(*args: str) -> int:
    return main(["train", "--data", "table.csv", "--ignore", "name", *FEW, *args])


def predictions(run: str) -> list[list[str]]:
    with open(f"runs/{run}/predictions.csv", newline="") as file:
        return list(csv.reader(file))


def test_a_table_is_trained_on_and_raw_rows_are_predicted(table, capsys):
    assert train("--target", "label", "--epochs", "5", "--name", "a") == 0
    assert "3 columns of numbers, 1 of words" in capsys.readouterr().out
    # Without the target, in another order, with an unknown word and another column.
    with open("new.csv", "w") as file:
        file.write("city,price,when,age,more\nOslo,180,1700000005,60,1\nParis,60,1700000005,20,2\n,9e3,1700000001,,3\n")
    assert main(["predict", "runs/a", "new.csv"]) == 0
    said = capsys.readouterr().out
    assert "`more`" in said and "in `city`, taken as missing: `Paris`" in said and "`age` (1)" in said
    assert "in other units?: `price` by " in said
    first, *rows = predictions("a")
    assert first == ["label", "p(no)", "p(yes)"] and [row[0] for row in rows[:2]] == ["yes", "no"]
    assert all(sum(map(float, row[1:])) == pytest.approx(1, abs=1e-5) for row in rows)
    # The rows of training, raw, as the network has seen them.
    (table / "table.csv").rename("moved.csv")
    assert main(["predict", "runs/a", "moved.csv"]) == 0
    assert "of them right by `label`" in capsys.readouterr().out
    net, meaning, _ = restore_with_meaning(read_config(table / "runs" / "a"))
    _, own = read_own(OWN_DATA.changed(data="moved.csv", target="label", ignore=("name",)))
    assert own is not None
    p = net(own.data.test_x).softmax(1).detach()
    shown = torch.tensor([[float(v) for v in row[1:]] for row in predictions("a")[1:]])
    for row in p:
        assert (shown - row).abs().amax(1).min() < 1e-5
    assert [*about(meaning)["classes"]] == ["no", "yes"]


def test_numbers_are_learned_by_their_squared_error(table, capsys):
    assert train("--target", "price", "--epochs", "9", "--name", "b") == 0
    assert "test R² " in capsys.readouterr().out
    epochs = read_records(table / "runs/b/metrics.jsonl", RegressionMetrics, "mupi train")
    assert main(["predict", "runs/b", "table.csv"]) == 0
    found = np.array([float(row[0]) for row in predictions("b")[1:]])
    prices = np.array([float(line.split(",")[5]) for line in (table / "table.csv").read_text().splitlines()[1:]])
    assert np.corrcoef(found, prices)[0, 1] > 0.8
    # Root mean squared error and R² of the test, from raw predictions.
    config, own = read_own(OWN_DATA.changed(data="table.csv", target="price", ignore=("name",)))
    assert own is not None and own.data.numbers is not None and config.task == "regression"
    truth = own.data.numbers.mean + own.data.numbers.std * own.data.test_y.double()[:, 0].numpy()
    rows = [int(abs(prices - value).argmin()) for value in truth]
    error = found[rows] - prices[rows]
    assert epochs[-1].test_rmse == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
    assert epochs[-1].test_r2 == pytest.approx(1 - (error**2).mean() / prices[rows].var(), abs=1e-4)


def test_a_run_goes_on_to_the_same_numbers_and_not_with_another_file(table, capsys, press_ctrl_c):
    options = ["--target", "label", "--epochs", "3"]
    assert train(*options, "--name", "whole") == 0
    press_ctrl_c(after=5)
    assert train(*options, "--name", "parts") == 130
    (table / "table.csv").rename("moved.csv")
    args = ["train", "--data", "moved.csv", "--ignore", "name", *FEW, *options, "--name", "parts", "--resume"]
    text = (table / "moved.csv").read_text()
    (table / "moved.csv").write_text(text.replace("no", "yes", 1))
    assert main(args) == 2
    assert "with other contents; start anew" in capsys.readouterr().err
    (table / "moved.csv").write_text(text)
    assert main(args) == 0
    whole, parts = (
        restore_with_meaning(read_config(table / "runs" / name))[0].state_dict() for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("target", ["label", "price"])
def test_a_network_of_raw_rows_has_all_inside(table, target):
    assert train("--target", target, "--epochs", "1", "--name", "c") == 0
    net, meaning, _ = restore_with_meaning(read_config(table / "runs/c"))
    rows = examples(meaning, 8)
    assert isinstance(meaning.inputs, Columns) and rows.shape == (8, 4)
    found = OfRaw(net, meaning)(rows)
    expected = net(meaning.inputs.module()(rows))
    if target == "price":
        expected = meaning.targets.mean + meaning.targets.std * expected.double()
    torch.testing.assert_close(found, expected)
    known = json.loads(json.dumps(about(meaning)))
    assert [column["name"] for column in known["input"]["columns"]] == [
        "age",
        "city",
        "when",
        *({"label", "price"} - {target}),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["label", "price"])
def test_an_exported_file_takes_raw_rows(table, target, unchecked):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert train("--target", target, "--epochs", "1", "--name", "d") == 0
    net, meaning, _ = restore_with_meaning(read_config(table / "runs/d"))
    rows, whole = examples(meaning, 9), OfRaw(net, meaning).eval()
    expected = whole(rows).detach()
    program = export_module(whole, rows)
    torch.testing.assert_close(program.module()(rows[:5]), expected[:5])
    write_onnx(whole, rows, expected, table / "net.onnx", json.dumps(about(meaning)))
    session = onnxruntime.InferenceSession(table / "net.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"rows": rows[:4].numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected[:4], rtol=1e-5, atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["about"])["target"] == target


def test_importances_are_of_columns(table):
    assert train("--target", "label", "--epochs", "4", "--name", "e") == 0
    config, own = read_own(read_config(table / "runs/e"))
    assert own is not None
    found = column_importances(config, own)
    assert list(found) == ["age", "city", "when", "price"] and sum(found.values()) == pytest.approx(1)
    assert found["age"] + found["price"] > found["city"] + found["when"]


def test_what_makes_no_sense_of_a_table_is_refused(table, capsys):
    for args, said in {
        ("--arch", "cnn"): "`arch` must be mlp",
        ("--shift", "1"): "`shift` must be left out",
        ("--task", "regression"): "`task` must be classification",
        ("--classes", "2"): "--classes",
    }.items():
        assert train("--target", "label", *args) == 2
        assert said in capsys.readouterr().err
    assert main(["train", "--dataset", "digits", "--data", "table.csv"]) == 2
    assert main(["train", "--dataset", "own"]) == 2
    assert "`data` must be given" in capsys.readouterr().err
