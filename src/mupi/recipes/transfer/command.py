"""`mupi transfer pretrain`, `evaluate` and `both`."""

from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import subcommand

from mupi.recipes.transfer.both import both
from mupi.recipes.transfer.config import BothConfig, EvaluateConfig, PretrainConfig
from mupi.recipes.transfer.evaluate import evaluate
from mupi.recipes.transfer.pretrain import pretrain

TransferConfig = PretrainConfig | EvaluateConfig | BothConfig


COMMANDS = {"evaluate": EvaluateConfig, "both": BothConfig}
"""Those that are read as other commands are; `pretrain` is read as `mupi train` is."""


@dataclass(frozen=True)
class Pretrain:
    """Train a network and keep it after every epoch."""


@dataclass(frozen=True)
class Evaluate:
    """Use the features of pretrained networks on another data set, after every epoch that was kept."""


@dataclass(frozen=True)
class Both:
    """Pretrain several models with several seeds by their protocols, and evaluate them."""


def transfer_commands() -> Any:
    """What tyro reads a command line without one of the three as: only to print its help, or what is wrong."""
    return (
        Annotated[Pretrain, subcommand("pretrain")]
        | Annotated[Evaluate, subcommand("evaluate")]
        | Annotated[Both, subcommand("both")]
    )


def transfer(config: TransferConfig) -> None:
    """Do as one of the three says.

    Raises:
        ValueError: See `pretrain`, `evaluate` and `both`.
    """
    match config:
        case PretrainConfig():
            pretrain(config)
        case EvaluateConfig():
            evaluate(config)
        case BothConfig():
            both(config)
