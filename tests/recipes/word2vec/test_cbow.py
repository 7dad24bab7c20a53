import math

import pytest
import torch
from torch.nn.functional import softplus

from assertions import assert_close, assert_equal, fitted_slope, root_mean_square
from cases import seeded
from mupi.recipes.word2vec.cbow import CBOW, RUN, state_bytes
from mupi.recipes.word2vec.embedding_start import DenseStart, Gaussian, Orthonormal, Start, UnitVectors
from mupi.recipes.word2vec.passage import Passage
from mupi.recipes.word2vec.scaled_rows import PIECE, ScaledRows
from oracles.cbow import cbow_passage

V = 30
WINDOW = 4


def passage(
    seed: int, words: int = 3 * RUN + 9, batch: int = 2 * RUN + 5, shared: int = 12, window: int = WINDOW
) -> Passage:
    """A random text in steps of which the last is cut off, with negatives that repeat and that hit the centres."""
    g = seeded(seed)
    radius = torch.randint(1, window + 1, (words,), generator=g)
    negatives = torch.randint(V, (-(-words // batch), shared), generator=g)
    return Passage(torch.randint(V, (words,), generator=g), radius, negatives, V, batch, window)


def trained(start: Start, steps: int = 5, weight_decay: float = 0.01, **settings) -> CBOW:
    net = CBOW(V, start, dtype=torch.float64, generator=seeded(7), negatives=5, **settings)
    for seed in range(steps):
        net.train(passage(seed), lr=0.3, weight_decay=weight_decay)
    return net


def scores_and_products(u: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """All scalar products of input and output vectors."""
    both = torch.cat([u, n])
    return both @ both.T


@pytest.mark.parametrize("start", [Gaussian(7), Orthonormal(20), Gaussian(300)], ids=str)
@pytest.mark.parametrize(
    "shape",
    [
        dict(words=57, batch=37, shared=12),
        dict(words=50, batch=24, shared=12),
        dict(words=5, batch=1, shared=5),
        dict(words=9, batch=3, shared=1),
        dict(words=40, batch=32, shared=7, window=5),
    ],
    ids=str,
)
def test_steps_are_the_oracle_s_word_by_word(start: DenseStart, shape):
    net = CBOW(V, start, dtype=torch.float64, generator=seeded(7), negatives=5)
    u, n = net.vectors(), net.output_vectors()
    for seed in range(5):
        steps = passage(seed, **shape)
        loss = net.train(steps, lr=0.3, weight_decay=0.02)
        expected = cbow_passage(u, n, steps, K=5, lr=0.3, weight_decay=0.02)
        assert loss == pytest.approx(expected, rel=1e-12)
    assert_close(net.vectors(), u)
    assert_close(net.output_vectors(), n)


def test_sums_of_repeats_give_the_same_vectors_as_adding_them_one_by_one(monkeypatch):
    expected = trained(UnitVectors())
    monkeypatch.setattr(ScaledRows, "adds_repeats", False)
    net = trained(UnitVectors())
    assert_close(net.vectors(), expected.vectors())
    assert_close(net.output_vectors(), expected.output_vectors())


def test_a_run_of_positions_is_a_step_of_sgd_on_the_loss():
    net = CBOW(V, Gaussian(6), dtype=torch.float64, generator=seeded(7), negatives=5)
    net.train(passage(0), lr=0.5)
    u, n = net.vectors().requires_grad_(), net.output_vectors().requires_grad_()
    step = passage(1, words=RUN, batch=RUN)
    place = torch.arange(RUN)
    distance = (place - place[:, None]).abs()
    context = ((distance > 0) & (distance <= step.radius[:, None])).double()
    h = context / context.sum(1, keepdim=True) @ u[step.words]
    counted = (step.words[:, None] != step.negatives).double() * 5 / step.shared
    loss = softplus(-(h * n[step.words]).sum(1)).sum() + (softplus(h @ n[step.negatives[0]].T) * counted).sum()
    gradient_u, gradient_n = torch.autograd.grad(loss, (u, n))
    assert net.train(step, lr=0.1) == pytest.approx(float(loss.detach()), rel=1e-12)
    assert_close(net.vectors(), (u - 0.1 * gradient_u).detach())
    assert_close(net.output_vectors(), (n - 0.1 * gradient_n).detach())


def test_v_coordinates_are_the_limit_with_2v_of_which_half_stay_zero():
    u = torch.cat([torch.eye(V), torch.zeros(V, V)], 1).double()
    n = torch.zeros(V, 2 * V).double()
    net = CBOW(V, UnitVectors(), dtype=torch.float64, negatives=5)
    for seed in range(5):
        steps = passage(seed)
        net.train(steps, lr=0.3, weight_decay=0.02)
        cbow_passage(u, n, steps, K=5, lr=0.3, weight_decay=0.02)
    assert net.active == V
    assert_close(scores_and_products(net.vectors(), net.output_vectors()), scores_and_products(u, n))
    assert_equal(n[:, V:], torch.zeros(V, V).double())
    assert_equal(u[:, V:], torch.zeros(V, V).double())


def test_coordinates_of_words_that_were_not_met_are_neither_used_nor_written():
    net = CBOW(V, UnitVectors(), dtype=torch.float64, negatives=5)
    met: set[int] = set()
    for seed in range(4):
        steps = passage(seed, words=7, batch=3, shared=4)
        net.train(steps, lr=0.3)
        met |= set(steps.words.tolist())
        assert net.active == len(met)
    assert net.active < V
    assert_equal(net.inputs.dense()[:, net.active :], torch.zeros(V, net.inputs.columns - net.active).double())
    assert_equal(net.outputs.dense()[:, net.active :], torch.zeros(V, net.inputs.columns - net.active).double())
    assert sorted(net.coordinate[sorted(met)].tolist())[-net.active :] == list(range(net.active))


@pytest.mark.parametrize("kind", [Gaussian, Orthonormal])
def test_all_of_training_depends_on_the_start_through_its_gram_matrix_only(kind):
    """At width V a random orthonormal start has the identity's Gram matrix; a Gaussian one has not."""
    limit, other = trained(UnitVectors()), trained(kind(V))
    ours = scores_and_products(other.vectors(), other.output_vectors())
    difference = (ours - scores_and_products(limit.vectors(), limit.output_vectors())).abs().max()
    assert (difference < 1e-12) if kind is Orthonormal else (difference > 0.01)


def test_finite_width_converges_to_the_limit_with_slope_minus_one_half():
    limit = trained(UnitVectors(), steps=4)
    expected = scores_and_products(limit.vectors(), limit.output_vectors())
    widths, errors = [2**k for k in range(6, 12)], []
    for width in widths:
        squares = []
        for seed in range(6):
            net = CBOW(V, Gaussian(width), dtype=torch.float64, negatives=5, generator=seeded(seed))
            for step in range(4):
                net.train(passage(step), lr=0.3, weight_decay=0.01)
            squares.append(float((scores_and_products(net.vectors(), net.output_vectors()) - expected).norm()))
        errors.append(root_mean_square(squares))
    assert abs(fitted_slope(widths, errors) + 0.5) < 0.1


def test_shared_negatives_have_the_expected_gradient_of_negatives_for_each_position():
    """The mean change over draws of one negative is that of ten in the proportions of the noise."""

    def change(negatives: list[int]) -> torch.Tensor:
        net = CBOW(4, Gaussian(3), dtype=torch.float64, negatives=2, generator=seeded(1))
        radius = torch.ones(4).long()
        net.train(Passage(torch.tensor([0, 1, 2, 3]), radius, torch.tensor([[0, 3]]), 4, 4, 1), 0.3)
        before = torch.cat([net.vectors(), net.output_vectors()])
        net.train(Passage(torch.tensor([0, 2, 1, 3]), radius, torch.tensor([negatives]), 4, 4, 1), 0.3)
        return torch.cat([net.vectors(), net.output_vectors()]) - before

    mean = 0.4 * change([0]) + 0.3 * change([1]) + 0.2 * change([2]) + 0.1 * change([3])
    assert_close(change([0, 0, 0, 0, 1, 1, 1, 2, 2, 3]), mean)


def test_bfloat16_storage_follows_float32_and_loses_no_small_change():
    exact, rounded = (CBOW(V, UnitVectors(), dtype=dtype, negatives=5) for dtype in (torch.float32, torch.bfloat16))
    for seed in range(20):
        exact.train(passage(seed), lr=0.01)
        rounded.train(passage(seed), lr=0.01)
    assert rounded.inputs.table.dtype == torch.bfloat16
    change = exact.output_vectors()
    error = (rounded.output_vectors() - change).norm() / change.norm()
    assert error < 0.03


def test_state_dict_goes_on_to_the_same_numbers():
    net = trained(UnitVectors(), steps=2, weight_decay=0.3)
    net.renormalize()
    again = CBOW(V, UnitVectors(), dtype=torch.float64, negatives=5)
    again.load_state_dict({k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in net.state_dict().items()})
    for seed in (2, 3):
        assert net.train(passage(seed), lr=0.3) == again.train(passage(seed), lr=0.3)
    assert_equal(net.vectors(), again.vectors())


def test_a_position_without_context_changes_its_center_s_vector_by_nothing():
    net = CBOW(V, Gaussian(5), dtype=torch.float64, generator=seeded(0))
    loss = net.train(Passage(torch.tensor([3]), torch.tensor([2]), torch.tensor([[4, 5]]), V, 1, 2), lr=0.5)
    assert loss == pytest.approx(26 * math.log(2))
    assert_equal(net.output_vectors(), torch.zeros(V, 5).double())


def test_the_figure_of_memory_is_what_is_stored():
    for start, dtype in (
        (Gaussian(5), torch.float32),
        (UnitVectors(), torch.bfloat16),
        (Orthonormal(9), torch.float64),
        (Gaussian(PIECE + 1), torch.float32),
    ):
        net = CBOW(V, start, dtype=dtype)
        assert state_bytes(V, start, dtype) == net.inputs.table.nbytes + net.outputs.table.nbytes


@pytest.mark.parametrize("start", [Gaussian(6), Orthonormal(6), Orthonormal(3)], ids=str)
def test_the_stated_error_of_a_random_start_is_its_mean_square(start: DenseStart):
    share = torch.linspace(1, 0.1, 8).double()
    g = seeded(0)
    squares = []
    for _ in range(200):
        u = start.draw(8, g, torch.float64)
        difference = u @ u.T - torch.eye(8).double()
        squares.append(float(share.outer(share).mul(difference.square()).sum()) / float(share.square().sum()))
    assert start.gram_error(share) == pytest.approx(math.sqrt(sum(squares) / len(squares)), rel=0.15)


def test_no_start_with_vectors_of_that_length_is_nearer_to_the_identity_than_an_orthonormal_one():
    def error(u: torch.Tensor) -> float:
        u = u * (8 / u.square().sum()).sqrt()
        return float((u @ u.T - torch.eye(8).double()).square().sum())

    g = seeded(0)
    u = Orthonormal(3).draw(8, g, torch.float64)
    assert error(u) == pytest.approx(8 * (8 / 3 - 1))
    assert Orthonormal(8).gram_error(torch.ones(8).double()) == 0
    for size in (1e-3, 0.1, 10):
        assert error(u + size * torch.randn(8, 3, generator=g, dtype=torch.float64)) > error(u)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: CBOW(0, UnitVectors()), r"CBOW\(vocabulary=...\)` must be an integer ≥ 1; got 0"),
        (lambda: CBOW(9, Gaussian(0)), r"Gaussian\(width=...\)"),
        (lambda: CBOW(9, Orthonormal(10)), r"Orthonormal\(width=...\)` must be at most the number of words, 9; got 10"),
        (lambda: CBOW(9, UnitVectors(), negatives=0), r"CBOW\(negatives=...\)"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
