"""The command line: `mupi NAME ...` for the names of `COMMANDS`, `mupi recipe NAME ...` for those of `RECIPES`."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import make_dataclass
from functools import partial, reduce
from io import BytesIO, TextIOWrapper
from operator import or_
from typing import Annotated, Any, get_args

from mupi.checks import fail
from mupi.command_list import COMMANDS, RECIPES, Command
from mupi.commands.exits import Exit, explained
from mupi.commands.help import Option, narrow, shown_examples
from mupi.commands.options import check_arguments, named
from mupi.commands.reading import read
from mupi.distributed.launched import speaks, started_by_torchrun
from mupi.extras import require
from mupi.training.interrupt import STOPPING, signals_interrupt
from mupi.version import __version__

RECIPE = "recipe"

SHARED = (
    "train", "tables", "convergence", "ensemble", "lr-transfer", "rate-transfer", "forecast", "mu-limit",
    "feature-kernels", "sample-complexity",
)  # fmt: skip
"""The commands that processes of `torchrun` go through together: steps of one run, or pieces of work in turn."""


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: What follows `mupi` on the command line; None for this process's own.

    Returns:
        The exit status, see `Exit`. Where it is neither 0 nor that of a bug, one line on stderr says why.
    """
    try:
        with signals_interrupt():
            run(sys.argv[1:] if args is None else args)
            sys.stdout.flush()
    except BrokenPipeError:
        return broken_pipe()
    except SystemExit as stop:
        # Of rich, which leaves so when it cannot print.
        if isinstance(stop.__context__, BrokenPipeError):
            return broken_pipe()
        raise
    except BaseException as error:
        known = explained(error)
        if known is None:
            traceback.print_exception(error)
            known = Exit.BUG, "this is a bug of mupi; please report it with the lines above"
        status, reason = known
        kind = "" if isinstance(error, KeyboardInterrupt) else "error: "
        if speaks() or status in (Exit.BUG, Exit.FAILED):
            print(f"mupi: {kind}{reason}", file=sys.stderr)
        return status
    finally:
        if args is None:
            # The process is ending; a signal would only make its last moment a traceback.
            for s in STOPPING:
                signal.signal(s, signal.SIG_IGN)
    return Exit.DONE


def broken_pipe() -> int:
    """End without a word; and without one of Python's, which writes what is left when the process ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.BROKEN_PIPE


def run(args: Sequence[str]) -> None:
    """Read the arguments and do as they say."""
    check_arguments(args)
    if list(args) == ["--version"]:
        print(f"mupi {__version__}")
        return
    require("tyro", "the command line of mupi")
    name, prog = args[0] if args else "", "mupi"
    if name == RECIPE:
        args, prog = args[1:], f"mupi {RECIPE}"
        name = args[0] if args else ""
        if name not in RECIPES:
            list_recipes(args)
            return
    # The name of a recipe alone is short for it.
    command = (RECIPES if prog != "mupi" else COMMANDS | RECIPES).get(name)
    if command is None:
        about = f"mupi {__version__}: infinite-width neural networks. Each command has its own --help."
        read(overview(), args, "mupi", description=about)
        fail("mupi", "given a command first", " ".join(args))
    if name not in SHARED and (processes := started_by_torchrun()) > 1:
        fail(f"mupi {name}", "started once", f"torchrun with {processes} processes", "start it without torchrun")
    kind, do = command.load()
    prog = f"{prog} {name}"
    args = list(args[1:])
    match name:
        case "train":
            from mupi.commands.train.form import read_train

            config, _ = read_train(args, prog, command.does, command.examples)
        case "transfer" if args[:1] == ["pretrain"]:
            config = pretraining(args[1:], f"{prog} pretrain", command)
        case "transfer":
            from mupi.commands.form import read_form
            from mupi.recipes.transfer.command import COMMANDS as KINDS
            from mupi.recipes.transfer.command import transfer_commands

            if not args or args[0] not in KINDS:
                with_examples(transfer_commands(), args, prog, command)
            config = read_form(KINDS[args[0]], args[1:], f"{prog} {args[0]}", command.examples)
        case _:
            from mupi.commands.form import read_form

            if name == "neighbours":
                from mupi.recipes.word2vec.queries import with_words_apart

                args = with_words_apart([name, *args])[1:]
            config = read_form(kind, args, prog, command.examples)
    result: Any = do(config)
    if name == "train" and speaks():
        from mupi.commands.train.train import result as come_to

        print(f"{config.directory}: {come_to(result[-1])} after epoch {result[-1].epoch}")


def overview() -> Any:
    """What tyro reads a command line without a known command as: only to print its help, or what is wrong."""
    from tyro.conf import subcommand

    shown = {name: command.does for name, command in COMMANDS.items()}
    shown[RECIPE] = "Repeat a paper's experiment; --list names them."
    kinds = ((does, name, make_dataclass(f"Some{i}", [])) for i, (name, does) in enumerate(shown.items()))
    return reduce(or_, (Annotated[kind, subcommand(name, description=does)] for does, name, kind in kinds))


def list_recipes(args: Sequence[str]) -> None:
    """Print what each recipe does, if that is asked for.

    Raises:
        ValueError: If a recipe is asked for that there is not.
    """
    if args and args[0] not in ("--list", "--help", "-h"):
        fail(f"mupi {RECIPE}", f"one of {', '.join(RECIPES)}", args[0])
    width = max(map(len, RECIPES))
    print(f"mupi {RECIPE} NAME ...; each has its own --help.\n")
    for name, command in RECIPES.items():
        print(f"{name:{width}}  {command.does}")


def with_examples(kind: Any, args: Sequence[str], prog: str, command: Command, **options: Any) -> Any:
    """`read`, whose help is no wider than a screen and ends with examples."""
    said = TextIOWrapper(BytesIO(), encoding="utf-8")
    try:
        with redirect_stdout(said):
            return read(kind, args, prog, **options)
    except SystemExit:
        said.seek(0)
        print(narrow(said.read()), shown_examples(command.examples), sep="\n")
        raise


def pretraining(args: Sequence[str], prog: str, command: Command) -> Any:
    """What `mupi transfer pretrain` is read as; its defaults depend on data set, model and architecture."""
    from mupi.commands.train.form import read_train
    from mupi.commands.train.networks import ArchName
    from mupi.data import DatasetName
    from mupi.recipes.transfer.config import Model, PretrainConfig, pretraining_protocol

    model = named(args, "--model", "pi-limit", get_args(Model))
    about = " ".join((PretrainConfig.__doc__ or "").split())
    config, _ = read_train(
        args,
        prog,
        about,
        command.examples,
        partial(pretraining_protocol, model, arch=named(args, "--arch", "mlp", get_args(ArchName))),
        "imagenet32",
        [Option("model", Model, model, "Whose protocol the defaults are.")],
        get_args(DatasetName),
    )
    return PretrainConfig(model=model, training=config)
