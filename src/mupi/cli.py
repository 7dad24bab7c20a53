"""The command line: `mupi train` and the others of `COMMANDS`."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import reduce
from operator import or_
from typing import Annotated, Any, get_args

import tyro
from tyro.conf import subcommand

from mupi.checks import fail
from mupi.experiments.comparison.cifar10 import Cifar10Config, cifar10
from mupi.experiments.comparison.compare import CompareConfig, compare
from mupi.experiments.exits import Exit, explained
from mupi.experiments.few_shot.omniglot import omniglot
from mupi.experiments.few_shot.omniglot_config import OmniglotConfig
from mupi.experiments.few_shot.omniglot_plot import OmniglotPlotConfig, omniglot_plot
from mupi.experiments.limits.mu_limit import MuLimitConfig, mu_limit
from mupi.experiments.limits.program import ProgramConfig, program
from mupi.experiments.options import check_arguments, check_options
from mupi.experiments.training.architectures import architecture_protocol
from mupi.experiments.training.config import ArchName, TrainConfig
from mupi.experiments.training.export import ExportConfig, export
from mupi.experiments.training.interrupt import STOPPING, signals_interrupt
from mupi.experiments.training.plot import PlotConfig, plot
from mupi.experiments.training.presets import PRESETS, PROTOCOLS
from mupi.experiments.training.train import train
from mupi.experiments.transfer.command import TransferConfig, transfer, transfer_commands
from mupi.experiments.transfer.config import Model, pretraining_protocol
from mupi.experiments.widths.abc_verdict import AbcConfig, abc
from mupi.experiments.widths.convergence import ConvergenceConfig, convergence
from mupi.experiments.widths.coordcheck import CoordCheckConfig, coordcheck
from mupi.experiments.widths.lr_transfer import LrTransferConfig, lr_transfer
from mupi.experiments.words.word2vec import word2vec
from mupi.experiments.words.word2vec_config import Word2VecConfig
from mupi.experiments.words.word2vec_figure import Word2VecFigureConfig, word2vec_figure
from mupi.experiments.words.word_queries import (
    AnalogiesConfig,
    NeighboursConfig,
    analogies,
    neighbours,
    with_words_apart,
)

COMMANDS: dict[str, tuple[Any, Callable[[Any], object]]] = {
    "word2vec": (Word2VecConfig, word2vec),
    "word2vec-figure": (Word2VecFigureConfig, word2vec_figure),
    "analogies": (AnalogiesConfig, analogies),
    "neighbours": (NeighboursConfig, neighbours),
    "compare": (CompareConfig, compare),
    "convergence": (ConvergenceConfig, convergence),
    "plot": (PlotConfig, plot),
    "export": (ExportConfig, export),
    "abc": (AbcConfig, abc),
    "cifar10": (Cifar10Config, cifar10),
    "coordcheck": (CoordCheckConfig, coordcheck),
    "lr-transfer": (LrTransferConfig, lr_transfer),
    "mu-limit": (MuLimitConfig, mu_limit),
    "program": (ProgramConfig, program),
    "transfer": (TransferConfig, transfer),
    "omniglot": (OmniglotConfig, omniglot),
    "omniglot-plot": (OmniglotPlotConfig, omniglot_plot),
}
"""Beside `mupi train`: what each command takes, and the function that does it."""

TRAIN = "Train a network on a data set; results are in runs/NAME/."
TRANSFER = "Pretrain networks on one data set, and use their features on another."


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
        print(f"mupi: {reason}", file=sys.stderr)
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
    commands: list[Any] = [
        Annotated[TrainConfig, subcommand("train", default=protocol(args), description=TRAIN)],
        Annotated[transfers(args), subcommand("transfer", description=TRANSFER)],
        *(Annotated[config, subcommand(name)] for name, (config, _) in COMMANDS.items() if name != "transfer"),
    ]
    config: Any = tyro.cli(reduce(or_, commands), prog="mupi", args=with_words_apart(args))
    check_options(config, args)
    if isinstance(config, TrainConfig):
        last = train(config)[-1]
        print(f"{config.directory}: test accuracy {last.test_accuracy:.2%} after epoch {last.epoch}")
    else:
        next(do for kind, do in COMMANDS.values() if isinstance(config, kind))(config)


def protocol(args: Sequence[str]) -> TrainConfig:
    """The defaults of `mupi train`, which depend on data set and architecture; so these are looked for first."""
    name = named(args, "--dataset", "digits", PROTOCOLS)
    arch = named(args, "--arch", "mlp", get_args(ArchName))
    return PROTOCOLS[name] if arch == "mlp" else architecture_protocol(PROTOCOLS[name], arch)


def transfers(args: Sequence[str]) -> Any:
    """The commands of `mupi transfer`; the defaults of `pretrain` depend on data set and model."""
    own = args if list(args[:2]) == ["transfer", "pretrain"] else []
    dataset = named(own, "--dataset", "imagenet32", PRESETS)
    model = named(own, "--model", "pi-limit", get_args(Model))
    return transfer_commands(model, pretraining_protocol(model, dataset))


def named(args: Sequence[str], option: str, default: str, known: Iterable[Any]) -> Any:
    """The value of an option that others depend on.

    Raises:
        ValueError: If it is none of those known.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(option, dest="value", default=default)
    value = parser.parse_known_args(args)[0].value
    if value not in known:
        fail(option, " or ".join(known), repr(value))
    return value
