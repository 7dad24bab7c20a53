"""The pieces of an evaluation: what is used of a network, the probe, the readout, the gain."""

import weakref

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from assertions import assert_close
from cases import randn, seeded
from mupi.commands.train.networks import MuConvolutional, MuPerceptron, PiConvolutional
from mupi.commands.train.restore import restore_epoch
from mupi.commands.train.train import train_network
from mupi.data import load_digits
from mupi.features import Hermite, RandomFeatures
from mupi.kernels import NotPositiveDefiniteError
from mupi.nets import CENTERED
from mupi.recipes.comparison.choice import choose
from mupi.recipes.transfer.logistic_probe import LogisticProbe
from mupi.recipes.transfer.readout import Readout, new_head, train_readout
from mupi.recipes.transfer.representation import Representation
from mupi.recipes.transfer.score import Score, pack
from mupi.statistics import Gain

DATA = load_digits().take(100, seeded())
KINDS = {
    "hermite": dict(features=Hermite(2, subspace=4)),
    "random": dict(features=RandomFeatures(32)),
    "mup": dict(kind=MuPerceptron, width=32, lr=0.1),
    "cnn": dict(kind=PiConvolutional, activation=CENTERED),
    "random cnn": dict(kind=PiConvolutional, features=RandomFeatures(32), activation=CENTERED),
    "mup cnn": dict(kind=MuConvolutional, width=32, activation=CENTERED, lr=0.5),
}


@pytest.fixture(params=KINDS)
def pretrained(request, small, no_figures):
    run = small.changed(**KINDS[request.param], keep_epochs=True, epochs=1)
    train_network(run)
    return Representation.after(run, 1, DATA)


def test_the_last_layer_and_the_neurons_are_those_that_the_feature_kernel_is_made_of(pretrained):
    net, x = pretrained.net, DATA.train_x
    expected = net.feature_kernel(x, x).detach()
    _, kernel, data = pretrained.regression(unit_norm=False, double=False)
    assert_close(kernel(data.train_x, data.train_x), expected, rtol=1e-4)
    _, cosine, data = pretrained.regression(unit_norm=True, double=True)
    scale = expected.diagonal().rsqrt()
    assert_close(cosine(data.train_x, data.train_x), expected * scale[:, None] * scale, rtol=1e-4)
    assert cosine(data.train_x, data.train_x).dtype == torch.float64
    probed = pretrained.probed().train_x
    projected, network = pretrained.config.features is not None, pretrained.config.network
    assert probed.shape[1] == (6 if projected else network.width)
    hidden = net.hidden(x)[-1].detach()
    if isinstance(network, PiConvolutional | MuConvolutional):
        averaged = hidden.mean((1, 2)) if projected else net.readout.features(hidden)
        assert_close(probed, averaged)


def test_the_readout_of_the_same_classes_starts_as_the_trained_one(pretrained):
    head = Readout(new_head(pretrained), pretrained.shape)
    assert_close(head.predict(pretrained.layer.test_x), pretrained.net(DATA.test_x).detach())


def test_a_readout_of_other_classes_starts_at_0_reads_the_same_neurons_and_learns(pretrained):
    few = load_digits().keep_classes(4, seeded(1))
    other = Representation.after(pretrained.config, 1, few)
    head = new_head(other)
    assert torch.equal(Readout(head, other.shape).predict(other.layer.test_x), torch.zeros(len(few.test_x), 4))
    if isinstance(pretrained.config.features, RandomFeatures):
        assert torch.equal(head.readout.weight.omega, other.net.readout.weight.omega)
    steps = []
    readout = train_readout(other, other.layer, rate=0.5, epochs=8, batch_size=16, after_steps=steps.append)
    assert sum(steps) == 8 * -(-len(few.train_x) // 16)
    assert (readout.predict(other.layer.test_x).argmax(1) == few.test_y).double().mean() > 0.6
    again, _ = restore_epoch(pretrained.config, 1)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), pretrained.net.parameters(), strict=True))


