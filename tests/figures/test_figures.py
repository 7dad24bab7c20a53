import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mupi.figures import plot_cost, plot_curves
from mupi.layers import LayerError
from mupi.recipes.comparison.plots import plot_comparison, plot_learning_curves
from mupi.recipes.comparison.results import Result, summarize
from mupi.training.epoch_metrics import EpochMetrics
from mupi.training.epoch_record import EpochRecord
from mupi.training.records import columns, read_records

FIRST = EpochMetrics(
    epoch=1,
    train_loss=0.5,
    train_accuracy=0.8,
    test_loss=0.6,
    test_accuracy=0.75,
    seconds=1.5,
    stored_mb=2.0,
    peak_mb=3.0,
    atoms=7,
    layer_errors=(LayerError("readout", 0.01, 0.02, 5),),
)
SECOND = replace(FIRST, epoch=2, test_loss=0.4, test_accuracy=0.9, seconds=2.5, stored_mb=4.0)
RUNS = {"exact": [FIRST, SECOND], "hermite": [FIRST]}
ARRAYS = {label: columns(epochs) for label, epochs in RUNS.items()}


def lines(axes, label: str) -> list[list[float]]:
    (line,) = (line for line in axes.get_lines() if line.get_label() == label)
    return line.get_xydata().tolist()


def test_metrics_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(FIRST.to_json() + "\n" + SECOND.to_json() + "\n")
    assert read_records(path, EpochMetrics, "mupi train") == [FIRST, SECOND]


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(FIRST.to_json() + "\n" + SECOND.to_json()[:40])
    assert read_records(path, EpochMetrics, "mupi train") == [FIRST]


def test_missing_metrics_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*is missing"):
        read_records(tmp_path / "nowhere", EpochMetrics, "mupi train")


def test_curves_show_test_loss_and_accuracy_in_percent():
    loss, accuracy = plot_curves(ARRAYS).axes
    assert lines(loss, "exact") == [[1, 0.6], [2, 0.4]]
    assert lines(accuracy, "exact") == [[1, 75], [2, 90]]
    assert lines(accuracy, "hermite") == [[1, 75]]


def test_cost_shows_seconds_and_stored_memory_from_zero():
    time, memory = plot_cost(ARRAYS).axes
    assert lines(time, "exact") == [[1, 1.5], [2, 2.5]]
    assert lines(memory, "exact") == [[1, 2], [2, 4]]
    assert time.get_ylim()[0] == memory.get_ylim()[0] == 0


@pytest.mark.parametrize("plot", [plot_curves, plot_cost])
def test_all_axes_are_labelled_and_say_which_line_is_which(plot):
    for axes in plot(ARRAYS).axes:
        assert axes.get_title()
        assert axes.get_xlabel() == "epoch"
        assert axes.get_ylabel()
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels[:2] == ["exact", "hermite"]


def test_a_comparison_shows_a_bar_for_each_model_and_kernels_as_lines_across():
    kernel = Result("NNGP", None, 0.9, 1.0, 5.0, 100, "images")
    nets = [Result("μ-net", seed, 0.75, 2.0, 8.0, 50, "parameters", (FIRST, SECOND)) for seed in (0, 1)]
    summaries = summarize([kernel, *nets])
    assert [s.model for s in summaries] == ["NNGP", "μ-net"]
    accuracy, seconds, memory = plot_comparison(summaries, "digits").axes
    for axes, expected in ((accuracy, [90, 75]), (seconds, [1, 2]), (memory, [5, 8])):
        assert [bar.get_width() for bar in axes.patches] == expected
        assert axes.get_xlabel()
    loss, accuracy = plot_learning_curves(summaries, "digits").axes
    assert lines(loss, "μ-net") == [[1, 0.6], [2, 0.4]]
    assert lines(accuracy, "μ-net") == [[1, 75], [2, 90]]
    assert [y for _, y in lines(accuracy, "NNGP")] == [90, 90]


def test_tensors_and_plain_sequences_are_drawn_as_arrays_are():
    epochs = range(1, 4)
    run = dict(epoch=list(epochs), train_loss=torch.rand(3), test_loss=(0.1, math.nan, 0.3))
    run |= dict(train_accuracy=torch.rand(3), test_accuracy=[0.1, 0.2, 0.3])
    loss, accuracy = plot_curves({"plain": run}).axes
    assert [y for _, y in lines(accuracy, "plain")] == pytest.approx([10, 20, 30])
    assert [math.isnan(y) for _, y in lines(loss, "plain")] == [False, True, False]


def test_columns_of_a_trainers_history_are_drawn():
    history = [EpochRecord(i, 1 / i, None, None, None, (0.1,), 1.0, 0) for i in (1, 2)]
    found = columns(history)
    assert found["train_loss"].tolist() == [1, 0.5] and np.isnan(found["test_loss"]).all()
    assert "learning_rates" not in found
    loss, _ = plot_curves({"run": found}).axes
    assert loss.get_lines()[0].get_ydata().tolist() == [1, 0.5]
