import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cases import seeded
from imagenet32_batches import CLASSES, PER_CLASS, write_batches
from mupi.data.imagenet32 import MEAN, STD, TRAIN, VALIDATION, load_imagenet32


@pytest.fixture
def folder(tmp_path):
    """Two training files and a validation file in the official layout, with random images."""
    return write_batches(tmp_path)


def test_all_images_are_there_normalized_and_numbered_from_zero(folder):
    data = load_imagenet32(folder, n_classes=None, batches=2)
    assert data.train_x.shape == (2 * PER_CLASS * CLASSES, 3072) and data.test_x.shape == (PER_CLASS * CLASSES, 3072)
    assert data.train_y.bincount().tolist() == [2 * PER_CLASS] * CLASSES
    raw = pickle.loads((folder / "imagenet32" / VALIDATION).read_bytes())["data"][5].reshape(3, 1024) / 255
    expected = (raw - np.array(MEAN)[:, None]) / np.array(STD)[:, None]
    np.testing.assert_allclose(data.test_x[5].reshape(3, 1024).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_subset_of_classes_is_the_same_for_one_seed_and_consistent_in_both_parts(folder):
    data = load_imagenet32(folder, n_classes=2, batches=1, generator=seeded(3))
    again = load_imagenet32(folder, n_classes=2, batches=1, generator=seeded(3))
    assert data.classes == again.classes and len(data.classes) == 2
    everything = load_imagenet32(folder, n_classes=None, batches=1)
    for x, y, all_x, all_y in (
        (data.train_x, data.train_y, everything.train_x, everything.train_y),
        (data.test_x, data.test_y, everything.test_x, everything.test_y),
    ):
        assert len(x) == PER_CLASS * 2
        for image, label in zip(x, y, strict=True):
            (place,) = (all_x == image).all(1).nonzero()[:, 0]
            assert str(int(all_y[place]) + 1) == data.classes[int(label)]


def test_a_missing_file_says_which_and_how_to_get_it(folder):
    with pytest.raises(FileNotFoundError, match=f"{TRAIN[2]}.* is missing.*image-net.org.*MUPI_DATA"):
        load_imagenet32(folder, batches=3)


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"data": [1]}), pickle.dumps(Path("x"))])
def test_a_damaged_file_says_so(folder, content):
    (folder / "imagenet32" / TRAIN[0]).write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        load_imagenet32(folder, batches=1, n_classes=2)


def test_pixels_of_another_shape_are_damage(folder):
    batch = {"data": np.zeros((4, 12288), dtype=np.uint8), "labels": [1, 2, 3, 4]}
    (folder / "imagenet32" / TRAIN[0]).write_bytes(pickle.dumps(batch))
    with pytest.raises(ValueError, match=r"damaged.*\(4, 12288\)"):
        load_imagenet32(folder, batches=1, n_classes=2)


@pytest.mark.parametrize(
    "wrong, word", [(dict(n_classes=7), "6"), (dict(n_classes=0), "n_classes"), (dict(batches=11), "10")]
)
def test_bad_arguments_are_named(folder, wrong, word):
    with pytest.raises(ValueError, match=word):
        load_imagenet32(folder, **{"batches": 2, **wrong})


@pytest.mark.skipif(
    not Path(os.environ.get("MUPI_DATA", "/nonexistent"), "imagenet32").is_dir(),
    reason="needs ImageNet32: set $MUPI_DATA to a directory with imagenet32",
)
def test_the_files_at_hand_are_read():
    data = load_imagenet32(Path(os.environ["MUPI_DATA"]), n_classes=20, generator=torch.Generator().manual_seed(0))
    assert len(data.classes) == 20
    assert data.train_y.bincount().min() > 0
    assert abs(float(data.train_x.mean())) < 0.5
