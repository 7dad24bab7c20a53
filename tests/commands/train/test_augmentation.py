"""Views of training images: each is a mirrored and moved copy, drawn anew in every epoch."""

import pytest
import torch

from assertions import assert_equal
from cases import randn, seeded
from mupi.training.augmentation import Augmentation, Views

SHAPE = (3, 5, 4)
IMAGES = 60


def moved(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Pixel by pixel."""
    out = torch.zeros_like(image)
    for i in range(SHAPE[1]):
        for j in range(SHAPE[2]):
            if 0 <= i - down < SHAPE[1] and 0 <= j - right < SHAPE[2]:
                out[:, i, j] = image[:, i - down, j - right]
    return out


def test_a_view_is_the_image_moved_and_then_mirrored():
    views = Augmentation(True, 2, SHAPE).draw(IMAGES, seeded())
    x, batch = randn(IMAGES, 60), torch.tensor([7, 3, 58, 12, 44, 7])
    seen = views(x[batch], batch)
    for row, number in zip(seen, batch.tolist(), strict=True):
        expected = moved(x[number].reshape(SHAPE), *views.offsets[number].tolist())
        assert_equal(row.reshape(SHAPE), expected.flip(2) if views.flipped[number] else expected)


def test_every_shift_and_both_orientations_come_up():
    views = Augmentation(True, 2, SHAPE).draw(4000, seeded())
    for direction in views.offsets.unbind(1):
        counts = torch.bincount(direction + 2, minlength=5)
        assert len(counts) == 5
        assert (counts - 800).abs().max() < 150
    assert abs(int(views.flipped.sum()) - 2000) < 150


def test_epochs_differ_and_are_drawn_from_the_generator_alone():
    augmentation, generator = Augmentation(True, 1, SHAPE), seeded()
    first, second, again = (augmentation.draw(IMAGES, g) for g in (generator, generator, seeded()))
    assert not torch.equal(first.offsets, second.offsets)
    assert_equal(first.offsets, again.offsets)
    assert_equal(first.flipped, again.flipped)


@pytest.mark.parametrize("flip, shift", [(True, 0), (False, 3)])
def test_either_can_be_left_out(flip, shift):
    views = Augmentation(flip, shift, SHAPE).draw(IMAGES, seeded())
    assert bool(views.flipped.any()) is flip
    assert bool(views.offsets.any()) is bool(shift)


def test_without_augmentation_images_pass_as_they_are():
    views: Views = Augmentation(False, 0, SHAPE).draw(IMAGES, seeded())
    x = randn(2, 60)
    assert views(x, torch.tensor([0, 1])) is x
