"""What docs/checking-mup.md shows runs, and prints what it says."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "checking-mup.md"


def test_its_code_runs_in_order(tmp_path, monkeypatch, capsys):
    text = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"```\n(learns.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    shared: dict = {"__name__": "page"}
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
        path = tmp_path / f"block{i}.py"  # a file, so that the graph's lines have one
        path.write_text(block, encoding="utf-8")
        exec(compile(block, str(path), "exec"), shared)
    assert shown is not None and capsys.readouterr().out == shown[1]
