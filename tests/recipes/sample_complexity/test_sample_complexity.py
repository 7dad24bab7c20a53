"""Tasks are what they say, settings see no test row, scores are kept, and the tour learns what it shows."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from mupi.cli import main
from mupi.recipes.sample_complexity.networks import Training, fit_network, fresh, mup_network, pi_network, train
from mupi.recipes.sample_complexity.scores import Point, rows_to
from mupi.recipes.sample_complexity.tasks import TASKS, multi_index, noisy_digits, product_of_signs, staircase
from mupi.recipes.sample_complexity.weighted import importances, weighted_by
from mupi.recipes.tour.looks import principal_plane
from mupi.recipes.tour.widths import distances


def test_no_product_of_fewer_signs_says_anything_about_the_product_of_four():
    x, y = product_of_signs(20_000, np.random.RandomState(0))
    assert set(np.unique(x)) == {-1, 1} and x.shape[1] == 20
    sign = 2 * y - 1
    assert np.array_equal(sign, x[:, 0] * x[:, 1] * x[:, 2] * x[:, 3])
    said = [abs((sign * x[:, list(some)].prod(1)).mean()) for k in (1, 2, 3) for some in combinations(range(6), k)]
    assert max(said) < 4.5 / np.sqrt(len(x))


def test_a_staircase_is_climbed_from_its_first_sign():
    x, y = staircase(20_000, np.random.RandomState(0))
    stairs = np.stack([x[:, : k + 1].prod(1) for k in range(5)], 1)
    assert np.array_equal(y, stairs.sum(1) > 0)
    # A majority of five independent signs: each agrees with it in 11/16.
    assert np.allclose(((stairs > 0) == y[:, None]).mean(0), 11 / 16, atol=0.015)
    assert np.allclose(((x[:, 5:] > 0) == y[:, None]).mean(0), 1 / 2, atol=0.02)


def test_a_multi_index_class_depends_on_three_directions_only():
    n, random = 500, np.random.RandomState(3)
    x, y = multi_index(n, random)
    u, _ = np.linalg.qr(np.random.RandomState(3).standard_normal((30, 3)))
    z = x @ u
    assert np.array_equal(y, z[:, 0] + 2 * z[:, 1] * z[:, 2] > 0)
    assert 0.4 < y.mean() < 0.6


def test_noise_is_independent_of_the_classes_and_pixels_are_not():
    x, y = noisy_digits(1797, np.random.RandomState(0))
    assert x.shape == (1797, 512)
    # F of an analysis of variance of each column by class: about 1 where nothing is said.
    groups = [x[y == digit] for digit in range(10)]
    between = sum(len(g) * (g.mean(0) - x.mean(0)) ** 2 for g in groups) / 9
    within = sum(((g - g.mean(0)) ** 2).sum(0) for g in groups) / (len(x) - 10)
    F = between / np.where(within > 0, within, np.inf)
    assert abs(F[64:].mean() - 1) < 0.1 and F[64:].max() < 5 and np.median(F[:64]) > 20


@pytest.mark.parametrize("name", TASKS)
def test_test_rows_stay_as_training_rows_are_added(name):
    task = TASKS[name]
    few, more = task.split(task.sizes[0], 4), task.split(task.sizes[1], 4)
    assert torch.equal(few.test_y, more.test_y)
    assert torch.equal(few.train_y, more.train_y[: task.sizes[0]])
    assert len(few.test_y) == task.test and abs(float(more.train_x.mean())) < 1e-4
    assert not torch.equal(few.train_y, task.split(task.sizes[0], 5).train_y)


def test_more_rows_than_there_are_are_refused():
    with pytest.raises(ValueError, match=r"must be at most 1,442 for digits; got 1443"):
        TASKS["digits"].split(1443, 0)


def test_the_rate_is_chosen_without_the_test_rows():
    data = TASKS["signs"].split(250, 0)
    how = Training(rates=(1.0, 4.0), steps=5)
    chosen = fit_network(mup_network(8), data, how, 0)
    other = replace(data, test_y=1 - data.test_y, test_x=torch.zeros_like(data.test_x))
    again = fit_network(mup_network(8), other, how, 0)
    assert chosen.value == again.value and chosen.validation == again.validation
    assert torch.equal(chosen.predictor.predict(data.test_x), again.predictor.predict(data.test_x))


def test_the_first_layer_learns_the_four_signs_and_weights_them_for_the_kernel():
    data = TASKS["signs"].split(1000, 0)
    net, generator = fresh(pi_network(), data, 0)
    assert float(importances(net)[:4].sum()) < 0.4
    train(net, data, 4.0, Training(steps=160), generator)
    assert float(importances(net)[:4].sum()) > 0.8 and float(importances(net).sum()) == pytest.approx(1)
    weighted = weighted_by(net, data)
    assert float((weighted.predict(data.test_x).argmax(1) == data.test_y).double().mean()) > 0.95
    plane, share = principal_plane(net, data.test_x[:200])
    kernel = net.feature_kernel(data.test_x[:200], data.test_x[:200]).detach().double()
    assert plane.mean(0).abs().max() < 1e-6 and 0 < share <= 1
    assert float(plane.square().sum()) == pytest.approx(
        share * float((kernel.diagonal() - kernel.mean(0)).sum()), rel=1e-4
    )


def test_wide_networks_are_nearer_to_the_exact_limit_and_constant_memory_nearest(monkeypatch):
    monkeypatch.setattr("mupi.recipes.tour.widths.HOW", Training(steps=12, batch_size=16))
    narrow, wide, constant, exact = distances(TASKS["digits"].split(180, 0), (0,), (32, 2048), lambda said: None)
    assert narrow.distance > 3 * wide.distance > 3 * constant.distance > 0 == exact.distance
    assert narrow.width == 32 and exact.width is None and 0 < exact.accuracy < 1


def test_rows_to_a_level_are_those_from_which_it_is_never_left():
    curve = tuple(Point(rows, mean, None, 0.0) for rows, mean in ((1, 0.99), (2, 0.5), (4, 0.96), (8, 0.97)))
    assert rows_to(0.95, curve) == 4 and rows_to(0.98, curve) is None


def test_scores_are_kept_and_a_second_call_computes_what_is_missing(tmp_path):
    call = f"sample-complexity --names staircase --most-rows 125 --seeds 1 --steps 3 --threads 1 --out {tmp_path}"
    assert main([*call.split(), "--models", "nngp"]) == 0
    first = (tmp_path / "scores.jsonl").read_text()
    assert main([*call.split(), "--models", "nngp", "mup-64"]) == 0
    assert (tmp_path / "scores.jsonl").read_text().startswith(first)
    found = json.loads((tmp_path / "curves.json").read_text())["staircase of 5 of 30 signs"]
    assert list(found) == ["NNGP", "network in μP, n = 64"] and found["NNGP"]["rows"] == [125]
    assert Path(tmp_path / "curves.svg").exists()


def test_too_few_rows_for_a_task_are_refused(capsys):
    assert main(["sample-complexity", "--most-rows", "100"]) == 2
    assert "`--most-rows` must be at least 250" in capsys.readouterr().err
