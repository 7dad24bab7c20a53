"""Handwritten digits: 1,797 images of 8×8 pixels that ship inside scikit-learn.

They are the test part of the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998).
"""

import numpy as np
import torch

from mupi.data.dataset import Dataset, Pixels
from mupi.extras import require

TEST_EVERY = 5


def load_digits() -> Dataset:
    """Return the digits, 1,442 to train and 355 to test.

    Of each class every fifth image in the file's order is a test image: the split is stratified, and needs no
    random numbers that another version might draw differently. The same writers are in both parts. Pixels are
    standardised by one mean and one standard deviation, those of the training images.
    """
    require("sklearn", "digits")
    from sklearn.datasets import load_digits as sklearn_digits

    pixels, labels = sklearn_digits(return_X_y=True)
    is_test = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        is_test[np.flatnonzero(labels == digit)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    x = torch.from_numpy(pixels)
    y = torch.from_numpy(labels).long()
    test = torch.from_numpy(is_test)
    mean, std = x[~test].mean(), x[~test].std()
    x = ((x - mean) / std).float()
    return Dataset(
        name="digits",
        train_x=x[~test],
        train_y=y[~test],
        test_x=x[test],
        test_y=y[test],
        image_shape=(1, 8, 8),
        classes=tuple("0123456789"),
        pixels=Pixels((float(mean),), (float(std),), largest=16),
    )
