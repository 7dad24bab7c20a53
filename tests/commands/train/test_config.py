from dataclasses import replace
from pathlib import Path

import pytest

from mupi.activations import Activation
from mupi.commands.train.config import ACTIVATIONS
from mupi.commands.train.presets import CIFAR10, DIGITS
from mupi.features import Atoms, Hermite, RandomFeatures


def test_the_cifar10_protocol_is_that_of_the_paper():
    """Yang, Santacroce & Hu (2022), π-limit on CIFAR-10."""
    c = CIFAR10
    assert (c.rank, c.depth, c.batch_size, c.epochs) == (400, 2, 8, 50)
    assert (c.lr, c.lr_first, c.lr_last, c.lr_bias) == (1.0, 0.1, 4.0, 0.5)
    assert (c.input_scale, c.output_scale, c.bias_scale, c.readout_init) == (1.0, 0.5, 0.5, 1.0)
    assert (c.clip, c.weight_decay, c.momentum) == (0.4, 1e-5, 0.0)
    assert (c.drop_epoch, c.drop, c.activation) == (40, 0.15, "relu")


def test_features_are_chosen_by_name():
    assert replace(DIGITS, features="atoms").feature_map == Atoms()
    assert replace(DIGITS, features="hermite", degree=3, subspace=5).feature_map == Hermite(3, subspace=5)
    high = replace(DIGITS, features="hermite", degree=4, subspace=5, subspace_high=3)
    assert high.feature_map == Hermite(4, subspace={2: 5, 3: 3, 4: 3})
    assert replace(high, subspace=None).feature_map == Hermite(4, subspace={2: DIGITS.rank, 3: 3, 4: 3})
    assert replace(DIGITS, features="random", width=99).feature_map == RandomFeatures(99)


def test_every_activation_can_be_chosen():
    assert all(isinstance(φ, Activation) for φ in ACTIVATIONS.values())


@pytest.mark.parametrize(
    "field, value",
    [
        ("lr", -1.0),
        ("batch_size", 0),
        ("epochs", 0),
        ("rank", 0),
        ("width", 0),
        ("shift", -1),
        ("drop", float("nan")),
        ("label_smoothing", 2.0),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"`{field}` must be .*; got {value}"):
        replace(DIGITS, **{field: value}).check()


def test_resume_and_overwrite_exclude_each_other():
    with pytest.raises(ValueError, match="`resume` must be without overwrite"):
        replace(DIGITS, resume=True, overwrite=True).check()


def test_a_run_is_named_after_what_it_trains_unless_it_has_a_name():
    assert replace(DIGITS, features="atoms").directory == Path("runs/digits-atoms-r64-seed0")
    high = replace(DIGITS, features="hermite", degree=4, subspace=5, subspace_high=3)
    assert high.feature_map == Hermite(4, subspace={2: 5, 3: 3, 4: 3})
    assert replace(high, subspace=None).feature_map == Hermite(4, subspace={2: DIGITS.rank, 3: 3, 4: 3})
    assert replace(DIGITS, features="random", width=99).directory == Path("runs/digits-random-r64-n99-seed0")
    assert replace(DIGITS, network="mup", width=99).directory == Path("runs/digits-mup-n99-seed0")
    assert replace(DIGITS, name="mine").directory == Path("runs/mine")
