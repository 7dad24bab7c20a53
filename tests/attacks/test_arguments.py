"""Bad arguments to every command: each is refused by its name, and none is taken in silence."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest

from commands import accepted, attempt, begin_nothing, outcome
from mupi.cli import main
from mupi.command_list import COMMANDS, RECIPES
from mupi.commands.choices import walk
from mupi.commands.form import form_of
from mupi.commands.help import Option
from mupi.commands.options import option
from mupi.commands.train.form import Form, chosen
from mupi.commands.train.networks import FEATURES, KINDS, NAMES
from mupi.commands.train.presets import PROTOCOLS
from mupi.recipes.omniglot.models import PROTOCOLS as PROTOCOLS_OF_FEW
from mupi.recipes.transfer.config import BothConfig, EvaluateConfig, Model, pretraining_protocol
from omniglot_archives import write_archives

ABSENT = "nowhere/at/all"
VALUES = ("0", "-1", "nan", "inf", "1e300", "1000000000", "", "\0", "bogus", ABSENT, "größe-∞")

CONFIGS: dict[tuple[str, ...], Any] = {
    ("transfer", "evaluate"): EvaluateConfig,
    ("transfer", "both"): BothConfig,
    **{
        (name,): command.load()[0]
        for name, command in (COMMANDS | RECIPES).items()
        if name not in ("train", "transfer")
    },
}

# What makes each command short, where it is not stopped; "{…}" are what the fixture `made` has made.
BASE: dict[tuple[str, ...], list[str]] = {
    ("train",): ["--train-size", "40"],
    ("transfer", "pretrain"): ["--dataset", "digits", "--train-size", "40"],
    ("transfer", "evaluate"): ["{run}", "--train-size", "40"],
    ("transfer", "both"): ["--dataset", "digits", "--models", "pi-limit", "--pretrain-size", "40"],
    ("word2vec",): ["--data-dir", "{data}", "--min-count", "1"],
    ("word2vec-figure",): ["{words}"],
    ("analogies",): ["{words}", "--data-dir", "{data}"],
    ("neighbours",): ["{words}", "word0"],
    ("compare",): ["--train-size", "40"],
    ("plot",): ["{run}"],
    ("export",): ["{run}"],
    ("cifar10",): ["--data-dir", "{data}"],
    ("mu-limit",): ["--images", "4", "--samples", "64"],
    ("program",): ["dependence"],
    ("omniglot",): ["--data-dir", "{data}"],
    ("omniglot-plot",): ["{few}"],
}

# What comes first to choose which options a command has.
CHOSEN: dict[tuple[str, ...], list[list[str]]] = {
    ("omniglot",): [list(path) for path, _ in walk(PROTOCOLS_OF_FEW)],
    ("word2vec",): [[], ["gaussian"]],
    **{(name,): [["all"], ["standard"], ["by-hand"]] for name in ("abc", "coordcheck", "lr-transfer")},
}

# What an option of `export`, `abc` and `coordcheck` needs beside it to have a meaning.
BESIDE: dict[str, list[str]] = {
    "seed": ["--width", "8"],
    "a": ["--b", "0", "0"],
    "b": ["--a", "0", "0"],
}

NETWORKS = [
    *(["--features", name] for name in FEATURES),
    *(["--network", network, "--arch", arch] for network, arch in KINDS if (network, arch) != ("pi", "mlp")),
]
"""What decides which options `mupi train` has."""

# Values that may be accepted, beside a billion of anything that is counted, and 0 of any size that is no number of
# things. All others must be refused.
ZERO = {
    "data_seed", "seed", "weight_decay", "lr", "lr_first", "lr_last", "lr_bias", "drop", "momentum", "input_scale",
    "output_scale", "bias_scale", "readout_init", "sigma_w", "sigma_first", "label_smoothing", "anneal", "shift",
    "subsampling", "save_minutes", "rate", "tolerance", "pretrain_lr", "batches", "step_size", "input_std",
    "readout_std", "sigma_b", "epoch", "seeds", "epochs", "log2_lr", "classes", "min_count",
    "degree",
}  # fmt: skip
NEVER_ZERO = {("train", "epochs"), ("train", "classes"), ("compare", "seeds"), ("compare", "epochs")}
TEXT = {"name"}


def strip(hint: Any) -> Any:
    """A type without its annotation."""
    return strip(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def options() -> Iterator[tuple[tuple[str, ...], list[str], str, set[Any]]]:
    """Of every command: what else is given, and each option's name and the plain types that it takes."""
    for choice in NETWORKS:
        form = Form(chosen(choice, PROTOCOLS["digits"]))
        yield from of_form(("train",), choice, (o for o in form.options if choice == NETWORKS[0] or o.name in NAMES))
    images = ["--dataset", "imagenet32"]
    files = (o for o in Form(PROTOCOLS["imagenet32"]).options if o.name == "files")
    yield from of_form(("train",), images, files)
    for model in get_args(Model):
        form = Form(pretraining_protocol(model, "digits"), (Option("model", Model, model, ""),))
        pretrained = (o for o in form.options if model == "pi-limit" or o.name in NAMES)
        yield from of_form(("transfer", "pretrain"), ["--model", model], pretrained)
    for command, config in CONFIGS.items():
        beside = BESIDE if command[0] in ("export", "abc", "coordcheck", "lr-transfer") else {}
        seen = set[str]()
        for choice in CHOSEN.get(command, [[]]):
            form, _ = form_of(config, choice, "mupi")
            shown = {name: set(kinds(o.hint)) for name, o in form.options.items()}
            shown |= {name: set[Any]() for name, (mark, _, _) in form.choices.items() if not mark.leading}
            for name in shown.keys() - seen:
                yield command, [*choice, *beside.get(name, [])], name, shown[name]
            seen |= shown.keys()


