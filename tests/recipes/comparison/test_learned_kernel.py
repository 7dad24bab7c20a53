import pytest
import torch

from assertions import assert_close
from cases import seeded
from mupi import Hermite, KernelRegression, PiMLP
from mupi.data import load
from mupi.recipes.comparison.learned_kernel import label_alignment, last_hidden, score_learned_kernel

DATA = load("digits").take(300, seeded())


@pytest.fixture(scope="module")
def net():
    return PiMLP(64, 10, rank=16, depth=2, features=Hermite(2), generator=seeded(1))


def test_the_chosen_ridge_is_the_best_on_validation_and_its_score_that_of_a_regression_on_the_feature_kernel(net):
    score = score_learned_kernel(
        net, DATA, generator=seeded(2), ridges=(1e-6, 1e-2, 100.0), fit_size=150, validation_size=100
    )
    assert score.validation[score.ridge] == max(score.validation.values())
    kernel = net.readout.weight.feature_kernel
    g, h = net.hidden(DATA.train_x)[-1].detach(), net.hidden(DATA.test_x)[-1].detach()
    expected = KernelRegression(kernel, score.ridge).fit(g, DATA.train_y).score(h, DATA.test_y)
    assert score.test_accuracy == pytest.approx(expected, abs=2 / len(h))
    assert score.test_accuracy > 0.8  # ten classes: untrained features do this too
    assert 0 < score.alignment < 1


def test_last_hidden_is_that_of_the_network_and_leaves_its_mode_and_buffers_alone(net):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    assert_close(last_hidden(net, DATA.test_x[:30]), net.eval().hidden(DATA.test_x[:30])[-1])
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_kernel_of_the_labels_themselves_is_aligned_with_them():
    y = torch.nn.functional.one_hot(DATA.train_y).double()
    assert label_alignment(y @ y.T, DATA.train_y) == pytest.approx(1)


@pytest.mark.parametrize("wrong, word", [(dict(ridges=()), "ridges"), (dict(fit_size=299), "fit_size")])
def test_bad_arguments_are_named(net, wrong, word):
    with pytest.raises(ValueError, match=word):
        score_learned_kernel(net, DATA, generator=seeded(), **wrong)
