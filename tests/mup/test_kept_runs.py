"""What `transfer_check` and `forecast` keep of their runs: after Ctrl-C nothing that ended is lost or run again."""

import json
import math

import pytest
import torch
from torch import nn

from mupi.mup.forecast import curves
from mupi.mup.kept_runs import RUNS, kept_runs
from mupi.mup.sweep import batches, stretches
from mupi.mup.transfer_check import sweep_rates, transfer_check

RATES = (0.05, 0.1, 0.2)
X = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
Y = X[:, :1].sin() + 0.1


def make_model(width):
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))


def make_optimizer(model, rate):
    return torch.optim.SGD(model.parameters(), lr=rate)


def check(directory=None, make=make_model, **change):
    known = dict(
        rates=RATES, loss=nn.functional.mse_loss, steps=6, batch_size=8, seeds=2, make_optimizer=make_optimizer
    )
    return transfer_check(make, [4, 8], X, Y, directory=directory, **{**known, **change})


def test_after_an_interrupt_the_same_call_trains_what_is_missing(tmp_path):
    whole = check().losses
    calls = []

    def interrupted(model, rate):
        calls.append(rate)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return make_optimizer(model, rate)

    interrupted.__qualname__ = make_optimizer.__qualname__
    with pytest.raises(KeyboardInterrupt):
        check(tmp_path, make_optimizer=interrupted)
    # The first call is of the losses by which the folder knows the model.
    assert len((tmp_path / RUNS).read_text().splitlines()) == 4
    calls[:] = range(10)
    assert (check(tmp_path, make_optimizer=interrupted).losses == whole).all()
    assert len(calls) - 10 == 1 + 12 - 4
    assert (check(tmp_path).losses == whole).all()


def test_more_seeds_and_widths_keep_what_there_is(tmp_path):
    few = check(tmp_path).losses
    kept = (tmp_path / RUNS).read_text()
    more = check(tmp_path, seeds=3).losses
    assert (more[..., :2] == few).all()
    assert (tmp_path / RUNS).read_text().startswith(kept)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(steps=7), r"`transfer_check\(steps=\.\.\.\)` must be of steps = 6"),
        (dict(batch_size=4), r"`transfer_check\(batch_size=\.\.\.\)`"),
        (dict(loss=nn.functional.l1_loss), r"`transfer_check\(loss=\.\.\.\)`"),
    ],
)
def test_a_folder_of_other_settings_is_refused(tmp_path, change, said):
    check(tmp_path)
    with pytest.raises(ValueError, match=said):
        check(tmp_path, **change)


def test_a_folder_knows_a_model_of_the_same_name_that_does_another_thing(tmp_path):
    check(tmp_path)

    def other(width):
        return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 1))

    other.__qualname__ = make_model.__qualname__
    with pytest.raises(ValueError, match=r"of runs of this model, which begin with the losses .* begin with"):
        check(tmp_path, make=other)


def test_divergence_is_kept_as_such(tmp_path):
    with kept_runs(tmp_path, {}, None, "f") as runs:
        assert runs.losses(4, 0.1, 0, lambda: [1.0, math.nan]) == [1.0, math.inf]
    with kept_runs(tmp_path, {}, None, "f") as runs:
        assert runs.losses(4, 0.1, 0, lambda: pytest.fail("trained again")) == [1.0, math.inf]
    line = json.loads((tmp_path / RUNS).read_text())
    assert line["losses"] == [1.0, None]


def test_a_damaged_folder_is_one_line(tmp_path):
    check(tmp_path)
    path = tmp_path / RUNS
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(ValueError, match="is damaged or of another version; choose another directory"):
        check(tmp_path)


def test_runs_do_not_depend_on_which_were_run_before_and_leave_the_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    found = check()
    assert torch.equal(torch.rand(1), expected)
    alone = transfer_check(
        make_model, [8, 16], X, Y, rates=RATES, loss=nn.functional.mse_loss, steps=6, batch_size=8, seeds=1,
        make_optimizer=make_optimizer,
    )  # fmt: skip
    assert (found.losses[1, :, 0] == alone.losses[0, :, 0]).all()


def test_training_that_diverges_is_an_infinite_loss():
    losses = check(rates=(0.1, 0.2, 1e4), steps=40).losses
    assert (losses[:, 2] == math.inf).all() and (losses[:, :2] < 10).all()


def test_the_loss_of_a_run_is_its_last_tenth_or_that_of_test_inputs():
    model_losses = []

    def recorded(f, y):
        model_losses.append(float(nn.functional.mse_loss(f, y).detach()))
        return nn.functional.mse_loss(f, y)

    found = check(steps=20, seeds=1, loss=recorded).losses
    assert found[0, 0, 0] == pytest.approx(sum(model_losses[18:20]) / 2)
    tested = check(steps=20, seeds=1, loss=recorded, test=(X[:5], Y[:5])).losses
    assert tested[1, 2, 0] == pytest.approx(model_losses[-1])


def test_batches_go_through_all_inputs_and_are_of_one_size():
    sets = list(batches(10, 3, 6, 0))
    assert all(len(b) == 3 for b in sets)
    assert len(torch.cat(sets[:3]).unique()) == 9
    assert [b.tolist() for b in batches(10, 3, 6, 0)] == [b.tolist() for b in sets]
    assert len(next(batches(2, 5, 1, 0))) == 2


def test_stretches_are_means_of_all_steps():
    assert stretches([1.0, 2.0, 3.0, 4.0, 5.0], 2) == [1.5, 4.0]
    assert stretches([1.0, 2.0, 3.0], 3) == [1, 2, 3]


def test_curves_of_all_widths_have_the_same_batches(tmp_path):
    seen = []

    def recorded(f, y):
        seen.append(y.flatten().tolist())
        return nn.functional.mse_loss(f, y)

    known = dict(lr=0.1, base_width=4, seeds=range(2), loss=recorded, steps=5, batch_size=4, points=5)
    found = curves(make_model, [4, 8], X, Y, make_optimizer=make_optimizer, directory=tmp_path, **known)
    assert found.shape == (2, 2, 5)
    runs = [seen[i : i + 5] for i in range(2, len(seen), 5)]
    assert len(runs) == 4 and all(run == runs[0] for run in runs)
    again = curves(make_model, [8], X, Y, make_optimizer=make_optimizer, **known)
    assert (again[0] == found[1]).all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: check(make=make_model(4)), r"`transfer_check\(make_model, \.\.\.\)`.*Sequential"),
        (lambda: check(rates=(0.1, 0.2)), r"`transfer_check\(rates=\.\.\.\)`.*three"),
        (lambda: check(rates=(-0.1, 0.1, 0.2)), r"`transfer_check\(rates=\.\.\.\)`.*positive"),
        (lambda: check(seeds=0), r"`transfer_check\(seeds=\.\.\.\)`"),
        (lambda: check(steps=0), r"steps"),
        (lambda: check(momentum=0.9), r"`transfer_check\(make_optimizer=\.\.\.\)`.*given alone"),
        (lambda: sweep_rates(lambda n, r, s: 1.0, [4], RATES), r"`sweep_rates\(widths=\.\.\.\)`.*two"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, said):
    with pytest.raises(ValueError, match=said):
        call()
