"""The built site: nothing is fetched from elsewhere, and a browser has no complaints about its pages."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from mupi.reports import Report

ROOT = Path(__file__).parents[2]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPENED = (
    "index.html",
    "start/which-limit.html",
    "tutorials/first_limit.html",
    "your-own-network.html",
    "explanations/pi-limit.html",
    "api/networks.html",
    "results-at-a-glance.html",
    "results.html",
    "changelog.html",
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site without outputs of tutorials, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    settings = os.environ | {"MUPI_EXECUTE_TUTORIALS": "false", "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder]
    subprocess.run(command, cwd=ROOT, env=settings, check=True)
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def address(site):
    """Where a server of this machine has the site."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = re.compile(r"""<(?:script|img|iframe)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*stylesheet[^>]*//""")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        assert not fetched.search(page.read_text(encoding="utf-8")), page


def look(url, folder):
    """The size of a picture of a page; a browser must have no complaints."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=3000"]
    shot = folder / "page.png"
    command = [BROWSER, *options, f"--user-data-dir={folder}/profile", f"--screenshot={shot}", url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    complaints = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints
    return shot.stat().st_size


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize("page", OPENED)
def test_a_browser_has_no_complaints(page, address, tmp_path):
    assert look(f"{address}/{page}", tmp_path) > 10_000


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")
def test_a_browser_has_no_complaints_about_the_page_of_a_run(tmp_path):
    page = Report("A run", {}, Console(quiet=True))
    figure = Figure()
    figure.subplots().plot([1, 10], [3, 4], label="gap")
    page.figure(tmp_path / "gaps.png", figure)
    page.write(tmp_path)
    assert look((tmp_path / "report.html").as_uri(), tmp_path) > 10_000
