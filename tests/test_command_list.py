"""The command line's front: its list of commands, what is imported for it, and what is missing."""

import subprocess
import sys
import tomllib
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_args

import pytest

from mupi.cli import main
from mupi.command_list import COMMANDS, RECIPES
from mupi.extras import PACKAGES, MissingExtraError, require
from mupi.version import __version__


@pytest.mark.parametrize("name", COMMANDS | RECIPES)
def test_every_command_is_where_the_list_says(name):
    config, do = (COMMANDS | RECIPES)[name].load()
    assert all(map(is_dataclass, get_args(config) or (config,)))
    assert callable(do)


def test_help_lists_every_command_with_what_it_does(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(f"• {name} {command.does}" in text for name, command in COMMANDS.items())


def test_the_version_is_one_line(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mupi {__version__}\n"


@pytest.mark.parametrize("args", [["recipe"], ["recipe", "--list"], ["recipe", "--help"]])
def test_every_recipe_is_listed_with_what_it_does(args, capsys):
    assert main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines[2:]] == [[name, c.does] for name, c in RECIPES.items()]


def test_a_recipe_is_meant_by_its_name_with_recipe_and_without(capsys):
    assert main(["recipe", "train"]) == main(["recipe", "nothing"]) == 2
    assert "`mupi recipe` must be one of compare, " in capsys.readouterr().err
    shown = []
    for args in (["recipe", "compare"], ["compare"]):
        with pytest.raises(SystemExit):
            main([*args, "--help"])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1].replace("mupi compare", "mupi recipe compare")


@pytest.mark.parametrize("args", [[], ["trian"], ["--", "train"], ["--rank", "4", "train"]])
def test_without_a_command_that_there_is_the_commands_are_named(args, capsys):
    assert main(args) == 2
    assert "see mupi --help" in capsys.readouterr().err


def test_help_imports_no_command():
    script = """
import sys
from mupi.cli import main
try:
    main(["--help"])
finally:
    print("imported", *sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    imported = set(result.stdout.partition("imported")[2].split())
    assert "tyro" in imported
    modules = {command.module for command in (COMMANDS | RECIPES).values()}
    assert not imported & (modules | {"matplotlib", "sklearn", "pooch", "scipy.special", "torch._dynamo"})


def test_a_package_that_is_missing_is_one_line_that_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert main(["train"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "mupi: error: the command line of mupi needs tyro: pip install 'mupi[cli]'\n"
    with pytest.raises(MissingExtraError):
        require("tyro", "this")


def test_the_extras_are_those_of_the_project():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for package, extra in PACKAGES.values():
        assert any(line.startswith(package) for line in project["optional-dependencies"][extra])
