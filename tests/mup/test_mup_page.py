"""What docs/mup.md shows runs."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "mup.md"


def test_its_code_runs_in_order(capsys):
    shared: dict = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, shared)
    shown = capsys.readouterr().out
    assert "No fault was found in the graph." in shown and max(map(len, shown.splitlines())) <= 80
