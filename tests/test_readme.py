"""What the README shows runs."""

import re
from pathlib import Path

from mupi.cli import RECIPE
from mupi.command_list import COMMANDS, RECIPES

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_its_code_runs_in_order(capsys):
    shared: dict = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, shared)
    assert "Ż" in capsys.readouterr().out


def test_every_command_is_named_and_no_other():
    table = README.split("## Commands")[1].split("## ")[0]
    cells = re.findall(r"`([^`]*)`", table)
    named = {word for cell in cells for word in re.sub("mupi (recipe (?!--))?", "", cell).split()[:1]}
    others = {word for word in named if word.startswith("-") or "/" in word} | {"make", "$MUPI_DATA", "NAME", RECIPE}
    assert named - others == set(COMMANDS | RECIPES)


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (Path(__file__).parents[1] / target.split("#")[0]).exists(), target
