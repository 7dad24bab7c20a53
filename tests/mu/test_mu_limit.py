"""The limit of training, against formulas of the papers that need no program."""

import re

import pytest
import torch

import mupi
from assertions import assert_close
from cases import randn, seeded
from mupi import Identity, LinearMuLimit, MuLimit, Parametrization
from mupi.kernels.dynamics import KernelDynamics
from mupi.losses import check_loss
from mupi.mu.losses import squared_distance
from mupi.mu.regime import reaching
from mupi.programs.spaces import Samples

X, Y = randn(6, 3), randn(6, 2, seed=1)


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.6, 0.1)])
def test_a_linear_network_with_one_hidden_layer_is_the_linear_mu_limit_exactly(momentum, weight_decay):
    limit = MuLimit(1, Identity(), lr=0.1, momentum=momentum, weight_decay=weight_decay, input_std=1.2,
                    readout_std=0.7, samples=50, replicates=2, generator=seeded()).fit(X, Y, 6)  # fmt: skip
    net = LinearMuLimit(3, 2, 1.2, 0.7, dtype=torch.float64)
    optimizer = mupi.SGD(net.parameters(), lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for f in limit.outputs:
        assert_close(f, net(X).detach(), rtol=1e-10, scale=1.0)
        squared_distance(net(X), Y).backward()
        optimizer.step()
    assert_close(limit.predict(X + 1), net(X + 1).detach(), rtol=1e-10, scale=1.0)
    assert_close(limit.feature_kernel(X, X + 1), net.feature_kernel(X, X + 1).detach(), rtol=1e-10, scale=1.0)
    assert float(limit.output_errors.max()) < 1e-12


def test_one_hidden_layer_follows_the_equations_of_the_paper_sample_by_sample():
    φ, η, n = mupi.Tanh(), 0.5, 300
    limit = MuLimit(1, φ, lr=η, input_std=1.0, samples=n, replicates=2, generator=seeded()).fit(X, Y, 4)
    generator = seeded()
    outputs = []
    for _ in range(2):
        space = Samples(n, generator, torch.float64)
        # The same draws: each replicate draws U and V as its first step begins.
        outputs.append(
            (space, space.gaussian(torch.eye(3), torch.zeros(3)), space.gaussian(torch.eye(2), torch.zeros(2)))
        )
    for f in limit.outputs:
        now = []
        for i, (space, U, V) in enumerate(outputs):
            h = U @ X.T
            at = φ(h).T @ V / n
            χ = 2 * (at - Y) / len(X)
            now.append(at)
            outputs[i] = (space, U - η * ((V @ χ.T) * (1 - φ(h) ** 2)) @ X, V - η * φ(h) @ χ)
        assert_close(f, torch.stack(now).mean(0), rtol=1e-9, scale=1.0)


@pytest.mark.parametrize("momentum", [0.0, 0.4])
def test_the_kernel_regime_is_gradient_descent_with_the_tangent_kernel(momentum):
    p = Parametrization.ntk(2)
    limit = MuLimit(2, mupi.Erf(), p, lr=0.2, momentum=momentum, samples=800, generator=seeded()).fit(
        X, Y, 6, test_x=X + 1
    )
    # The input weight is N(0, 1/d) and x is not divided by √d: its gradient is √d times that of the kernel's network.
    kernel = mupi.NTK(2, mupi.Erf(), 1.0, weight_lr=(3.0, 1.0, 1.0))
    descent = KernelDynamics(kernel).fit(X, Y)
    # Its loss is half of ours.
    expected, tests = (descent.descend(x, 0.4, list(range(6)), momentum=momentum) for x in (X, X + 1))
    assert limit.test_outputs is not None
    assert_close(limit.outputs, expected, rtol=1e-9, scale=1.0)
    assert_close(limit.test_outputs, tests, rtol=1e-9, scale=1.0)
    # 4 × 800 samples.
    assert_close(limit.feature_kernels[5], mupi.NNGP(2, mupi.Erf(), 1.0)(X), rtol=0.06)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (Parametrization.mup(3), (True, True, True, True)),
        (Parametrization.mean_field(), (True, True)),
        (Parametrization.ntk(2), (True, True, True)),
        (Parametrization.standard(2, c=1), (False, True, True)),
        # The readout starts too small to be seen, and learns.
        (Parametrization(["-1/2", 0, "1/2"], ["1/2", "1/2", 1], 0), (True, True, True)),
    ],
    ids=lambda value: str(getattr(value, "a", "")),
)
def test_which_updates_reach_the_limit(p, expected):
    assert reaching(p) == expected


def test_mean_field_is_mup_for_one_hidden_layer():
    runs = [
        MuLimit(1, mupi.Tanh(), p, lr=0.5, samples=60, replicates=2, generator=seeded()).fit(X, Y, 3).outputs
        for p in (Parametrization.mup(1), Parametrization.mean_field())
    ]
    assert torch.equal(*runs)


