"""What `mupi train` promises, on runs of a second."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import MuPerceptron, StandardPerceptron
from mupi.commands.train.run import run_folder
from mupi.commands.train.train import line, train
from mupi.features import Atoms, Hermite, RandomFeatures
from mupi.training.epoch_metrics import EpochMetrics

pytestmark = pytest.mark.usefixtures("no_figures")

KINDS: dict[str, dict[str, Any]] = {
    "atoms": dict(features=Atoms()),
    "many atoms": dict(features=Atoms(), train_size=300, batch_size=64, rank=20),
    "hermite": dict(features=Hermite(2, subspace=4)),
    "random": dict(features=RandomFeatures(32)),
    "mup": dict(kind=MuPerceptron, width=32, lr=0.1),
    "standard": dict(kind=StandardPerceptron, width=32, lr=0.1),
    "augmented": dict(flip=True, shift=2, label_smoothing=0.1),
    "annealed": dict(anneal=2),
}
"""One run of each kind of network, one with all that is done to images and labels, and one whose rate falls to 0."""


def numbers(metrics: list[EpochMetrics]) -> list[EpochMetrics]:
    """The metrics without those that depend on the machine."""
    return [replace(m, seconds=0.0, peak_mb=0.0) for m in metrics]


def saved_state(config: TrainConfig) -> dict:
    return torch.load(run_folder(config).checkpoint_path, weights_only=True)["state"]


def assert_same(a: object, b: object) -> None:
    """Bitwise equality of nested states; the time that was taken apart."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert isinstance(b, dict)
        assert a.keys() == b.keys()
        for key in a.keys() - {"seconds"}:
            assert_same(a[key], b[key])
    else:
        assert a == b


@pytest.mark.parametrize(
    "kind, step",
    [
        *((kind, 11) for kind in KINDS),
        *((kind, step) for kind in ("atoms", "augmented") for step in (1, 7)),
        ("many atoms", 9),
    ],
)
def test_a_run_that_is_interrupted_and_resumed_gives_the_same_numbers(
    small: TrainConfig, press_ctrl_c: Callable[[int], None], kind: str, step: int
):
    """In the middle of an epoch, in its first step, and after its last."""
    whole = small.changed(**KINDS[kind], name="whole")
    parted = small.changed(**KINDS[kind], name="parted")
    expected = train(whole)
    press_ctrl_c(step)
    with pytest.raises(KeyboardInterrupt):
        train(parted)
    resumed = train(parted.changed(resume=True))
    assert numbers(resumed) == numbers(expected)
    assert_same(saved_state(parted), saved_state(whole))


def test_more_epochs_of_a_finished_run_are_the_epochs_of_a_longer_one(small):
    expected = train(small.changed(name="long"))
    train(small.changed(epochs=1))
    longer = train(small.changed(epochs=3, resume=True))
    assert numbers(longer) == numbers(expected)


def test_resuming_a_finished_run_changes_nothing(small):
    expected = train(small.changed(epochs=2))
    assert train(small.changed(epochs=2, resume=True)) == expected


def test_ctrl_c_says_how_to_go_on_and_where(small, press_ctrl_c):
    press_ctrl_c(9)
    with pytest.raises(KeyboardInterrupt, match=r"in epoch 2 after 2 steps; .*small` holds.*--resume"):
        train(small)
    assert saved_state(small)["step"] == 2
    assert len(run_folder(small).metrics()) == 1


def test_a_network_that_learns_gets_better_and_the_metrics_say_what_it_costs(small):
    first, last = train(small.changed(features=Atoms(), train_size=500, epochs=2))
    assert last.train_loss < 0.7 * first.train_loss
    assert last.test_accuracy > 0.5
    assert first.atoms == 2 * (500 + 6)  # in each of two layers one an image, and the initial ones
    assert last.atoms == 2 * (1000 + 6)
    assert last.stored_mb > first.stored_mb > 0
    assert last.layer_errors == ()


@pytest.mark.parametrize("network", [MuPerceptron, StandardPerceptron])
def test_a_finite_perceptron_trains_in_the_same_loop(small, network):
    first, last = train(small.changed(kind=network, lr=0.2, clip=None, train_size=500, width=64, epochs=2))
    assert last.train_loss < 0.7 * first.train_loss
    assert last.test_accuracy > 0.6
    assert (last.atoms, last.layer_errors) == (0, ())
    weights = 64 * 64 + 64 * 64 + 10 * 64 + 64 + 64 + 10
    assert last.stored_mb == pytest.approx(4 * weights / 1e6, rel=0.01)


def test_runs_see_the_same_images_in_the_same_order_whether_augmented_or_not(small):
    """What is drawn for the images' views comes from a generator of its own."""
    plain = train(small.changed(epochs=1, flip=False, name="plain"))
    moved = train(small.changed(epochs=1, flip=True, name="moved"))
    a, b = (saved_state(small.changed(name=name))["draws"] for name in ("plain", "moved"))
    assert torch.equal(a["order"], b["order"])
    assert not torch.equal(a["views"], b["views"])
    assert moved[0].train_loss != plain[0].train_loss


def test_gradients_kept_as_factors_change_no_number_beyond_rounding_and_are_resumed(small, press_ctrl_c, monkeypatch):
    plain = train(small.changed(name="plain"))
    monkeypatch.setattr("mupi.commands.train.build.FEWEST_FACTORED_PARAMETERS", 0)
    whole = train(small.changed(name="whole"))
    for a, b in zip(plain, whole, strict=True):
        assert b.train_loss == pytest.approx(a.train_loss, rel=1e-4)
    press_ctrl_c(11)
    with pytest.raises(KeyboardInterrupt):
        train(small.changed(name="parted"))
    assert numbers(train(small.changed(name="parted", resume=True))) == numbers(whole)


