"""`mupi transfer pretrain`, `evaluate` and `both`."""

from typing import Annotated, Any

from tyro.conf import subcommand

from mupi.commands.train.config import TrainConfig
from mupi.recipes.transfer.both import both
from mupi.recipes.transfer.config import BothConfig, EvaluateConfig, Model, PretrainConfig
from mupi.recipes.transfer.evaluate import evaluate
from mupi.recipes.transfer.pretrain import pretrain

TransferConfig = PretrainConfig | EvaluateConfig | BothConfig


def transfer_commands(model: Model, protocol: TrainConfig) -> Any:
    """The type that the command line is read as.

    Args:
        model: Of `mupi transfer pretrain`, if it is not named.
        protocol: The defaults of its other options.
    """
    default = PretrainConfig(model=model, training=protocol)
    return (
        Annotated[PretrainConfig, subcommand("pretrain", default=default)]
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