def test_a_readout_that_starts_at_zero_gives_no_output_at_first():
    p = Parametrization(["-1/2", 0, "1/2"], ["1/2", "1/2", 1], 0)
    limit = MuLimit(2, mupi.Tanh(), p, lr=0.5, samples=200, replicates=2, generator=seeded()).fit(X, Y, 3)
    assert float(limit.outputs[0].abs().max()) == 0
    assert float(limit.outputs[2].abs().max()) > 0.01


def test_fitting_in_two_parts_is_fitting_once():
    whole, parts = (MuLimit(2, mupi.Tanh(), lr=0.5, samples=200, replicates=2, generator=seeded()) for _ in range(2))
    whole.fit(X, Y, 4)
    parts.fit(X, Y, 1)
    parts.fit(X, Y, 3)
    # Replicates share a generator, so that the order of their draws differs.
    assert_close(parts.outputs, whole.outputs, rtol=1e-12, scale=1.0)
    assert_close(parts.predict(X[:2]), whole.predict(X[:2]), rtol=1e-12, scale=1.0)


def small(loss=None, **kwargs):
    return MuLimit(1, Identity(), lr=0.1, loss=loss, samples=50, replicates=2, generator=seeded(), **kwargs)


def test_one_output_may_be_a_vector():
    y = Y[:, 0]
    assert_close(small().fit(X, y, 3).losses, small().fit(X, y[:, None], 3).losses)
    f = small().fit(X, y, 3)
    assert_close(f.losses, (f.outputs[..., 0] - y).square().mean(1))
    # So may that of a loss of one's own.
    assert_close(small(lambda f, y: (f - y).square().mean()).fit(X, y, 3).losses, f.losses)


@pytest.mark.parametrize("shift", [0.0, 2000.0])
@pytest.mark.parametrize(
    "loss",
    [
        lambda f, y: (f[:, 0] - y).square().mean(),
        lambda f, y: torch.nn.functional.mse_loss(f, y[:, 0]),
        lambda f, y: (f - y.T).abs().sum(),
    ],
)
def test_a_loss_that_broadcasts_is_refused_and_one_that_does_not_is_not(loss, shift):
    y = Y[:, :1] + shift
    with pytest.raises(ValueError) as error:
        small(loss).fit(X, y, 1)
    assert str(error.value) == (
        "`MuLimit(loss=...)` must be one that pairs each output with its target; got one that does not see their "
        "order, of outputs (6, 1) and targets (6, 1); compare both as (batch, d_out)"
    )
    for right in (
        lambda f, y: (f - y).square().mean(),
        lambda f, y: torch.nn.functional.huber_loss(f, y),
        lambda f, y: f.square().mean(),  # has no use for targets
    ):
        small(right).fit(X, y, 1)


def test_losses_are_of_the_targets_that_their_step_took():
    limit = small().fit(X, Y, 2)
    first = limit.losses.clone(), limit.loss_errors.clone()
    limit.fit(X, Y + 3, 1)
    assert torch.equal(limit.losses[:2], first[0]) and torch.equal(limit.loss_errors[:2], first[1])
    assert_close(limit.losses[2], squared_distance(limit.outputs[2], Y + 3))


def test_test_outputs_of_all_steps_are_kept_and_nan_where_there_were_none():
    whole = small().fit(X, Y, 3, test_x=X[:2] + 1).test_outputs
    parts = small().fit(X, Y, 1).fit(X, Y, 1, test_x=X[:2] + 1).fit(X, Y, 1)
    assert whole is not None and parts.test_outputs is not None
    assert parts.test_outputs.isnan().flatten(1).all(1).tolist() == [True, False, True]
    assert_close(parts.test_outputs[1], whole[1])
    assert small().fit(X, Y, 1).test_outputs is None


def test_class_labels_go_to_a_loss_of_ones_own_as_they_are():
    labels, cross_entropy = torch.tensor([0, 1, 2, 0, 1, 0]), torch.nn.functional.cross_entropy
    limit = small(cross_entropy).fit(X, labels, 3)
    assert limit.outputs.shape == (3, 6, 3)
    assert_close(limit.losses, torch.stack([cross_entropy(f, labels) for f in limit.outputs]))
    assert small(cross_entropy).fit(X[:2], labels[:2] * 2, 1, classes=3).outputs.shape == (1, 2, 3)
    one_hot = torch.nn.functional.one_hot(labels).double()
    assert_close(limit.outputs, small(cross_entropy).fit(X, one_hot, 3).outputs)


