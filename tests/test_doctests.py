"""The examples in docstrings run, after ``import mupi, torch``, and everything public has one."""

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

import mupi

ROOT = Path(mupi.__file__).parent
WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
EXCEPTIONS = {"__version__"}


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_run(module):
    torch.manual_seed(0)
    found = import_module(module)
    names = vars(found) | {"mupi": mupi, "torch": torch}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    tests = doctest.DocTestFinder(exclude_empty=True).find(found, globs=names)
    for test in tests:
        runner.run(test)
    assert runner.tries > 0, "an example is where doctest does not look: in a comment, or in a private name's wrapper"
    assert runner.failures == 0


@pytest.mark.parametrize("name", [name for name in mupi.__all__ if name not in EXCEPTIONS])
def test_what_is_public_has_an_example_and_says_what_it_is(name):
    documentation = inspect.getdoc(getattr(mupi, name)) or ""
    assert ">>> " in documentation, f"mupi.{name} has no example"
    assert re.match(r"\S.*[.:]\n", documentation), f"mupi.{name} does not begin with a sentence of its own line"


RIDDLE = re.compile(
    r"^ +\w+: (?:\S{1,2}|It|Its \w+|Whose(?: \w+)?|How|How many|Where|Where to|Which|Likewise|The same|In order|"
    r"What came|See the class|Randomness|Inputs|Outputs?)\.$",
    re.MULTILINE,
)


def test_no_argument_is_described_by_a_riddle():
    found = {
        f"{path.relative_to(ROOT)}: {riddle[0].strip()}"
        for path in ROOT.rglob("*.py")
        for riddle in RIDDLE.finditer(path.read_text(encoding="utf-8"))
    }
    assert not found, "say what the thing is"
