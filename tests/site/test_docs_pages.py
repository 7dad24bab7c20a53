"""The documentation's pages: their code runs, their links lead somewhere, every public name is on one."""

import re
import runpy
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from pymdownx.slugs import slugify

import mupi

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))
TEXTS = [*PAGES, *TUTORIALS, ROOT / "README.md", ROOT / "CHANGELOG.md"]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SLUG = slugify(case="lower")

OTHERS = {  # with tests of their own
    "checking-mup.md",
    "forecast.md",
    "gaussian-processes.md",
    "large-kernels.md",
    "mup.md",
    "transfer-check.md",
    "your-own-network.md",
}
SLOW = {"what-for.md", "gpytorch.md", "features.md"}
SHOWING_CODE = [
    pytest.param(page, marks=pytest.mark.slow if page.name in SLOW else ())
    for page in PAGES
    if "```python" in page.read_text(encoding="utf-8") and page.name not in OTHERS
]


def name(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", SHOWING_CODE, ids=name)
def test_the_code_of_a_page_runs_in_order(page, unchecked):
    torch.manual_seed(0)
    shared: dict = {"__name__": "page"}
    for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(compile(block, name(page), "exec"), shared)


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=name)
def test_a_tutorial_runs_and_its_assertions_hold(path, unchecked):
    with matplotlib.rc_context({"backend": "agg"}):
        runpy.run_path(str(path))
        pyplot.close("all")


def anchors(path):
    """What a page's headings, and the names of its API, are linked by."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {SLUG(re.sub(r"[`*]", "", h), "-") for h in headings} | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_links_and_their_anchors_are_there(path):
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        there = (path.parent / file) if file else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def exported():
    """Every name that a package of the library exports, with what it names."""
    packages = {found.name for found in iter_modules(mupi.__path__, "mupi.")}
    packages -= {"mupi.__main__", "mupi.cli", "mupi.commands", "mupi.recipes", "mupi.interfaces"}
    packages |= {"mupi", "mupi.architecture.kernel", "mupi.architecture.trace"}
    for module in map(import_module, sorted(packages)):
        for public in getattr(module, "__all__", ()):
            yield f"{module.__name__}.{public}", getattr(module, public)


def found(dotted):
    """What a dotted name names."""
    package, _, last = dotted.rpartition(".")
    return getattr(import_module(package), last)


def test_every_public_name_is_on_a_page_of_the_api():
    listed = [one for page in (DOCS / "api").glob("*.md") for one in re.findall(r"^::: (\S+)$", page.read_text(), re.M)]
    assert len(set(listed)) == len(listed)
    of_others = {f"mupi.{one}" for one in mupi.BY_OTHER_LIBRARIES}  # importing those libraries takes seconds
    assert of_others <= set(listed)
    shown = [found(one) for one in set(listed) - of_others]
    missing = {one for one, thing in exported() if not any(thing is other for other in shown)}
    assert missing == {"mupi.__version__"}


def test_the_navigation_has_every_page():
    configured = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[1]
    assert set(re.findall(r"[\w/-]+\.(?:md|py)", configured)) == {
        path.relative_to(DOCS).as_posix() for path in [*PAGES, *TUTORIALS]
    }


def test_the_figures_of_the_table_of_results_are_the_lab_books():
    rows = re.findall(r"^\| \d+ \|.*$", (DOCS / "results-at-a-glance.md").read_text(encoding="utf-8"), re.MULTILINE)
    book = (DOCS / "results.md").read_text(encoding="utf-8")
    assert len(rows) == 20
    for row in rows:
        figures = re.findall(r"[−+]?\d*\.?\d+", row.split("|")[3])
        assert figures, row
        for figure in figures:
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d|\.\d)", book), (figure, row)
