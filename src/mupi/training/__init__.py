"""Training: `Trainer`, and what a training run leaves on disk, in whole files that one process at a time writes."""

from mupi.training.augmentation import Augmentation
from mupi.training.epoch_record import EpochRecord
from mupi.training.records import columns
from mupi.training.schedule import DropAndAnneal
from mupi.training.trainer import Trainer

__all__ = ["Augmentation", "DropAndAnneal", "EpochRecord", "Trainer", "columns"]
