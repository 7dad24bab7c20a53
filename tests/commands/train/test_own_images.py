"""Images as they are: numbers learned from them, mirrored and moved; digits and photographs, as in the test."""

import csv

import numpy as np
import pytest

from mupi.cli import main
from mupi.commands.train.restore import restore
from mupi.commands.train.run import read_config
from mupi.data import Dataset
from mupi.training.epoch_metrics import EpochMetrics, RegressionMetrics
from mupi.training.records import read_records


@pytest.fixture(autouse=True)
def here(no_figures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def accuracy_of_raw_images(data: Dataset, capsys) -> str:
    """What `mupi predict` says of the test images of a data set, as they came."""
    labels = np.array(data.classes)[data.test_y.numpy()]
    np.savez("new.npz", x=data.raw(data.test_x).numpy(), y=labels)
    capsys.readouterr()
    assert main(["predict", "runs/a", "new.npz"]) == 0
    return capsys.readouterr().out


def test_raw_digits_are_predicted_as_in_the_test(tmp_path, capsys):
    assert main(["train", "digits", "--train-size", "200", "--epochs", "1", "--rank", "4", "--name", "a"]) == 0
    (epoch,) = read_records(tmp_path / "runs/a/metrics.jsonl", EpochMetrics, "mupi train")
    _, data = restore(read_config(tmp_path / "runs/a"))
    assert f"{epoch.test_accuracy:.2%} of them right by `y`" in accuracy_of_raw_images(data, capsys)
    np.savez("new.npz", x=data.test_x.reshape(-1, 1, 8, 8).numpy())
    assert main(["predict", "runs/a", "new.npz"]) == 2
    assert "`data` must be of pixels from 0 to 16, as in training" in capsys.readouterr().err


@pytest.mark.slow
def test_raw_photographs_are_predicted_as_in_the_test(tmp_path, capsys, cifar10):
    call = "train cifar10 --train-size 200 --epochs 1 --rank 4 --subspace 4 --name a"
    assert main(call.split()) == 0
    (epoch,) = read_records(tmp_path / "runs/a/metrics.jsonl", EpochMetrics, "mupi train")
    assert f"{epoch.test_accuracy:.2%} of them right by `y`" in accuracy_of_raw_images(cifar10, capsys)


def test_a_convnet_learns_numbers_from_images_that_are_mirrored_and_moved(tmp_path, capsys):
    draw = np.random.default_rng(0)
    level = draw.uniform(50, 200, 40)
    pixels = (level[:, None, None] + draw.normal(0, 20, (40, 8, 8))).clip(0, 255).astype(np.uint8)
    np.savez("images.npz", x=pixels, y=level)
    call = "train --data images.npz --test images.npz --arch cnn --flip --shift 1 --rank 4 --epochs 2 --name a"
    assert main(call.split()) == 0
    epoch = read_records(tmp_path / "runs/a/metrics.jsonl", RegressionMetrics, "mupi train")[-1]
    assert main(["predict", "runs/a", "images.npz"]) == 0
    assert f"R² {epoch.test_r2:.4f}" in capsys.readouterr().out
    found = predicted("runs/a/predictions.csv")
    assert np.sqrt(((found - level) ** 2).mean()) == pytest.approx(epoch.test_rmse, rel=1e-4)

    np.savez("mirrored.npz", x=pixels[:, :, ::-1])
    for call in ("mirrored.npz --out other.csv", "images.npz --mirror --out mean.csv"):
        assert main(["predict", "runs/a", *call.split()]) == 0
    other, mean = predicted("other.csv"), predicted("mean.csv")
    assert np.abs(other - found).max() > 1e-3
    assert mean == pytest.approx((found + other) / 2, rel=1e-6)


def predicted(path):
    with open(path, newline="") as file:
        return np.array([float(row[0]) for row in list(csv.reader(file))[1:]])
