"""Imports go one way, down the list of packages, and no two modules import each other."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mupi

ROOT = Path(mupi.__file__).parent

# From the top down: a package imports only from those after it.
PACKAGES = [
    "__main__",
    "cli",
    "command_list",
    "recipes",
    "commands",
    "reports",
    "mup",
    "estimators",
    "training",
    "figures",
    "data",
    "testing",
    "interfaces",
    "nets",
    "mu",
    "architecture",
    "programs",
    "layers",
    "features",
    "optim",
    "parameters",
    "kernels",
    "parametrization",
    "activations",
    "losses",
    "statistics",
    "conventions",
    "arrays",
    "distributed",
    "progress",
    "checks",
    "compilers",
    "extras",
    "version",
    "start",
    "torch_internals",
]

NAMES_WITHOUT_AN_IDEA = {"utils", "util", "helpers", "helper", "misc", "common", "tools", "base"}


def modules():
    """Every module of the library by its dotted name."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imports(path):
    """The modules of the library that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; write the full name"
            # `from mupi.data import digits` may name a module or what a package exports.
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= submodules or {node.module}
    return {name for name in found if name == "mupi" or name.startswith("mupi.")}


def package(module):
    """The second part of a dotted name."""
    return module.split(".")[1]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "mupi"])
def test_a_module_imports_only_from_packages_below_its_own(module):
    own = PACKAGES.index(package(module))
    for imported in imports(MODULES[module]):
        assert imported != "mupi", f"{module} imports the public namespace, which imports everything"
        assert PACKAGES.index(package(imported)) >= own, f"{module} must not import {imported}, which is above it"


def test_every_package_has_its_place():
    present = {package(name) for name in MODULES if name != "mupi"}
    assert present <= set(PACKAGES), f"add {present - set(PACKAGES)} to the list, in its place"


def test_no_two_modules_import_each_other():
    graph = {name: {i for i in imports(path) if i in MODULES} - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_public_namespace_names_what_it_exports_once():
    assert len(set(mupi.__all__)) == len(mupi.__all__)
    assert all(hasattr(mupi, name) for name in mupi.__all__)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_named_for_its_idea(module):
    assert not NAMES_WITHOUT_AN_IDEA & set(module.split("."))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_and_starts_no_future(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{module} has no docstring"
    futures = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    assert not futures, "annotations must stay objects, for the shape checks"


@pytest.mark.parametrize("module", [name for name in MODULES if name != "mupi.torch_internals"])
def test_private_names_of_torch_are_in_one_file(module):
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            chain = ast.unparse(node).split(".")
            private = [part for part in chain[1:] if part.startswith("_") and not part.endswith("__")]
            of_torch = chain[0] in ("torch", "nn", "forward_ad") or chain[-1] in ("_version", "_backward_hooks")
            assert not (private and of_torch), f"{module}:{node.lineno}: {ast.unparse(node)}: see mupi.torch_internals"