def of_form(
    command: tuple[str, ...], choice: list[str], shown: Iterable[Option]
) -> Iterator[tuple[tuple[str, ...], list[str], str, set[Any]]]:
    for o in shown:
        yield command, choice, o.name, set(kinds(o.hint))


def kinds(hint: Any) -> Iterator[Any]:
    """The plain types of a hint: int, float, str, Path, bool, and Literal."""
    hint = strip(hint)
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    elif get_origin(hint) is not None:
        for part in get_args(hint):
            yield from kinds(part)
    elif isinstance(hint, type) or hint in (None, ...):
        yield hint
    else:
        for part in get_args(hint):
            yield from kinds(part)


def sensible(command: tuple[str, ...], name: str, types: set[Any], value: str) -> bool:
    """Whether a value may be accepted."""
    if value in types:
        return True
    if value in ("", "\0") or value in types:
        return False
    if name == "name":
        return value != ABSENT
    if Path in types:
        return name in ("out", "runs_dir") and command not in (("word2vec-figure",),)
    if str in types:
        return name in ("a", "b", "c") and value in ("0", "-1", "1000000000")
    if float in types:
        return value == "1000000000" or (value == "0" and name in ZERO)
    if int in types:
        if value == "-1":
            return name == "log2_lr"
        return value == "1000000000" or (value == "0" and name in ZERO and (command[0], name) not in NEVER_ZERO)
    return False


def systematic() -> list[tuple[list[str], list[str], bool]]:
    """Arguments, what a refusal must name, and whether they may be accepted; two values of each option, or all."""
    cases, turn = [], 0
    for command, beside, name, types in options():
        if types and types <= {bool, type(None)}:
            continue
        flag = option(name)
        turn += 1
        picked = VALUES if os.environ.get("MUPI_EVERY_VALUE") else {VALUES[(turn * k) % 11] for k in (3, 7)}
        base = [*beside, *BASE.get(command, [])]
        if flag in base:
            at = base.index(flag)
            del base[at : at + 2]
        positional = name in ("runs", "run", "vectors", "words", "demos")
        if positional:
            base = [part for part in base if part not in ("{run}", "{few}", "{words}", "word0", "dependence")]
        words = ["{words}"] if name == "words" else []
        for value in (value for value in VALUES if value in picked):
            given = [*words, "--", value] if positional and value == "-1" else [*words, value]
            args = [*command, *base, *(given if positional else [flag, value])]
            names = [flag, name, *name.split("_")[:1], value or "empty", command[-1]]
            cases.append((args, names, sensible(command, name, types, value)))
    return cases


