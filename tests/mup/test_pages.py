"""What docs/transfer-check.md and docs/forecast.md show runs."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "printed"),
    [("transfer-check.md", "does not transfer: from width 64 to 1024"), ("forecast.md", "width 1024 ends at")],
)
def test_the_code_of_a_page_runs_in_order(page, printed, capsys):
    shared: dict = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
        exec(block, shared)
    assert printed in capsys.readouterr().out
