"""The page about Gaussian processes runs."""

import re
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gaussian-processes.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The optimal value found:sklearn.exceptions.ConvergenceWarning")
def test_its_code_runs_in_order(capsys, unchecked):
    with warnings.catch_warnings():  # GPyTorch's and BoTorch's scripted functions warn at import
        warnings.filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)
        shared: dict = {"__name__": "gaussian_processes"}
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "page.py", "exec"), shared)
    printed = capsys.readouterr().out
    assert "torch.Size([5]) torch.Size([5]) True" in printed
    assert "raw_sigma_w_hidden" in printed and "NNGP(sigma_w=" in printed.replace("arch.nngp", "NNGP")
    assert "torch.Size([1, 3])" in printed and "(5, 2)" in printed
    errors = abs(shared["functions"].mean(0) - shared["regression"].predict(shared["new"]))
    assert float(errors.max()) < 1


def test_its_links_and_files_are_there():
    for name in re.findall(r"`(examples/[^`]+)`", PAGE):
        assert (ROOT / name).exists(), name
