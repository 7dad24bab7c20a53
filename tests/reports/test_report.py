"""The page of a run: it says what the console said, and asks for nothing from elsewhere."""

import io
import re
from html.parser import HTMLParser

from matplotlib.figure import Figure
from matplotlib.patches import Circle
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mupi.commands.train.report import report_runs
from mupi.layers import LayerError
from mupi.reports import Report
from mupi.training.epoch_metrics import EpochMetrics


class Page(HTMLParser):
    """Rows of tables, paragraphs, and what is asked for from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.asked, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.asked += [v for k, v in attrs if k in {"src", "href"} and v and not v.startswith("data:")]

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1] in {"td", "th", "p", "h2"} and data.strip():
            self.cells.append(data.strip())


def report(tmp_path, patch=None):
    console = Console(record=True, width=100, file=io.StringIO())
    page = Report("Widths <and> limits", {"width": 64, "activation": "relu"}, console)
    table = Table("network", "[bold]accuracy[/]", title="All", caption="mean ± s.d.")
    table.add_row("μ-net & co", "[green]97.5[/]")
    table.add_row(Text("[not markup]"), "98.0")
    page.table(table)
    page.say("One <b>line</b>.")
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], [3, 4], label="gap")
    if patch:
        axes.add_patch(patch)
    page.figure(tmp_path / "gaps.png", figure, "What is seen.")
    return page, console


def test_the_page_says_what_the_console_says(tmp_path):
    page, console = report(tmp_path)
    assert page.write(tmp_path) == [tmp_path / "gaps.png", tmp_path / "report.html"]
    said = console.export_text()
    assert "μ-net & co" in said and "One <b>line</b>." in said and f"wrote {tmp_path}" in said.replace("\n", "")
    seen = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    expected = ["All", "network", "accuracy", "μ-net & co", "97.5", "[not markup]", "98.0", "mean ± s.d."]
    assert seen.cells[: len(expected)] == expected
    assert {"One <b>line</b>.", "What is seen.", "width", "64", "activation", "relu"} <= set(seen.cells)
    assert seen.asked == []
    assert (tmp_path / "gaps.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "gaps.svg").read_text(encoding="utf-8")


def test_a_figure_that_plotly_would_show_in_part_is_shown_as_it_was_drawn(tmp_path):
    page, _ = report(tmp_path, Circle((1, 1), 1))
    text = page.html()
    assert "<svg" in text and "Plotly.newPlot(" not in re.sub(r"<script>.*?</script>", "", text, count=1, flags=re.S)


def epoch(i, errors=(), accuracy=0.9):
    """What a run records of its epoch ``i``."""
    return EpochMetrics(
        epoch=i, train_loss=1.0, train_accuracy=0.5, test_loss=1.0, test_accuracy=accuracy, seconds=1.0, stored_mb=1.0,
        peak_mb=1.0, atoms=0, parameters=1, layer_errors=errors,
    )  # fmt: skip


def test_runs_get_a_page_with_their_last_and_their_best_epoch(tmp_path):
    epochs = [epoch(1, accuracy=0.925), epoch(2, accuracy=0.75)]
    paths = report_runs({"run": epochs}, tmp_path / "new", {"rank": 3}, Console(quiet=True))
    assert [path.name for path in paths] == ["curves.png", "cost.png", "report.html"]
    cells = Page(paths[-1].read_text(encoding="utf-8")).cells
    assert cells[cells.index("run", 1) :][:4] == ["run", "2", "75.00%", "92.50%"]
    assert not any("relative error" in cell or "exact limit" in cell for cell in cells)


def test_runs_say_how_far_their_layers_are_from_the_exact_limits(tmp_path):
    def cells(*errors):
        """The page of a run that is exact at first, and of one without errors."""
        runs = {"run": [epoch(1), epoch(2, errors)], "of neurons": [epoch(1)]}
        page = Page(report_runs(runs, tmp_path, {}, Console(quiet=True))[-1].read_text(encoding="utf-8")).cells
        assert {"layer 1", "readout", "0.0300 / 0.0400"} <= set(page)
        return page

    first = LayerError("layer 1", 0.03, 0.04, 5)
    page = cells(first, LayerError("readout", 0.0, 0.2, 5))
    assert any("within 3 % of the exact limit's" in cell for cell in page)
    assert page.count("of neurons") == 1  # in the table of epochs alone
    page = cells(first, LayerError("readout", 0.123, 0.2, 5))
    assert any("12 % off the exact limit's" in cell and "subspace" in cell for cell in page)
