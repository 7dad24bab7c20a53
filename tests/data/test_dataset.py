import pytest
import torch

from mupi.data import Dataset, load, load_digits


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(x: torch.Tensor) -> set[tuple[float, ...]]:
    return set(map(tuple, x.tolist()))


def test_digits_are_standardized_and_split_evenly_over_classes(digits):
    assert digits.train_x.shape == (1442, 64)
    assert digits.test_x.shape == (355, 64)
    assert digits.train_x.dtype == torch.float32
    assert abs(digits.train_x.mean()) < 1e-6
    assert abs(digits.train_x.std() - 1) < 1e-6
    share = digits.test_y.bincount() / (digits.train_y.bincount() + digits.test_y.bincount())
    assert ((share - 0.2).abs() < 0.006).all()


def test_digits_of_the_test_part_are_not_in_the_training_part(digits):
    assert not rows(digits.train_x) & rows(digits.test_x)


def test_take_draws_distinct_training_images_and_leaves_the_test_images(digits):
    small = digits.take(100, generator())
    assert len(small.train_x) == len(small.train_y) == 100
    assert len(rows(small.train_x)) == 100
    assert rows(small.train_x) <= rows(digits.train_x)
    assert small.test_x is digits.test_x


def test_take_is_decided_by_the_generator(digits):
    assert torch.equal(digits.take(50, generator(1)).train_x, digits.take(50, generator(1)).train_x)
    assert not torch.equal(digits.take(50, generator(1)).train_x, digits.take(50, generator(2)).train_x)


def test_a_validation_split_holds_no_test_image_and_parts_the_training_images(digits):
    tuning = digits.split_validation(300, generator())
    assert len(tuning.test_x) == 300
    assert rows(tuning.train_x) | rows(tuning.test_x) == rows(digits.train_x)
    assert len(tuning.train_x) + len(tuning.test_x) == len(digits.train_x)
    assert not rows(tuning.test_x) & rows(digits.test_x)


def test_labels_stay_with_their_images(digits):
    label = dict(zip(map(tuple, digits.train_x.tolist()), digits.train_y.tolist(), strict=True))
    tuning = digits.split_validation(200, generator()).take(300, generator())
    for x, y in ((tuning.train_x, tuning.train_y), (tuning.test_x, tuning.test_y)):
        assert [label[tuple(row)] for row in x.tolist()] == y.tolist()


@pytest.mark.parametrize("n", [0, 1443])
def test_more_training_images_than_there_are_is_refused(digits, n):
    with pytest.raises(ValueError, match=rf"`train_size` must be between 1 and 1442.*digits; got {n}"):
        digits.take(n, generator())


@pytest.mark.parametrize("n", [0, 1442])
def test_a_validation_split_must_leave_training_images(digits, n):
    with pytest.raises(ValueError, match=rf"`validation` must be between 1 and 1441.*; got {n}"):
        digits.split_validation(n, generator())


def test_an_unknown_data_set_is_refused_by_naming_the_known_ones():
    with pytest.raises(ValueError, match="`dataset` must be digits or cifar10 or .*; got 'mnist'"):
        load("mnist")


def test_classes_are_drawn_and_numbered_anew_in_their_order(digits):
    some, again = (digits.keep_classes(3, generator(2)) for _ in range(2))
    assert some.classes == again.classes == tuple(sorted(some.classes))
    assert len(some.classes) == 3
    for x, y in ((some.train_x, some.train_y), (some.test_x, some.test_y)):
        assert set(y.tolist()) == {0, 1, 2}
        assert rows(x) <= rows(torch.cat([digits.train_x, digits.test_x]))
    first = int(some.classes[0])
    assert rows(some.train_x[some.train_y == 0]) == rows(digits.train_x[digits.train_y == first])


@pytest.mark.parametrize("n", [0, 11])
def test_more_classes_than_there_are_is_refused(digits, n):
    with pytest.raises(ValueError, match=f"`classes` must be between 1 and 10, the classes of digits; got {n}"):
        digits.keep_classes(n, generator())


def test_only_imagenet32_comes_in_files():
    with pytest.raises(ValueError, match="`files` must be left out for digits.*got 3"):
        load("digits", files=3)
