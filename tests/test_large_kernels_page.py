"""What docs/large-kernels.md shows runs, in order."""

import re
from pathlib import Path

import torch

PAGE = (Path(__file__).parents[1] / "docs" / "large-kernels.md").read_text(encoding="utf-8")


def test_its_code_runs_in_order(capsys):
    torch.manual_seed(0)
    shared: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, shared)
    shown = capsys.readouterr().out
    assert "FeatureError(kernel=0.0" in shown and "torch.Size([3])" in shown
    assert shared["std"].shape == (5,)