HUGE = str(2**64)
REFUSED: list[tuple[str, str]] = [
    # Of the issue.
    ("train --threads 100000", "threads"),
    ("compare --threads 100000", "threads"),
    ("mu-limit --threads 100000", "threads"),
    ("train --rank 100000000", "rank"),
    ("train --network mup --width 100000000", "width"),
    ("train --depth 100000000", "depth"),
    ("train --device meta", "device"),
    ("compare --device meta", "device"),
    ("word2vec --data-dir {data} --device bogus", "device"),
    ("word2vec --data-dir {data} --device meta", "device"),
    ("transfer evaluate {run} --device meta", "device"),
    ("train --shift 100000", "shift"),
    ("train --shift 8", "shift"),
    ("mu-limit --images 1", "--images"),
    ("mu-limit --images 5", "--images"),
    ("mu-limit --classes 3 3", "--classes"),
    ("mu-limit --classes 3 77", "--classes"),
    ("train --lr 1e200", "lr"),
    ("train --lr 1e30 --lr-last 1e30", "lr_last"),
    ("export {run} --out {data}", "--out"),
    (f"train --seed {HUGE}", "--seed"),
    (f"train --seed -{HUGE}", "--seed"),
    (f"train --train-size 40 --data-seed {HUGE}", "--data-seed"),
    (f"word2vec --data-dir {{data}} --seed {HUGE}", "--seed"),
    (f"omniglot --data-dir {{data}} --seeds {HUGE}", "--seeds"),
    (f"program dependence --seed {HUGE}", "--seed"),
    (f"export {{run}} --width 8 --seed {HUGE}", "--seed"),
    (f"train --epochs {HUGE}", "--epochs"),
    ("train --data-dir mistyped", "--data-dir"),
    ("word2vec --data-dir mistyped", "--data-dir"),
    ("coordcheck --data-dir mistyped", "--data-dir"),
    # Options that do not apply.
    ("train --network mup --features atoms", "--features"),
    ("train --network standard --rank 8", "--rank"),
    ("train --network mup --degree 3", "--degree"),
    ("train --features atoms --degree 3", "--degree"),
    ("train --subspace-high 3", "--subspace-high"),
    ("train --features random --subspace 3", "--subspace"),
    ("train --features atoms --subspace-high 3", "--subspace-high"),
    ("train --width 100", "--width"),
    ("train --features atoms --width 100", "--width"),
    ("train --sigma-w 1", "--sigma-w"),
    ("train --sigma-first 1", "--sigma-first"),
    ("train --arch cnn --network mup --input-scale 2", "--input-scale"),
    ("train --arch cnn --network mup --readout-init 1", "--readout-init"),
    ("train --arch transformer --input-scale 2", "--input-scale"),
    ("train --bias-scale 0 --lr-bias 2", "--lr-bias"),
    ("train --drop-epoch None --drop .5", "--drop"),
    ("train --files 2", "--files"),
    ("train --data-seed 3", "--data-seed"),
    ("transfer pretrain --dataset digits --model mu-net --rank 8", "--rank"),
    ("transfer both --dataset digits --models mu-net --rank 8", "--rank"),
    ("transfer both --dataset digits --models mu-net --exact", "--exact"),
    ("transfer both --dataset digits --models pi-limit --width 8", "--width"),
    ("transfer both --dataset digits --models pi-limit-exact --subspace 8", "--subspace"),
    ("transfer both --dataset digits --pretrain-files 2", "--pretrain-files"),
    ("transfer evaluate {run} --parts probe --rates .1", "--rates"),
    ("transfer evaluate {run} --parts kernel --penalties .1", "--penalties"),
    ("transfer evaluate {run} --parts kernel --readout-epochs 2", "--readout-epochs"),
    ("transfer evaluate {run} --parts probe --no-unit-norm", "--unit-norm"),
    ("compare --models nngp ntk --epochs 3", "--epochs"),
    ("compare --models nngp --seeds 2", "--seeds"),
    ("compare --models pi-limit --width 8", "--width"),
    ("compare --models mu-net --exact True", "--exact"),
    ("compare --models nngp nngp", "--models"),
    ("cifar10 --parts relu --exact-images 100", "--exact-images"),
    ("cifar10 --parts relu --kernel-epochs 1", "--kernel-epochs"),
    ("cifar10 --parts kernel --epochs 5 --kernel-epochs 1 10", "--kernel-epochs"),
    ("cifar10 --parts exact --seeds 2", "--seeds"),
    ("cifar10 --parts speed --short-epochs 2", "--short-epochs"),
    ("export {run} --seed 1", "--seed"),
    ("abc by-hand --a 0 0 --b 0 0 --depth 3", "--depth"),
    ("abc mup --c 1", "--c"),
    ("program --draws 5", "mupi program"),
    ("omniglot pi nngp --data-dir {data} --lr 1", "--lr"),
    ("omniglot pi ntk --data-dir {data} --batches 10", "--batches"),
    ("omniglot pi pi-limit --data-dir {data} --width 8", "--width"),
    ("omniglot pi mu-net --data-dir {data} --rank 8", "--rank"),
    ("omniglot pi pi-net --data-dir {data} --subspace 8", "--subspace"),
    ("omniglot pi pi-limit --data-dir {data} --sigma-b 1", "--sigma-b"),
    ("omniglot pi pi-limit --data-dir {data} --activation relu", "--activation"),
    ("omniglot tp4 mu-limit --data-dir {data} --activation relu", "--activation"),
    ("word2vec --data-dir {data} --start orthonormal", "start"),
    # Combinations and files.
    ("train --resume --overwrite", "resume"),
    ("train --momentum 1", "momentum"),
    ("train --train-size 5000", "train_size"),
    ("train --validation 5000", "validation"),
    ("train --runs-dir {file}", "--runs-dir"),
    ("train --runs-dir {file}/below", "--runs-dir"),
    ("convergence --out {file}", "--out"),
    ("ensemble --out {file}", "--out"),
    ("ensemble --steps 4 2", "--steps"),
    ("ensemble --rate 1", "--rate"),
    ("ensemble --max-width 1000000000", "--max-width"),
    ("lr-transfer --out {file}", "--out"),
    ("plot {run} --out {file}", "--out"),
    ("abc --map {data}", "--map"),
    ("abc --map map.bogus", "--map"),
    ("word2vec-figure {words} --out figure.bogus", "--out"),
    ("word2vec-figure {words} --out {data}", "--out"),
    ("mu-limit --widths 8 8", "--widths"),
    ("mu-limit --widths 0 8", "--widths"),
    ("lr-transfer --widths 64 1000000000", "--widths"),
    ("coordcheck --max-width 1000000000", "--max-width"),
    ("convergence --mu-max-width 1000000000", "--mu-max-width"),
    ("neighbours {words}", "words"),
    ("neighbours {words} emperor", "emperor"),
    ("neighbours {words} word0 -", "minus"),
    ("neighbours {words} word0 --count 0", "count"),
    ("bogus", "bogus"),
    ("train --bogus 1", "--bogus"),
    ("train --dataset mnist", "mnist"),
    ("train --name ../out", "name"),
    ("train --name /tmp/out", "name"),
    ("train --name a/b", "name"),
    ("train --name .", "name"),
]
ACCEPTED = [
    "train --network mup --width 8",
    "train --rank 5 --subspace 3 --degree 3 --subspace-high 2",
    "train --features random --rank 4 --width 8",
    "train --shift 7",
    "train --seed 0",
    "train --lr 0",
    "train --threads 2",
    "train --arch cnn",
    "train --arch cnn --network mup",
    "train --arch transformer",
    "train --runs-dir deep/er",
    "transfer both --dataset digits --models pi-net --width 64 --rank 8",
    "transfer evaluate {run} --parts probe --penalties .1",
    "compare --models nngp",
    "compare --models sp-net --width 8",
    "abc standard --c 1 --depth 3",
    "abc by-hand --a 0 0 --b 0 0",
    "program",
    "program dependence --draws 2",
    "omniglot pi nngp --data-dir {data} --sigma-b 1",
    "omniglot pi mu-net --data-dir {data} --width 8",
    "neighbours {words} word0 word1 -word2",
    "neighbours {words} word0 -word2 --count 3",
    "word2vec --data-dir {data} --min-count 1",
    "mu-limit --images 4",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A run of each kind that commands read, data, and a file; and no command begins its work after that."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(root)
        monkeypatch.setenv("COLUMNS", "300")
        # Far from the network, which the refusals of a data set that is missing must not wait for.
        monkeypatch.setattr("pooch.retrieve", offline)
        monkeypatch.setenv("MUPI_DATA", str(root / "empty"))
        write_archives(root / "data", monkeypatch)
        (root / "data" / "text8").write_text(" ".join(f"word{i % 9} word{i % 4}" for i in range(200)))
        (root / "data" / "questions-words.txt").write_text(": some\nword0 word1 word2 word3\n")
        data = ["--data-dir", str(root / "data")]
        small = ["--train-size", "40", "--rank", "3", "--epochs", "1", "--name", "run"]
        assert main(["transfer", "pretrain", "--dataset", "digits", *small]) == 0
        words = ["--min-count", "1", "--epochs", "1", "--name", "words"]
        assert main(["word2vec", "gaussian", "--width", "4", *data, *words]) == 0
        few = ["pi", "nngp", "--ways", "3", "--test-episodes", "2", "--validation-episodes", "2", "--name", "few"]
        assert main(["omniglot", *few[:6], *few[8:], *data]) == 0
        begin_nothing(monkeypatch)
        paths = dict(run="runs/run", words="runs/words", few="runs/few-seed0", data="data", file="data/text8")
        yield {name: str(root / path) for name, path in paths.items()}


def offline(*args: object, **kwargs: object) -> None:
    raise ConnectionError("no network")


def filled(args: Sequence[str], made: dict[str, str]) -> list[str]:
    """With the paths of what was made."""
    return [part.format(**made) if "{" in part else part for part in args]


def test_bad_values_of_every_option(record, made, tmp_path: Path):
    for i, (args, names, may) in enumerate(systematic()):
        directory = tmp_path / str(i)
        directory.mkdir()
        end = attempt(filled(args, made), directory)
        record("arguments", f"{args!r} ({end})", outcome(end, names, sensible=may))


def test_arguments_that_contradict_each_other_or_the_machine(record, made, tmp_path: Path):
    for i, (line, named) in enumerate(REFUSED):
        directory = tmp_path / str(i)
        directory.mkdir()
        end = attempt(filled(line.split(), made), directory)
        record("arguments", f"{line} ({end})", outcome(end, [named], sensible=False))
        assert not (directory / "mistyped").exists()


def test_arguments_that_make_sense_are_taken(record, made, tmp_path: Path):
    for i, line in enumerate(ACCEPTED):
        directory = tmp_path / str(i)
        directory.mkdir()
        end = attempt(filled(line.split(), made), directory)
        record("arguments", f"{line} ({end})", "right" if accepted(end) else "traceback")
