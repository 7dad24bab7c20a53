"""Adaptation of many tasks at a time against plain loops over tasks, parameters and steps."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi import MLP, NNGP, Atoms, Hermite, Identity, LinearMuLimit, Parametrization, PiMLP, RandomFeatures, ReLU, Tanh
from mupi.data.episodes import Episodes
from mupi.optim import SGD
from mupi.recipes.omniglot.adaptation import LinearLayers, kernel_descent, maml, task_kernel
from mupi.recipes.omniglot.learners import KernelLearner, ReadoutLearner, WholeLearner

D, WAYS = 6, 3


def episodes(tasks: int = 5, shots: int = 2, queries: int = 3, seed: int = 0) -> Episodes:
    labels = torch.arange(WAYS)
    return Episodes(
        randn(tasks, WAYS * shots, D, seed=seed),
        randn(tasks, WAYS * queries, D, seed=seed + 1000),
        labels.repeat_interleave(shots),
        labels.repeat_interleave(queries),
    )


def query_loss(logits, drawn):
    """Sum over tasks."""
    return sum(cross_entropy(task, drawn.query_y) for task in logits)


def plain_maml(net, drawn, steps, step_size, adapted, first_order=False):
    """Logits task by task, each with its own copies of the parameters named in ``adapted``."""
    rows = []
    for support, query in zip(drawn.support, drawn.query, strict=True):
        parameters = dict(net.named_parameters())
        for _ in range(steps):
            loss = cross_entropy(torch.func.functional_call(net, parameters, (support,)), drawn.support_y)
            chosen = [parameters[name] for name in adapted]
            gradients = torch.autograd.grad(loss, chosen, create_graph=not first_order)
            moved = {name: p - step_size * g for name, p, g in zip(adapted, chosen, gradients, strict=True)}
            parameters = parameters | moved
        rows.append(torch.func.functional_call(net, parameters, (query,)))
    return torch.stack(rows)


def mu_net(depth=2, activation=None, width=7, readout_std=0.0, bias_scale=0.5, seed=0):
    net = MLP(
        D, WAYS, width, depth, activation=activation or ReLU(), readout_std=readout_std, bias_scale=bias_scale,
        input_std=1.0, generator=seeded(seed), dtype=torch.float64,
    )  # fmt: skip
    net.readout.bias is None or net.readout.bias.requires_grad_(False)
    return net


def pi_net(features, rank=4, activation=None):
    return PiMLP(
        D, WAYS, rank, 2, features=features, activation=activation, output_scale=1.0, bias_scale=0.6,
        generator=seeded(), dtype=torch.float64,
    )  # fmt: skip


def gradients(net, loss):
    """Of all parameters that get one, by name."""
    net.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def assert_same_gradients(one, other, rtol=1e-10):
    assert one.keys() == other.keys()
    scale = max(float(g.abs().max()) for g in other.values())
    for name, g in other.items():
        assert_close(one[name], g, rtol=rtol, scale=scale)


@pytest.mark.parametrize("tasks", [1, 16, 37])
def test_the_kernel_of_each_task_is_the_kernel_of_its_images(tasks):
    x1, x2 = randn(tasks, 4, D), randn(tasks, 3, D, seed=1)
    kernel = NNGP(2, ReLU(), 1.0, 1.0)
    expected = torch.stack([kernel(a, b) for a, b in zip(x1, x2, strict=True)])
    assert_close(task_kernel(kernel, x1, x2), expected)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_adapting_the_readout_from_zero_is_kernel_descent_value_and_second_order_gradient(steps):
    """ANIL by autograd through explicit steps on a readout matrix is the oracle."""
    net, drawn = mu_net(), episodes()
    learner = ReadoutLearner(net, step_size=0.8)
    logits = learner.logits(drawn, steps)
    # The readout W/√n with W stored without the 1/√n: its step is the kernel's with the mean over neurons.
    readout = ["layers.2.weight"]
    expected = plain_maml(net, drawn, steps, 0.8, readout)
    assert_close(logits, expected, rtol=1e-10)
    assert expected.abs().max() > 0.01
    ours = gradients(net, query_loss(logits, drawn))
    theirs = gradients(net, query_loss(expected, drawn))
    theirs.pop(readout[0])  # it is held at zero
    theirs.pop("layers.2.bias", None)
    assert_same_gradients(ours, theirs)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("features", [Hermite(2), Hermite(2, subspace=2), RandomFeatures(9)], ids=str)
def test_the_meta_gradient_agrees_with_finite_differences(features, steps):
    # Smooth and positive features: finite differences across a kink would be wrong, not the gradient.
    net = pi_net(features, activation=Tanh() if isinstance(features, RandomFeatures) else None).eval()
    learner, drawn = ReadoutLearner(net, step_size=2.0), episodes(tasks=3, shots=1)
    slopes = gradients(net, query_loss(learner.logits(drawn, steps), drawn))
    trained = {name: p for name, p in net.named_parameters() if name in slopes}
    assert {name.split(".")[0] for name in trained} == {"input", "layers"}
    assert not any(name.startswith("layers.1") for name in trained), "the readout gets no gradient"
    h = 1e-5
    for seed, (name, p) in enumerate(trained.items()):
        direction = randn(*p.shape, seed=seed)
        direction /= direction.norm()

        def value(step: float, p=p, direction=direction) -> float:
            with torch.no_grad():
                p.add_(direction, alpha=step)
                result = float(query_loss(learner.logits(drawn, steps), drawn))
                p.sub_(direction, alpha=step)
            return result

        numerical = (value(h) - value(-h)) / (2 * h)
        scale = max(abs(numerical), 1e-3 * float(slopes[name].norm()))
        assert float((slopes[name] * direction).sum()) == pytest.approx(numerical, abs=1e-5 * scale), name


@pytest.mark.parametrize("features", [Atoms(), Hermite(2), RandomFeatures(9)], ids=str)
def test_all_tasks_at_once_are_the_sum_of_tasks_one_by_one(features):
    drawn = episodes(tasks=4)
    net = pi_net(features)
    learner = ReadoutLearner(net, 1.5)
    together = learner.logits(drawn, 1)
    one_by_one = torch.cat([
        learner.logits(Episodes(s[None], q[None], drawn.support_y, drawn.query_y), 1)
        for s, q in zip(drawn.support, drawn.query, strict=True)
    ])  # fmt: skip
    assert_close(together, one_by_one, rtol=1e-11)


def test_meta_training_with_atoms_is_that_of_hermite_where_hermite_is_exact():
    """Ten meta-steps with the exact limit and at constant memory, φ a polynomial of degree 2."""
    from mupi import Polynomial

    φ, losses = Polynomial((0.2, 1.0, 0.3)), []
    for features in (Atoms(), Hermite(2)):
        net = pi_net(features, activation=φ)
        learner, optimizer = (
            ReadoutLearner(net, 0.5),
            SGD(net.parameter_groups(0.2, first=0.4), clip=0.1, clip_jointly=True),
        )
        losses.append([])
        for step in range(10):
            drawn = episodes(seed=step)
            loss = query_loss(learner.logits(drawn, 1), drawn)
            loss.backward()
            optimizer.step()
            losses[-1].append(float(loss.detach()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
    assert max(losses[0]) - min(losses[0]) > 0.01


@pytest.mark.parametrize("bias_scale", [0.0, 0.7])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_linear_layers_follow_full_matrices_of_each_task_value_and_first_order_gradient(steps, bias_scale):
    drawn = episodes()
    limit = LinearMuLimit(D, WAYS, 0.9, 0.3, 1.2, bias_scale=bias_scale, dtype=torch.float64)
    finite = mu_net(1, Identity(), readout_std=0.5, bias_scale=bias_scale)
    for net in (limit, finite):
        adapted = [name for name, p in net.named_parameters() if p.requires_grad]
        expected = plain_maml(net, drawn, steps, 0.4, adapted, first_order=True)
        assert_close(LinearLayers.of(net).first_order_maml(drawn, steps, 0.4), expected, rtol=1e-10)
        assert_same_gradients(
            gradients(net, query_loss(LinearLayers.of(net).first_order_maml(drawn, steps, 0.4), drawn)),
            gradients(net, query_loss(expected, drawn)),
        )


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
def test_maml_over_vmap_is_a_loop_over_tasks(depth, first_order):
    net, drawn = mu_net(depth, Tanh(), readout_std=0.8), episodes()
    adapted = [name for name, p in net.named_parameters() if p.requires_grad]
    ours = maml(net, drawn, 3, 0.4, first_order)
    expected = plain_maml(net, drawn, 3, 0.4, adapted, first_order)
    assert_close(ours, expected, rtol=1e-10)
    theirs = gradients(net, query_loss(expected, drawn))
    assert_same_gradients(gradients(net, query_loss(ours, drawn)), theirs)


def test_finite_networks_approach_the_linear_limit_at_every_meta_step():
    meta_steps, widths, draws = 5, (64, 256, 1024), 10

    def losses(net):
        learner, optimizer = WholeLearner(net, 0.4), SGD(net.parameters(), lr=0.1, clip=0.5, clip_jointly=True)
        result = []
        for step in range(meta_steps):
            drawn = episodes(seed=step)
            loss = query_loss(learner.logits(drawn, 2), drawn)
            loss.backward()
            optimizer.step()
            result.append(float(loss.detach()))
        return torch.tensor(result)

    limit = LinearMuLimit(D, WAYS, 1.0, 0.3, bias_scale=1.0, dtype=torch.float64)
    starts = {n: [limit.sample(n, seeded(draw)) for draw in range(draws)] for n in widths}
    expected = losses(limit)
    gaps = {n: [losses(net) - expected for net in nets] for n, nets in starts.items()}
    for step in range(meta_steps):
        errors = [root_mean_square([float(gap[step]) for gap in gaps[n]]) for n in widths]
        assert fitted_slope(widths, errors) == pytest.approx(-0.5, abs=0.3), step
    errors = [root_mean_square([float(gap.norm()) for gap in gaps[n]]) for n in widths]
    assert fitted_slope(widths, errors) == pytest.approx(-0.5, abs=0.15)


def test_a_network_of_large_width_in_ntk_parametrization_adapts_as_its_nngp_kernel():
    # Only its readout adapts, so at any number of steps.
    drawn = episodes(tasks=3)
    net = MLP(
        D, WAYS, 2**15, 1, parametrization=Parametrization.mup(1), activation=ReLU(), input_std=D**-0.5,
        readout_std=0.0, generator=seeded(), dtype=torch.float64,
    )  # fmt: skip
    kernel = KernelLearner(NNGP(1, ReLU(), 1.0, 0.0), 1.0).logits(drawn, 6)
    assert_close(ReadoutLearner(net, 1.0).logits(drawn, 6), kernel, rtol=0.03)


def test_no_step_leaves_a_readout_at_zero():
    kernel = randn(2, 9, 6)
    labels = torch.arange(WAYS).repeat_interleave(2)
    assert not kernel_descent(lambda: kernel, kernel, labels, WAYS, 0, 1.0).any()
