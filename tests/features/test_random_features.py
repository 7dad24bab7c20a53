"""`RandomFeatures` is the finite π-net of width n: projected SGD on its n × n matrices is plain SGD on C."""

import pytest
import torch

import mupi
from assertions import assert_close
from cases import randn, seeded
from mupi import Atoms, Erf, PiMLP, RandomFeatures, ReLU
from mupi.features import whitened_gaussian
from mupi.nets import CENTERED
from oracles.finite_net import FiniteNet

RATES = dict(lr=0.3, hidden=1.0, first=0.4, last=2.0, bias=0.5)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("activation", [ReLU(), Erf()], ids=str)
def test_projected_sgd_of_the_full_matrices_is_sgd_of_the_coefficients(depth, activation):
    net = PiMLP(
        5, 2, 3, depth, features=RandomFeatures(11), activation=activation, readout_std=0.5, input_scale=1.5,
        bias_scale=0.7, generator=seeded(), dtype=torch.float64,
    )  # fmt: skip
    naive = FiniteNet(net, seeded(1))
    clip, weight_decay, momentum = 0.3, 0.02, 0.8
    groups = net.parameter_groups(lr=0.3, first=0.4, last=2.0, bias=0.5, weight_decay=weight_decay)
    optimizer = mupi.SGD(groups, clip=clip, momentum=momentum)
    test_x = randn(7, 5, seed=5)
    for step in range(6):
        assert_close(net(test_x), naive(test_x), rtol=1e-10)
        x, y = randn(4, 5, seed=10 + step), randn(4, 2, seed=20 + step)

        def loss_of(f, x=x, y=y):
            return ((f(x) - y) ** 2).sum(1).mean()

        loss = loss_of(net)
        loss.backward()
        optimizer.step()
        assert_close(naive.step(loss_of, RATES, clip, weight_decay, momentum), loss, rtol=1e-10)
    assert_close(net(test_x), naive(test_x), rtol=1e-10)


def test_clipping_is_of_the_projected_gradient():
    # Trap: the gradient before projection is longer, and clipping it would shorten the step.
    net = PiMLP(5, 2, 3, 2, features=RandomFeatures(40), readout_std=0.5, generator=seeded(), dtype=torch.float64)
    naive = FiniteNet(net, seeded(1))
    x, y = randn(4, 5), randn(4, 2, seed=1)
    hidden = naive.weights[1].requires_grad_()
    (full,) = torch.autograd.grad(((naive(x) - y) ** 2).sum(1).mean(), hidden)
    naive.weights[1] = hidden.detach()
    ((net(x) - y) ** 2).sum(1).mean().backward()
    projected = mupi.optim.gradient_norm(net.layers[0].weight.weight)
    assert projected < 0.8 * full.norm()
    clip = float(projected) * 1.1  # between the two: must not clip
    before = net.layers[0].weight.weight.detach().clone()
    gradient = net.layers[0].weight.weight.grad.clone()
    mupi.SGD(net.parameters(), lr=1.0, clip=clip).step()
    assert_close(net.layers[0].weight.weight, before - gradient)


@pytest.mark.parametrize(("n", "rank"), [(1, 1), (5, 5), (30, 4), (400, 20)])
def test_whitened_rows_have_the_identity_as_second_moment(n, rank):
    omega = whitened_gaussian(n, rank, seeded())
    assert_close(omega.T @ omega, n * torch.eye(rank, dtype=torch.float64))


def test_the_whitened_matrix_spans_the_gaussian_one_and_is_nearest_to_it():
    gaussian = torch.randn(30, 4, dtype=torch.float64, generator=seeded())
    omega = whitened_gaussian(30, 4, seeded())
    projection = omega @ omega.T / 30
    assert_close(projection @ gaussian, gaussian)
    # Ω (ΩᵀΩ/n)^{−1/2}: the product ΩᵀΩ̃ is symmetric and positive.
    product = gaussian.T @ omega
    assert_close(product, product.T)
    assert (torch.linalg.eigvalsh(product) > 0).all()


def test_a_width_below_the_rank_is_refused():
    with pytest.raises(ValueError, match=r"^`.*width.*` must be at least the rank 5; got 4$"):
        PiMLP(3, 2, 5, features=RandomFeatures(4))
    PiMLP(3, 2, 5, features=RandomFeatures(5))


@pytest.mark.parametrize("width", [64, 4096])
def test_the_kernel_of_random_features_is_an_average_over_neurons(width):
    weight = PiMLP(3, 2, 4, 1, features=RandomFeatures(width), generator=seeded(), dtype=torch.float64).readout.weight
    g1, g2 = randn(3, 4), randn(5, 4, seed=1)
    exact = ReLU().dual(g2.square().sum(1), g1 @ g2.T, g1.square().sum(1, keepdim=True))
    assert_close(weight.kernel(g1, g2), exact, rtol=4 / width**0.5)
    neurons = torch.relu(g1 @ weight.omega.T).T, torch.relu(g2 @ weight.omega.T).T
    assert_close(weight.feature_kernel(g1, g2), neurons[0].T @ neurons[1] / width)


def test_the_initial_function_is_that_of_the_sampled_limit():
    # C = Σ c a ψ(b)ᵀ: the finite net starts as the sum of atoms under its own kernel.
    atoms, finite = (
        PiMLP(3, 2, 4, 1, features=f, readout_std=0.5, generator=seeded(), dtype=torch.float64)
        for f in (Atoms(), RandomFeatures(50))
    )
    initial, g = atoms.readout.weight.expansion(), randn(6, 4)
    expected = finite.readout.weight.kernel(g, initial.b) @ (initial.c[:, None] * initial.a)
    assert_close(finite.readout.weight(g), expected)


def test_omega_is_not_trained_but_saved():
    net = PiMLP(3, 2, 4, 1, features=RandomFeatures(8), generator=seeded())
    assert "layers.0.weight.omega" in net.state_dict()
    assert all("omega" not in name for name, _ in net.named_parameters())


def test_a_finite_net_is_the_limit_whose_weights_move_by_a_fixed_matrix_times_their_gradient():
    """That matrix is HᵀH/n, of mean 1: see `HermiteWeight.neurons`."""
    nets = [
        PiMLP(5, 2, 3, 2, features=features, activation=CENTERED, generator=seeded(), dtype=torch.float64)
        for features in (RandomFeatures(7), mupi.Hermite(2))
    ]
    finite, limit = nets
    metrics = {}
    limit.input.load_state_dict(finite.input.state_dict())
    for theirs, ours in zip(finite.pi_layers, limit.pi_layers, strict=True):
        neurons = ours.weight.neurons(theirs.weight.omega) / 7**0.5
        g = randn(4, 3, seed=3)
        assert_close(ours.weight._features(g) @ neurons.T, theirs.weight.coordinates(g), rtol=1e-12)
        ours.weight.weight.data = neurons.T @ theirs.weight.weight.data
        metrics[ours.weight.weight] = neurons.T @ neurons
    optimizers = [mupi.SGD(net.parameter_groups(lr=0.3), momentum=0.8) for net in nets]
    x, y, new = randn(9, 5, seed=10), randn(9, 2, seed=20), randn(6, 5, seed=30)
    start = limit(new)
    for _ in range(12):
        for net, optimizer in zip(nets, optimizers, strict=True):
            optimizer.zero_grad()
            ((net(x) - y) ** 2).mean().backward()
            if net is limit:
                for weight, metric in metrics.items():
                    weight.grad = metric @ weight.grad
            optimizer.step()
    assert_close(limit(new), finite(new), rtol=1e-9)
    assert (limit(new) - start).norm() > 0.3 * start.norm()