def test_the_probe_is_the_logistic_regression_of_scikit_learn():
    x, y = DATA.train_x.double(), DATA.train_y
    penalty = 1e-2
    probe = LogisticProbe(penalty, 10).fit(x, y)
    std = x.std(0, correction=0)
    standardized = ((x - x.mean(0)) / torch.where(std > 0, std, 1.0)).numpy()
    expected = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-8, max_iter=5000).fit(standardized, y.numpy())
    assert_close(probe.weight, torch.from_numpy(expected.coef_), rtol=1e-3)


class Constant:
    """Gives one answer to every image."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, X):
        return torch.nn.functional.one_hot(torch.full((len(X),), self.answer), 10)


def test_a_choice_is_the_best_on_validation_and_passes_over_what_cannot_be_fitted():
    part = DATA.split_validation(30, seeded(2)).take(60, seeded(3))

    def fit(value, data):
        if value == 7 or (value == best and len(data.train_x) == 100):
            raise NotPositiveDefiniteError("too small")
        if value == 8:
            raise FloatingPointError("diverged")
        return Constant(int(value))

    counts = part.test_y.bincount(minlength=10)[:7]
    best, second = (int(i) for i in counts.sort(descending=True, stable=True).indices[:2])
    chosen = choose([float(i) for i in range(9)], fit, DATA, part)
    assert set(chosen.validation) == set(range(7))
    assert chosen.value == second, "the best cannot be fitted to all"
    with pytest.raises(FloatingPointError, match="diverged"):
        choose([7.0, 8.0], fit, DATA, part)
    with pytest.raises(ValueError, match="values"):
        choose([], fit, DATA, part)


@pytest.mark.parametrize("size", [60, 100], ids=["some images", "all images"])
def test_a_choice_keeps_nothing_of_what_could_not_be_fitted(size):
    part = DATA.split_validation(30, seeded(2)).take(60, seeded(3))
    matrices = []

    def fit(value, data):
        if len(data.train_x) != size:
            return Constant(int(value))
        assert all(matrix() is None for matrix in matrices), "freed before the next is made"
        matrix = torch.eye(3)
        matrices.append(weakref.ref(matrix))
        raise NotPositiveDefiniteError(f"{value} is too small for {matrix.dtype}")

    with pytest.raises(NotPositiveDefiniteError, match="2.0 is too small"):
        choose([1.0, 2.0], fit, DATA, part)
    assert len(matrices) == 2


def test_the_gain_has_the_interval_of_paired_differences():
    better, worse = (randn(2, 400, seed=s).gt(t).int().numpy() for s, t in ((0, -0.5), (1, 0.0)))
    gain = Gain.of(list(better), list(worse))
    d = (better - worse).mean(0)
    assert gain.mean == pytest.approx(d.mean())
    assert gain.over_images == pytest.approx(1.96 * d.std(ddof=1) / 20)
    assert gain.by_seed == pytest.approx(tuple((better - worse).mean(1)))
    assert gain.over_seeds == pytest.approx(12.706 * np.std(gain.by_seed, ddof=1) / 2**0.5, rel=1e-4)
    alone = Gain.of(list(better), [worse[0]])
    assert alone.by_seed == pytest.approx(tuple((better - worse[0]).mean(1)))
    assert Gain.of([better[0]], [worse[0]]).over_seeds is None
    assert str(Gain(0.0123, 0.004, (0.0123,))) == "+1.23 ± 0.40"


def test_a_score_survives_json():
    right = randn(13).gt(0)
    score = Score(value=1e-4, validation={1e-4: 0.5}, answers=pack(right), images=13, seconds=1.0, peak_mb=2.0)
    assert torch.equal(torch.from_numpy(score.right.copy()).bool(), right)
    assert score.accuracy == pytest.approx(float(right.double().mean()))
    found = {**score.to_json(), "validation": {"0.0001": 0.5}}
    assert Score.from_json(found) == score
