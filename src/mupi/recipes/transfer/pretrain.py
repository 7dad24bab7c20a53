"""`mupi transfer pretrain`: training as `mupi train` does it, with the network of every epoch kept."""

from dataclasses import replace

from mupi.commands.train.config import TrainConfig
from mupi.commands.train.train import train
from mupi.recipes.transfer.config import PretrainConfig
from mupi.recipes.transfer.results_by_epoch import of_classes
from mupi.training.epoch_metrics import EpochMetrics


def pretrain(config: PretrainConfig) -> list[EpochMetrics]:
    """Train, keep every epoch, draw the figures.

    Returns:
        The metrics of all epochs.

    Raises:
        ValueError: See `mupi.commands.train.train.train_network`.
        FloatingPointError: If training diverged.
        KeyboardInterrupt: After Ctrl-C, once the state is saved.
    """
    metrics = [m for m in train(pretraining(config.training)) if isinstance(m, EpochMetrics)]
    print(f"{config.training.directory}: test accuracy {metrics[-1].test_accuracy:.2%} after epoch {metrics[-1].epoch}")
    return metrics


def pretraining(config: TrainConfig) -> TrainConfig:
    """The training run, whose epochs are kept.

    Raises:
        ValueError: If it is on a user's file.
    """
    of_classes(config)
    return replace(config, keep_epochs=True)
