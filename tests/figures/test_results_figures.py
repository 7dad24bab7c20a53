"""Figures that are drawn from the tables of docs/results.md show the tables' numbers."""

import importlib.util
from pathlib import Path
from statistics import fmean, stdev

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("results_figures", ROOT / "benchmarks" / "results_figures.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def text():
    return (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def drawn(axes):
    """The lines of a plot that are in its legend, by label; bars with errors have the label on their container."""
    labelled = {container.get_label(): container[0] for container in axes.containers}
    return {line.get_label(): line for line in axes.get_lines()} | labelled


@pytest.mark.parametrize("count", [2, 3])
def test_seeds_have_the_mean_and_the_deviation_of_a_cell(script, count):
    made = script.seeds("**66.52 ± .26**", count)
    assert len(made) == count
    assert fmean(made) == pytest.approx(66.52)
    assert stdev(made) == pytest.approx(0.26)


def test_numbers_are_read_as_tables_write_them(script):
    assert script.numbers("−.5 ± .14, 4,206,602 parameters, 6e-6 / .001") == [-0.5, 0.14, 4_206_602, 6e-6, 0.001]


def test_transfers_show_the_table(script, text):
    figures = script.transfers(text)
    assert list(figures) == ["transfer", "transfer_shift", "transfer_omniglot"]
    lines = drawn(figures["transfer_shift"].axes[0])
    (row,) = (
        [cell.strip() for cell in line.split("|")[1:]]
        for line in text[text.index("**Forty epochs with shifts.**") :].splitlines()
        if line.startswith("| **π-limit**, r = 200") and "| 10,000 |" in line
    )
    shown = lines["π-limit, r = 200"]
    assert list(shown.get_xdata()) == [0, 10, 20, 32, 40]
    assert list(shown.get_ydata()) == pytest.approx([script.numbers(cell)[0] for cell in row[2:7]])


def test_widths_and_limits_of_omniglot_are_all_there(script, text):
    lines = drawn(script.omniglot_width(text).axes[0])
    assert list(lines["finite width"].get_xdata()) == [2, 8, 32, 128, 512, 2048, 8192]
    assert {"μ-limit, n = ∞", "NNGP, ReLU", "NTK, ReLU", "NNGP, linear", "NTK, linear"} < set(lines)


@pytest.mark.slow
def test_the_other_tables_are_found(script, text):
    assert len(drawn(script.truncation(text).axes[1])) == 4
    assert len(script.compare_cifar10(text).axes[0].get_yticks()) == 6
    assert {"exact (Atoms)", "degree 2 in full"} < set(drawn(script.exact(text).axes[1]))
    assert list(drawn(script.transformer(text).axes[0])["finite π-nets"].get_xdata()) == [64, 256, 1024]
    assert list(drawn(script.programs(text).axes[0])["SGD: −.52 ± .03"].get_ydata()) == [0.0511, 0.011]
    resnet, transformer = script.depth(text).axes
    assert len(drawn(resnet)) == 3
    assert list(drawn(transformer)["multiplier 1, rate 1"].get_xdata()) == [8, 16, 32]
