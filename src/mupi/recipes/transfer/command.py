"""`mupi transfer pretrain`, `evaluate` and `both`."""

from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import subcommand

from mupi.recipes.transfer.both import both
from mupi.recipes.transfer.config import BothConfig, EvaluateConfig, PretrainConfig
from mupi.recipes.transfer.evaluate import evaluate
from mupi.recipes.transfer.pretrain import pretrain

TransferConfig = PretrainConfig | EvaluateConfig | BothConfig


@dataclass(frozen=True)
class Pretrain:
    """Train a network and keep it after every epoch."""


def transfer_commands() -> Any:
    """The type that the command line is read as, but for that of `mupi transfer pretrain`, which has its own reader."""
    return (
        Annotated[Pretrain, subcommand("pretrain")]
        | Annotated[EvaluateConfig, subcommand("evaluate")]
        | Annotated[BothConfig, subcommand("both")]
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