def test_hermite_features_report_the_error_of_each_layer_and_stay_as_small(small):
    first, *_, last = train(small.changed(features=Hermite(2)))
    assert [error.layer for error in last.layer_errors] == ["layer 1", "readout"]
    assert all(0 < error.output < 0.1 for error in last.layer_errors)
    assert last.stored_mb == first.stored_mb
    assert last.atoms == 0


def test_features_that_agree_train_alike_since_they_see_the_same_images(small):
    """At full degree 2 Hermite features are near the exact limit, hence the curves are too."""
    exact = train(small.changed(features=Atoms(), name="exact"))
    hermite = train(small.changed(features=Hermite(2), name="hermite"))
    for a, b in zip(exact, hermite, strict=True):
        assert b.train_loss == pytest.approx(a.train_loss, rel=0.05)


def test_the_seed_decides_the_run(small):
    one, same, other = (
        train(small.changed(epochs=1, name=name, seed=seed)) for name, seed in dict(a=1, b=1, c=2).items()
    )
    assert numbers(one) == numbers(same)
    assert numbers(one) != numbers(other)


def test_learning_rate_and_clipping_norm_drop_together_after_the_drop_epoch(small):
    train(small.changed(epochs=2, drop_epoch=2, drop=0.1))
    groups = {group["name"]: group for group in saved_state(small)["optimizer"]["param_groups"]}
    assert groups["hidden"]["lr"] == pytest.approx(0.1 * small.lr)
    assert groups["last"]["lr"] == pytest.approx(0.1 * small.lr * small.lr_last)
    assert all(group["clip"] == pytest.approx(0.1 * small.clip) for group in groups.values())


def test_an_annealed_run_is_not_resumed_beyond_its_end(small):
    annealed = small.changed(epochs=2, anneal=2)
    train(annealed)
    with pytest.raises(ValueError, match="`epochs` must be 2 as in"):
        train(replace(annealed, epochs=3, resume=True))
    with pytest.raises(ValueError, match="`anneal` must be between 0 and all 2 epochs"):
        train(replace(annealed, anneal=3, overwrite=True))


def test_validation_images_take_the_place_of_the_test_images(small):
    (on_validation,) = train(small.changed(epochs=1, validation=50, name="validation"))
    assert (50 * on_validation.test_accuracy) % 1 == pytest.approx(0)
    assert (355 * on_validation.test_accuracy) % 1 != pytest.approx(0)


def make_it_diverge(config: TrainConfig) -> bytes:
    """Change the saved state so that the next step ruins the network; returns the checkpoint."""
    state = saved_state(config)
    for group in state["optimizer"]["param_groups"]:
        group.update(lr=1e30, clip=None)
    run_folder(config).save(state)
    return run_folder(config).checkpoint_path.read_bytes()


@pytest.mark.parametrize("kind", ["atoms", "hermite", "mup"])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(small, kind):
    good = small.changed(**KINDS[kind], epochs=1)
    train(good)
    checkpoint = make_it_diverge(good)
    with pytest.raises(FloatingPointError, match=r"the loss became (nan|inf) in epoch 2, step 2; .*--lr"):
        train(replace(good, epochs=2, resume=True))
    assert run_folder(good).checkpoint_path.read_bytes() == checkpoint
    assert len(run_folder(good).metrics()) == 1


def test_ctrl_c_right_after_the_step_that_ruined_the_network_does_not_save_it(small, press_ctrl_c):
    train(small.changed(epochs=1))
    checkpoint = make_it_diverge(small)
    press_ctrl_c(1)
    with pytest.raises(FloatingPointError, match=r"in epoch 2, step 1"):
        train(small.changed(epochs=2, resume=True))
    assert run_folder(small).checkpoint_path.read_bytes() == checkpoint


def test_a_saved_run_is_not_replaced_unless_asked_to(small):
    train(small.changed(epochs=1))
    with pytest.raises(ValueError, match=r"already holds a run; .*--resume.*--overwrite.*--name"):
        train(small)
    assert len(train(small.changed(epochs=2, overwrite=True))) == 2


def test_smoothed_labels_raise_the_loss_by_their_share_of_the_other_classes(small):
    """(1 − ε) cross-entropy + ε mean over classes of −log p; at a network that is 0 both are log 10."""
    still = small.changed(lr=0.0, readout_init=0.0, epochs=1)
    plain, smoothed = (train(replace(still, name=f"ε{ε}", label_smoothing=ε))[-1] for ε in (0.0, 0.5))
    assert plain.train_loss == pytest.approx(smoothed.train_loss, rel=1e-6)
    learning = [train(small.changed(name=f"{ε}", label_smoothing=ε))[-1] for ε in (0.0, 0.2)]
    assert learning[0].train_loss < learning[1].train_loss


def test_a_device_that_is_not_there_is_refused(small):
    with pytest.raises(
        ValueError, match="`device` must be one that torch has here, such as cpu, to compute on; got 'abacus'"
    ):
        train(small.changed(device="abacus"))


def test_the_line_of_an_epoch_fits_a_screen():
    long = EpochMetrics(
        epoch=99, train_loss=2.3036, train_accuracy=0.9999, test_loss=2.3026, test_accuracy=0.9999,
        seconds=3600.4, stored_mb=12_345.6, peak_mb=20_000.0, atoms=654_321,
    )  # fmt: skip
    assert line(long).endswith("%  3600 s 12346 MB 654k atoms")
    assert len(f"epoch 99/99  {line(long)}") == 80
    assert line(replace(long, seconds=0.04, stored_mb=1.25, atoms=88)).endswith("%  0.0 s 1.2 MB 88 atoms")
    assert line(replace(long, atoms=0)).endswith(" MB")
