"""Small batches of ImageNet32's layout, to read instead of the real ones."""

import pickle
from pathlib import Path

import numpy as np

from mupi.data.imagenet32 import TRAIN, VALIDATION

PER_CLASS, CLASSES = 3, 6


def write_batches(directory: Path) -> Path:
    """Write two training files and a validation file with random images."""
    rng = np.random.default_rng(0)
    (directory / "imagenet32").mkdir()
    for name in (*TRAIN[:2], VALIDATION):
        labels = [1 + i % CLASSES for i in range(PER_CLASS * CLASSES)]
        batch = {"data": rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8), "labels": labels}
        (directory / "imagenet32" / name).write_bytes(pickle.dumps(batch, protocol=2))
    return directory
