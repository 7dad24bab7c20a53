"""π-limits as estimators: they find the columns that matter, where kernels cannot, and lose nothing elsewhere."""

import pickle
from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError

from mupi.activations import NormalizedPolynomial
from mupi.estimators import NTKClassifier, PiClassifier, PiRegressor
from mupi.estimators.held_out import average, mixture, parts
from mupi.estimators.importances import gradient_outer_product
from mupi.estimators.metric_machine import RIDGES, fit_metric_machine, held_out_by_ridge, metric_root
from mupi.estimators.table import Table
from mupi.nets import NTK


def test_five_columns_of_fifty_are_found():
    X = np.random.RandomState(0).rand(400, 50)
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 10 * X[:, 2] + 10 * X[:, 3] + 5 * X[:, 4]
    model = PiRegressor(rank=16, networks=2, steps=200, kernels=False, random_state=0).fit(X, y)
    assert set(np.argsort(-model.feature_importances_)[:5]) == set(range(5))
    assert model.feature_importances_.sum() == pytest.approx(1)


@pytest.mark.slow
def test_columns_that_matter_together_are_found_which_a_kernel_has_no_means_for():
    X = np.random.RandomState(0).standard_normal((900, 20))
    y = X[:, 0] * X[:, 1] > 0
    model = PiClassifier(rank=16, networks=2, steps=400, random_state=0).fit(X[:400], y[:400])
    kernel = NTKClassifier().fit(X[:400], y[:400])
    assert model.score(X[400:], y[400:]) > kernel.score(X[400:], y[400:]) + 0.1
    assert model.feature_importances_[:2].sum() > 0.7


@pytest.mark.slow
def test_a_product_of_four_signs_is_learned_by_features_only():
    X = np.random.RandomState(0).choice([-1.0, 1.0], (6000, 20))
    y = X[:, :4].prod(1) > 0
    model = PiClassifier(networks=2, random_state=0).fit(X[:4000], y[:4000])
    assert model.score(X[4000:], y[4000:]) > 0.99
    assert NTKClassifier().fit(X[:4000], y[:4000]).score(X[4000:], y[4000:]) < 0.8  # .761


@pytest.mark.slow
def test_beside_columns_of_noise_weights_of_columns_are_the_metric_that_is_used():
    X, y = load_digits(return_X_y=True)
    X = np.hstack([X, 4 * np.random.RandomState(0).standard_normal((len(X), 256))])
    model = PiClassifier(networks=2, random_state=0).fit(X[:900], y[:900])
    share = {kind: sum(s for name, s in model.shares_.items() if kind in name) for kind in ("columns", "metric")}
    assert share["columns"] > 0.5 > share["metric"]
    assert model.score(X[900:], y[900:]) > NTKClassifier().fit(X[:900], y[:900]).score(X[900:], y[900:]) + 0.03


def test_the_same_seed_is_the_same_model_pickled_cloned_or_sparse():
    X, y = load_iris(return_X_y=True)
    model = PiClassifier(rank=8, networks=2, steps=4, kernels=False, random_state=3)
    found = model.fit(X[::2], y[::2]).predict_proba(X)
    assert (pickle.loads(pickle.dumps(model)).predict_proba(X) == found).all()
    assert (clone(model).fit(csr_matrix(X[::2]), y[::2]).predict_proba(X) == found).all()
    assert np.allclose(found.sum(1), 1) and sum(model.shares_.values()) == pytest.approx(1)
    assert not (clone(model).set_params(random_state=4).fit(X[::2], y[::2]).predict_proba(X) == found).all()


def test_layers_say_how_far_they_are_from_the_exact_limits():
    X, y = load_iris(return_X_y=True)

    def report(**how):
        """Of a model of iris, pickled, which keeps it."""
        model = PiClassifier(rank=8, networks=2, steps=60, kernels=False, random_state=0, **how)
        return pickle.loads(pickle.dumps(model.fit(X, y))).error_report(X)

    exact = report(activation=NormalizedPolynomial.with_weights(0.0, 0.25, 1.0))
    assert [layer.layer for layer in exact] == ["layer 1", "readout"]
    assert max(layer.output for layer in exact) < 1e-5
    of_relu, nearer = report(), report(degree=4)
    assert of_relu[0].output > 2 * nearer[0].output > 1e-4
    model = PiRegressor(rank=8, networks=2, random_state=0).partial_fit(X, y)
    assert 0.02 < max(layer.output for layer in model.error_report(X)) < 0.1  # .034 to .056 with four seeds
    with pytest.raises(ValueError, match="4 features"):
        model.error_report(X[:, :2])
    with pytest.raises(NotFittedError):
        PiRegressor().error_report(X)


def test_data_that_come_in_parts_are_learned_too():
    X, y = load_iris(return_X_y=True)
    rows = np.random.RandomState(0).permutation(150)
    model = PiClassifier(rank=8, networks=2, random_state=0)
    for _ in range(15):
        for part in np.array_split(rows[:100], 2):
            model.partial_fit(X[part], y[part], classes=[0, 1, 2])
    assert model.score(X[rows[100:]], y[rows[100:]]) > 0.8
    numbers = PiRegressor(rank=8, networks=2, random_state=0)
    for _ in range(15):
        numbers.partial_fit(X[rows[:100], :3], X[rows[:100], 3])
    assert numbers.score(X[rows[100:], :3], X[rows[100:], 3]) > 0.7


