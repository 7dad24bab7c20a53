"""One page for what a command has found: text, tables, and figures to zoom into."""

from mupi.extras import require

require("matplotlib", "a report")
require("plotly", "a report")

# ruff: noqa: E402
from mupi.reports.report import Report as Report
from mupi.reports.report import page_files as page_files
