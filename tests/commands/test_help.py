"""Help: its first screen, its second, and examples that are read; tables that fit."""

import shlex
from collections.abc import Iterator

import pytest

from mupi.cli import main
from mupi.command_list import COMMANDS, RECIPES, Command
from mupi.commands.groups import GROUPS

ALL = COMMANDS | RECIPES
EXAMPLES = [(name, example) for name, command in ALL.items() for example in command.examples]


def printed(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(args)
    assert stopped.value.code == 0
    return capsys.readouterr().out


def options(text: str) -> Iterator[str]:
    """Those that a help of ours shows."""
    return (line.split()[0] for line in text.splitlines() if line.startswith("  --"))


@pytest.mark.parametrize("choices", [[], ["--features", "random"], ["--network", "mup"], ["--arch", "cnn"]], ids=str)
def test_the_first_screen_of_train_has_a_dozen_options_and_the_second_all(choices, capsys):
    first = printed(["train", *choices, "--help"], capsys)
    every = printed(["train", *choices, "--help-all"], capsys)
    assert 8 <= len(list(options(first))) <= 12
    assert set(options(first)) < set(options(every))
    groups = [line for line in first.splitlines() if line and line[0] != " "]
    assert {"data", "network", "optimizer", "schedule", "run", "examples:"} <= set(groups)
    assert all(len(line) <= 80 for line in [*first.splitlines(), *every.splitlines()])


def test_options_of_other_networks_are_not_shown(capsys):
    shown = set(options(printed(["train", "--network", "mup", "--help-all"], capsys)))
    assert "--sigma-w" in shown and not {"--rank", "--features"} & shown
    shown = set(options(printed(["train", "--features", "atoms", "--help-all"], capsys)))
    assert "--rank" in shown and not {"--degree", "--width"} & shown


@pytest.mark.parametrize("name", ALL)
def test_help_ends_with_examples_and_fits(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = printed([name, "--help"], capsys).splitlines()
    assert lines[-3:] == ["examples:", *(f"  {example}" for example in ALL[name].examples)]
    assert all(len(line) <= 80 for line in lines)


CHOOSING = [
    "omniglot", "omniglot pi pi-net", "omniglot tp4 mu-limit", "omniglot tp4 mu-net", "omniglot pi ntk", "word2vec",
    "word2vec gaussian", "word2vec orthonormal", "abc", "abc by-hand", "abc mean-field", "coordcheck",
    "lr-transfer mup", "compare", "compare --dataset cifar10", "compare --models nngp", "cifar10",
    "cifar10 --parts truncation", "transfer evaluate", "transfer evaluate --parts probe --baselines", "transfer both",
    "transfer both --models mu-net", "convergence", "mu-limit", "program", "export", "plot", "analogies",
]  # fmt: skip


@pytest.mark.parametrize("line", CHOOSING)
def test_the_first_screen_has_at_most_a_dozen_options_in_groups_and_the_second_all(line, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    args = line.split()
    first, every = (printed([*args, flag], capsys) for flag in ("--help", "--help-all"))
    assert len(list(options(first))) <= 12
    assert set(options(first)) <= set(options(every))
    assert ("--help-all" in first) == (set(options(first)) < set(options(every)))
    groups = [text for text in first.splitlines() if text and text[0] != " "]
    assert groups[-1] == "examples:" and set(GROUPS) & set(groups)
    assert all(len(text) <= 80 for text in [*first.splitlines(), *every.splitlines()])


@pytest.mark.parametrize(
    "line, there, absent",
    [
        ("omniglot pi pi-limit", "--rank --subspace --lr", "--width --sigma-b --activation --input-std"),
        ("omniglot pi ntk", "--sigma-b --depth", "--rank --lr --batches --width --evaluate-every"),
        ("omniglot tp4 mu-limit", "--input-std --lr", "--depth --width --activation --rank"),
        ("omniglot tp4 mu-net", "--width --activation", "--rank --subspace --sigma-b"),
        ("word2vec", "--window", "--width --start"),
        ("word2vec orthonormal", "--width", "--start"),
        ("abc by-hand", "--a --b --c", "--depth --mup"),
        ("abc mup", "--depth", "--a --b --c"),
        ("coordcheck standard", "--depth --c", "--a --b"),
        ("compare --models nngp ntk", "--train-size", "--epochs --width --seeds --exact"),
        ("compare --models pi-limit-exact", "--epochs --seeds", "--width"),
        ("cifar10 --parts exact", "--exact-images --subspace", "--seeds --epochs --kernel-epochs --short-epochs"),
        ("transfer evaluate --parts probe --baselines", "--penalties", "--ridges --double --rates --unit-norm"),
        ("transfer evaluate --parts probe --baselines ntk", "--penalties --ridges", "--rates --unit-norm"),
        ("transfer both --models mu-net", "--width", "--rank --subspace --exact"),
        ("transfer both --dataset digits", "--pretrain-size", "--pretrain-files"),
        ("export", "--width", "--seed"),
        ("export --width 8", "--seed", "--rank"),
        ("train", "--drop-epoch --drop --lr-bias", "--data-seed --files"),
        ("train --train-size 9 --drop-epoch None --bias-scale=0", "--data-seed", "--drop --lr-bias"),
    ],
)
def test_options_that_do_not_apply_do_not_exist(line, there, absent, capsys):
    shown = set(options(printed([*line.split(), "--help-all"], capsys)))
    assert set(there.split()) <= shown and not set(absent.split()) & shown


@pytest.mark.parametrize("name, example", EXAMPLES, ids=lambda value: value)
def test_an_example_is_read(name, example, monkeypatch):
    program, *args = shlex.split(example)
    assert program == "mupi" and name in args[:2]
    found, load = [], Command.load
    monkeypatch.setattr(Command, "load", lambda command: (load(command)[0], found.append))
    if name in ("train", "plot"):
        monkeypatch.setattr("mupi.cli.print", lambda *args: None, raising=False)
    try:
        assert main(args) == 0
    except (AttributeError, TypeError):
        # `train` goes on with what its function returns, of which there is nothing here.
        assert name == "train"
    assert len(found) == 1


@pytest.mark.parametrize(
    "given, same",
    [
        ("cifar10 --lr 2", "--dataset cifar10 --lr 2"),
        ("features:atoms --network.rank 3", "--features atoms --rank 3"),
        ("features:hermite --features.degree 3", "--features hermite --degree 3"),
        ("--degree 4 --subspace 9 --subspace-high 2", "--degree 4 --subspace 2:9,3:2,4:2"),
        ("--degree 3 --subspace-high=2", "--degree 3 --subspace 2:64,3:2"),
    ],
)
def test_other_spellings_mean_the_same(given, same):
    from mupi.commands.train.form import read_train

    first, second = (read_train(line.split(), "mupi train", "", ())[0] for line in (given, same))
    assert first == second