def test_the_kernel_regime_is_that_of_a_network_centered_inside_the_loss():
    p, cross_entropy, labels = (
        Parametrization.ntk(1),
        torch.nn.functional.cross_entropy,
        torch.tensor([0, 1, 2, 0, 1, 0]),
    )
    limit = MuLimit(1, mupi.Erf(), p, lr=0.5, loss=cross_entropy, samples=2000, generator=seeded()).fit(X, labels, 6)

    def gap(inside, seed):
        net = mupi.MLP(3, 3, 2048, 1, parametrization=p, activation=mupi.Erf(), sigma_w=1.0, generator=seeded(seed),
                       dtype=torch.float64)  # fmt: skip
        start, optimizer = net(X).detach(), mupi.SGD(net.parameter_groups(0.5))
        for _ in range(5):
            cross_entropy(net(X) - (start if inside else 0), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
        change = net(X).detach() - start
        return float((change - limit.outputs[5]).norm() / limit.outputs[5].norm())

    assert max(gap(True, seed) for seed in range(3)) < 0.12
    # The change of a network that is not centred: far off, as the class's description says.
    assert min(gap(False, seed) for seed in range(3)) > 0.25


def test_in_the_kernel_regime_inputs_that_change_in_place_are_seen():
    x, p = X.clone(), Parametrization.ntk(1)
    limit, other = (MuLimit(1, Identity(), p, lr=0.1, samples=50, replicates=2, generator=seeded()) for _ in range(2))
    limit.fit(x, Y, 1)
    before = limit.predict(X)
    x += 1
    assert_close(limit.predict(X), before)
    limit.fit(x, Y, 1)
    other.fit(X, Y, 1).fit(X + 1, Y, 1)
    assert_close(limit.predict(X), other.predict(X))


def test_a_tolerance_saves_directions_and_changes_little():
    fine, coarse = (
        MuLimit(2, mupi.Tanh(), lr=0.3, samples=300, replicates=2, tolerance=t, generator=seeded()).fit(X, Y, 6)
        for t in (1e-6, 3e-2)
    )
    assert max(coarse.ranks[0]) < 0.7 * max(fine.ranks[0])
    assert (fine.losses - coarse.losses).abs().max() < 0.05 * fine.losses[0]


def test_hidden_samples_have_the_kernel_that_is_reported():
    limit = MuLimit(2, mupi.Tanh(), lr=0.5, samples=300, replicates=2, generator=seeded()).fit(X, Y, 2)
    h = limit.hidden(X)
    assert [tuple(v.shape) for v in h] == [(600, 6), (600, 6)]
    z = torch.tanh(h[1])
    # New directions are drawn for each call.
    assert_close(z.T @ z / 600, limit.feature_kernel(X, X), rtol=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MuLimit(0), r"`MuLimit(depth=...)` must be an integer ≥ 1; got 0"),
        (lambda: MuLimit(samples=0), r"`MuLimit(samples=...)` must be an integer ≥ 1"),
        (lambda: MuLimit(lr=-1.0), r"`MuLimit(lr=...)` must be a finite number ≥ 0; got -1.0"),
        (lambda: MuLimit(replicates=1), r"`MuLimit(replicates=...)` must be at least 2"),
        (lambda: MuLimit(tolerance=1e-12), r"`MuLimit(tolerance=...)` must be between"),
        (lambda: MuLimit(2, None, Parametrization.mup(3)), r"(parametrization=...)` must be of depth 2; got depth 3"),
        (lambda: MuLimit(2, None, Parametrization.standard(2)), r"must be stable and nontrivial; got one that is not"),
        (lambda: MuLimit(2, None, Parametrization.ntk(2), weight_decay=0.1), r"must be SGD without weight decay in"),
        (lambda: MuLimit().predict(X), r"must be trained before it is asked for predictions"),
        (lambda: MuLimit().fit(X, Y[:2], 1), r"`MuLimit.fit(y)` must be of 6 rows"),
        (lambda: MuLimit().fit(X / 0, Y, 1), r"must be finite"),
        (lambda: MuLimit().fit(X, Y / 0, 1), r"`MuLimit.fit(y)` must be finite"),
        (lambda: MuLimit().fit(X, torch.arange(6) - 1, 1), r"`MuLimit.fit(y)` must be floats, or class labels 0"),
        (lambda: MuLimit().fit(X, Y > 0, 1), r"`MuLimit.fit(y)` must be floats, or integer class labels; got torch.b"),
        (lambda: small().fit(X, Y, 1).fit(X, Y[:, :1], 1), r"`MuLimit.fit(y)` must be of 2 outputs, as at first"),
        (lambda: small().fit(X, Y, 1).fit(X[:3], Y[:3], 1), r"`MuLimit.fit(x)` must be of 6 rows, as in the firs"),
        (lambda: small().fit(X, Y, 1, test_x=X).fit(X, Y, 1, test_x=X[:2]), r"`MuLimit.fit(test_x)` must be of 6 rows"),
        (lambda: small(lambda f, y: f - y).fit(X, Y, 1), r"(loss=...)` must be one floating number, as a tensor; got"),
        (lambda: small(lambda f, y: 1.0).fit(X, Y, 1), r"(loss=...)` must be one floating number, as a tensor; got f"),
        (lambda: small(lambda f, y: f @ y).fit(X, Y, 1), r"`MuLimit(loss=...)` must be a function of outputs (batch,"),
        (lambda: MuLimit(samples=5).fit(X, Y, 1), r"`limit(samples=...)` must be more than the"),
        (lambda: MuLimit(1, Identity(), lr=1e200, samples=50).fit(X, Y, 5), r"must be finite; got NaN or infinity"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_a_good_loss_is_not_refused_by_chance():
    """In float32 two orders of targets have losses of the same 4 digits now and then."""
    y = torch.eye(10)[torch.randint(10, (300, 50), generator=seeded())] - 0.1
    for batch in y:
        check_loss("loss", squared_distance, batch, (10,), torch.float32)
