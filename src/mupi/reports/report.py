"""What a command has found, as it says it, and as one page that a browser opens without a network."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from mupi.reports.cells import cells
from mupi.training.atomic import write_figure, write_json, write_text
from mupi.version import __version__

PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("mupi.reports", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


PAGE_NAME = "report.html"


def page_files(*figures: str) -> tuple[str, ...]:
    """The names of all files of a page with these figures, which a folder may replace.

    Args:
        figures: Names of PNGs.
    """
    return (*figures, *(str(Path(name).with_suffix(".svg")) for name in figures), PAGE_NAME)


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        kind: How the page shows it.
        title: Above it; empty for none.
        content: Lines of text, (header, rows) of a table, or the HTML of a figure.
        note: Below it.
    """

    kind: str
    title: str
    content: Any
    note: str = ""


class Report:
    """What a command has found: printed at once, and kept for the page.

    Example:
        >>> from mupi.reports import Report
        >>> report = Report("Two nets", {"width": 64}, Console(quiet=True))
        >>> report.say("Trained on nothing.")
        >>> "Trained on nothing." in report.html()
        True

    Args:
        title: Of the page.
        settings: What it was made with, by name.
        console: Where text and tables are printed.
    """

    def __init__(self, title: str, settings: Mapping[str, object], console: Console):
        self.title = title
        self.settings = {name: str(value) for name, value in settings.items()}
        self.console = console
        self.sections: list[Section] = []
        self.written: list[Path] = []

    def say(self, *lines: str) -> None:
        """Print lines of text, a paragraph each in the page."""
        self.console.print(*lines, sep="\n", highlight=False, markup=False)
        self.sections.append(Section("text", "", lines))

    def table(self, table: Table) -> None:
        """Print a table."""
        self.console.print(table, highlight=False)
        caption = str(table.caption or "")
        self.sections.append(Section("table", str(table.title or ""), cells(table), caption))

    def figure(self, path: Path, figure: Figure, note: str = "") -> None:
        """Write a figure as PNG, and as SVG beside it; the page has it to zoom into.

        Args:
            path: Of the PNG.
            figure: Of what `interactive` knows.
            note: What is seen, in a sentence or two.
        """
        write_figure(path, figure)
        figure.set_layout_engine("none")  # laying out takes longest, and is done
        write_figure(path.with_suffix(".svg"), figure)
        self.written.append(path)
        from mupi.reports.interactive import interactive  # here, as plotly's import takes long

        try:
            drawn = interactive(figure).to_html(full_html=False, include_plotlyjs=False, config=dict(displaylogo=False))
        except TypeError:
            # What plotly's figure would lack, the page shows as it was drawn.
            text = path.with_suffix(".svg").read_text(encoding="utf-8")
            drawn = text[text.index("<svg") :]
        self.sections.append(Section("figure", "", drawn, note))

    def json(self, path: Path, value: object, *, indent: int | None = 1) -> None:
        """Write what was found for other programs."""
        write_json(path, value, indent=indent)
        self.written.append(path)

    def html(self) -> str:
        """The page, with all that it needs inside: it asks for nothing from elsewhere."""
        made_by = f"mupi {__version__}, torch {torch.__version__}, Python {platform.python_version()}"
        from plotly.offline import get_plotlyjs

        return PAGES.get_template("page.html").render(
            title=self.title, sections=self.sections, settings=self.settings, made_by=made_by, plotly=get_plotlyjs()
        )

    def write(self, folder: Path) -> list[Path]:
        """Write the page as `report.html`, and print which files were written.

        Args:
            folder: Of the command, which is there.

        Returns:
            All files that were named here.
        """
        path = folder / PAGE_NAME
        write_text(path, self.html())
        self.written.append(path)
        for file in self.written:
            self.console.print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)
        return self.written