def test_every_part_has_its_share_of_every_class():
    random = np.random.RandomState(0)
    y = np.eye(3)[random.permutation(np.repeat([0, 1, 2], [20, 9, 1]))]
    part = parts(y, 4, random)
    counts = np.stack([y[part == i].sum(0) for i in range(4)])
    assert counts[:, 0].tolist() == [5, 5, 5, 5] and set(counts[:, 1]) <= {2, 3} and counts[:, 2].sum() == 1


def test_shares_are_those_of_the_best_mixture_and_average():
    random = np.random.RandomState(0)
    likelihoods = random.rand(3, 50)
    weight = random.rand(50)
    best = mixture(likelihoods, weight)
    value = weight @ np.log(best @ likelihoods)
    for other in random.dirichlet(np.ones(3), 200):
        assert weight @ np.log(other @ likelihoods) < value + 1e-3 * weight.sum()
    predictions, y = random.standard_normal((3, 50, 2)), random.standard_normal((50, 2))
    shares = average(predictions, y, weight)
    assert shares.sum() == pytest.approx(1) and (shares >= 0).all()

    def error(shares):
        return weight @ np.square(np.tensordot(shares, predictions, 1) - y).sum(1)

    assert all(error(shares) < error(other) + 1e-9 for other in random.dirichlet(np.ones(3), 200))


def test_held_out_predictions_are_those_of_fits_without_the_part():
    random = np.random.RandomState(0)
    table = Table(random.standard_normal((20, 3)), random.standard_normal((20, 2)), random.rand(20) + 0.5)
    part, kernel = np.arange(20) % 2, NTK(2, lambda h: np.maximum(h, 0) if isinstance(h, np.ndarray) else h.relu())
    root = metric_root(np.diag([2.0, 1.0, 0.1]))
    found = held_out_by_ridge(kernel, [root, root], table, part)
    seen = Table(table.x[part == 1], table.y[part == 1], table.weight[part == 1])
    for j in (0, len(RIDGES) - 1):
        machine = fit_metric_machine(kernel, root, RIDGES[j], seen)
        assert np.allclose(found[j, part == 0], machine.predict(table.x[part == 0]), atol=1e-8)


def test_the_metric_is_the_mean_outer_product_of_gradients():
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    x, weight = np.random.RandomState(0).standard_normal((700, 3)), np.arange(700.0)
    J = torch.func.vmap(torch.func.jacrev(net))(torch.from_numpy(x).float()).detach().numpy()
    assert np.allclose(
        gradient_outer_product(net, x, weight), np.einsum("n,nci,ncj->ij", weight / weight.sum(), J, J), atol=1e-5
    )


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (lambda X, y: PiClassifier(networks=1).fit(X, y), r"`PiClassifier\(networks=...\)` must be at least 2"),
        (lambda X, y: PiClassifier(rank=0).fit(X, y), r"`PiClassifier\(rank=...\)` must be an integer ≥ 1"),
        (lambda X, y: PiClassifier().fit(X[:1], y[:1]), "1 sample|one class"),
        (lambda X, y: PiClassifier().partial_fit(X, y), r"partial_fit\(classes=...\)` must be all labels"),
        (lambda X, y: PiClassifier().partial_fit(X, y, classes=[0, 1]), r"of the classes \[0, 1\]; got \[2\]"),
        (lambda X, y: PiRegressor().fit(X[[0, 0]], y[:2]), "of two rows or more that differ"),
    ],
)
def test_what_cannot_be_fitted_is_refused(fit, said):
    with pytest.raises(ValueError, match=said):
        fit(*load_iris(return_X_y=True))


@pytest.mark.parametrize("steps", [1, 10, 70])
def test_no_more_steps_are_taken_than_are_asked_for(steps):
    X = np.random.RandomState(0).standard_normal((60, 3))
    model = PiRegressor(rank=2, depth=1, networks=2, steps=steps, kernels=False, random_state=0).fit(X, X[:, 0])
    assert 1 <= len(model.held_out_losses_) <= steps
    assert model.steps_ <= steps


@pytest.mark.parametrize("unit, start", [(1e-15, 0.0), (1e-150, 0.0), (1e15, 0.0), (1e-9, 1.0)])
def test_targets_in_any_unit_are_learned_alike(unit, start):
    X = np.random.RandomState(0).standard_normal((80, 3))
    y = abs(X[:, 0])
    make = partial(PiRegressor, rank=4, depth=1, networks=2, steps=60, random_state=0)
    plain = make().fit(X, y).predict(X)
    found = make().fit(X, start + unit * y).predict(X)
    # 2e-14 off, and 2e-7 beside 1, where nine digits of the targets are lost.
    np.testing.assert_allclose((found - start) / unit, plain, rtol=0, atol=1e-6)
