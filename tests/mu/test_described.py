"""`MuLimit` of described networks: finite ones trained by torch approach it, and its state goes on bit for bit."""

import pytest
import torch
from torch import nn

import mupi
from assertions import fitted_slope
from cases import randn, seeded
from mupi import MuLimit, Roles
from mupi.architecture import Dense, Dropout, Normalize, Width, chain, describe, residual
from mupi.architecture.zoo import cnn, gpt, perceptron, vit

n, TANH = Width(), mupi.Tanh()
NORM = Normalize(gain=True, shift=True)


def squares(f, y):
    """Mean over the batch of the squared distance, of outputs with positions too."""
    return (f - y).square().flatten(1).sum(1).mean()


def cross_entropy(f, y):
    return nn.functional.cross_entropy(f.flatten(0, -2), y.flatten())


NETS = {
    "perceptron with biases": (perceptron(3, 2, 2, TANH), (3,), {"bias_scale": 0.7}),
    "random biases": (
        describe((3,), chain(Dense(n), TANH, Dense(n), TANH, Dense(2, bias=False))), (3,),
        {"sigma_b": 0.5, "bias_scale": 1.3},
    ),
    "residual, LayerNorm": (
        describe((3,), chain(Dense(n), residual(NORM, TANH, Dense(n)), NORM, TANH, Dense(2))), (3,), {},
    ),
    "RMSNorm, scales": (
        describe((3,), chain(Dense(n), TANH, Dense(n), Normalize(subtract=False), TANH, Dense(2))), (3,),
        {"input_scale": 1.2, "hidden_scale": 0.8, "output_scale": 1.5, "sigma_w": 1.1},
    ),
    "layers of n, 4n and n/2": (
        describe((3,), chain(Dense(n), TANH, Dense(4 * n), TANH, Dense(n / 2), TANH, Dense(2))), (3,), {},
    ),
    "convolutions, average": (cnn((1, 4, 4), 2, 2, TANH, stride=2), (1, 4, 4), {}),
    "convolutions, flattened": (cnn((1, 3, 3), 2, 2, TANH, average=False, stride=2), (1, 3, 3), {}),
    "three layers, readout of zero": (perceptron(3, 2, 3, TANH), (3,), {"readout_std": 0.0}),
    "transformer on patches": (vit((1, 4, 4), 2, 2, depth=1, heads=2), (1, 4, 4), {}),
}  # fmt: skip
HOW = {"lr": 0.3, "first": 0.7, "last": 1.5, "bias": 0.5, "weight_decay": 0.05}
STEPS = 3


def data(axes, batch=3):
    return randn(batch, *axes), randn(batch, 2, seed=1)


def trained(arch, width, seed, x, y, loss, momentum, **options):
    """Outputs of a finite network before each step of torch's SGD, and after the last."""
    net = arch.finite(width, parametrization=Roles.mup(), dtype=torch.float64, generator=seeded(seed), **options)
    optimizer = torch.optim.SGD(net.parameter_groups(**HOW), momentum=momentum)
    outputs = []
    for _ in range(STEPS):
        out = net(x)
        outputs.append(out.detach())
        optimizer.zero_grad()
        loss(out, y).backward()
        optimizer.step()
    return torch.stack([*outputs, net(x).detach()])


def limit_of(arch, x, y, loss, momentum, samples, **options):
    limit = MuLimit(arch, loss=loss, momentum=momentum, samples=samples, generator=seeded(), **HOW, **options)
    limit.fit(x, y, STEPS)
    return torch.cat([limit.outputs, limit.predict(x)[None]])


def gaps(arch, x, y, loss, widths, seeds, samples, **options):
    """Root mean square distances to the limit, (widths, times)."""
    exact = limit_of(arch, x, y, loss, 0.5, samples, **options)
    found = []
    for width in widths:
        runs = torch.stack([trained(arch, width, seed, x, y, loss, 0.5, **options) for seed in range(seeds)])
        found.append((runs - exact).square().flatten(2).mean((0, 2)).sqrt())
    return torch.stack(found), exact


@pytest.mark.parametrize("name", NETS)
def test_finite_networks_come_closer_as_one_over_root_n(name):
    arch, axes, options = NETS[name]
    samples = 1500 if "average" in name else 1000
    found, exact = gaps(arch, *data(axes), squares, (32, 512), 6, samples, **options)
    assert (found[0] / found[1])[1:].min() > 2.2, found
    assert found[1].max() < 0.25 * exact[1:].square().mean().sqrt()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_the_slope_of_their_distance_is_a_half_at_every_step(name):
    arch, axes, options = NETS[name]
    widths = (64, 256, 1024)
    found, _ = gaps(arch, *data(axes), squares, widths, 24, 12_000, **options)
    for time in range(STEPS + 1):
        assert fitted_slope(widths, found[:, time].tolist()) == pytest.approx(-0.5, abs=0.12), (time, found)


def test_a_language_model_of_embeddings_positions_and_causal_attention():
    arch = gpt(5, 3, depth=1, heads=2)
    x = torch.tensor([[0, 1, 2], [4, 1, 3]])
    y = torch.tensor([[1, 2, 0], [1, 3, 3]])
    found, exact = gaps(arch, x, y, cross_entropy, (32, 512), 6, 1000)
    assert exact.shape == (STEPS + 1, 2, 3, 5)
    assert (found[0] / found[1])[1:].min() > 2.2, found


def test_a_traced_module_has_the_limit_of_what_was_written_by_hand():
    def make_model(width):
        return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))

    x, y = data((3,))
    traced, written = (
        limit_of(arch, x, y, squares, 0.0, 300) for arch in (mupi.trace(make_model, x), perceptron(3, 2, 2, TANH))
    )
    torch.testing.assert_close(traced, written, rtol=0, atol=0)


def test_a_perceptron_by_its_depth_is_the_described_one_without_biases():
    x, y = data((3,))
    one, other = (
        MuLimit(*args, lr=0.5, momentum=0.3, weight_decay=0.1, samples=200, generator=seeded()).fit(x, y, 3)
        for args in ((2, TANH), (perceptron(3, 2, 2, TANH, bias=False),))
    )
    assert torch.equal(one.outputs, other.outputs) and torch.equal(one.predict(x), other.predict(x))


def test_nesterovs_momentum_is_torchs():
    arch, (x, y) = perceptron(3, 2, 1, TANH), data((3,))
    limit = MuLimit(arch, lr=0.3, momentum=0.6, nesterov=True, samples=4000, generator=seeded()).fit(x, y, 3)
    runs = []
    for seed in range(6):
        net = arch.finite(1024, parametrization=Roles.mup(), dtype=torch.float64, generator=seeded(seed))
        optimizer = torch.optim.SGD(net.parameter_groups(lr=0.3), momentum=0.6, nesterov=True)
        for _ in range(3):
            optimizer.zero_grad()
            squares(net(x), y).backward()
            optimizer.step()
        runs.append(net(x).detach())
    mean, error = torch.stack(runs).mean(0), torch.stack(runs).std(0) / 6**0.5
    assert ((mean - limit.predict(x)).abs() < 5 * error + 0.01).all()


def test_other_batches_step_by_step_and_predictions_between_change_nothing():
    arch, (x, y) = perceptron(3, 2, 2, TANH), data((3,), 6)
    looked, not_looked = (MuLimit(arch, lr=0.3, samples=300, generator=seeded()) for _ in range(2))
    for limit in (looked, not_looked):
        for part in (slice(0, 2), slice(2, 6), slice(0, 6)):
            limit.step(x[part], y[part])
            if limit is looked:
                limit.predict(x), limit.hidden(x[:1]), limit.feature_kernel(x[:2], x)
    # Predictions draw Gaussians of their own, so that later ones are others.
    assert looked.ranks == not_looked.ranks
    assert (looked.predict(x) - not_looked.predict(x)).abs().max() < 0.05


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_a_saved_limit_goes_on_bit_for_bit(momentum, tmp_path):
    arch, (x, y) = NETS["residual, LayerNorm"][0], data((3,))

    def fresh():
        return MuLimit(arch, lr=0.3, momentum=momentum, samples=200, generator=seeded())

    whole = fresh().fit(x, y, 4)
    part = fresh().fit(x, y, 2)
    torch.save(part.state_dict(), tmp_path / "limit.pt")
    again = fresh()
    again.load_state_dict(torch.load(tmp_path / "limit.pt"))
    assert torch.equal(again.outputs, part.outputs)
    again.fit(x, y, 2)
    assert torch.equal(again.outputs, whole.outputs) and torch.equal(again.losses, whole.losses)
    assert torch.equal(again.predict(x), whole.predict(x))


def test_a_state_of_another_network_is_refused():
    x, y = data((3,))
    state = MuLimit(2, samples=100, generator=seeded()).fit(x, y, 1).state_dict()
    with pytest.raises(ValueError, match=r"must be of a network with perceptron of depth 3, Tanh\(\); got .*depth 2"):
        MuLimit(3, samples=100).load_state_dict(state)
    with pytest.raises(ValueError, match=r"must be of a network with sigma_w = 2.0; got sigma_w = 1.0"):
        MuLimit(2, samples=100, sigma_w=2.0).load_state_dict(state)
    with pytest.raises(ValueError, match="must be of 200 samples; got 100"):
        MuLimit(2, samples=200).load_state_dict(state)
    with pytest.raises(ValueError, match="must be of 2 replicates; got 4"):
        MuLimit(2, samples=100, replicates=2).load_state_dict(state)
    with pytest.raises(ValueError, match="after a step; got no step"):
        MuLimit(2).state_dict()


def test_an_interrupted_step_is_as_if_it_had_not_begun():
    arch, (x, y) = perceptron(3, 2, 2, TANH), data((3,))
    calls = []

    def interrupting(f, y):
        calls.append(f)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return squares(f, y)

    limit = MuLimit(arch, lr=0.3, loss=interrupting, samples=200, generator=seeded())
    with pytest.raises(KeyboardInterrupt):
        limit.fit(x, y, 20)
    done = len(limit.outputs)
    assert 0 < done < 20
    before = limit.ranks
    limit.predict(x)
    assert limit.ranks == before
    limit.fit(x, y, 3)
    whole = MuLimit(arch, lr=0.3, loss=squares, samples=200, generator=seeded()).fit(x, y, done)
    assert len(limit.outputs) == done + 3
    torch.testing.assert_close(limit.outputs[:done], whole.outputs, rtol=0, atol=0)


def test_a_step_that_diverges_leaves_the_last_that_did_not():
    x, y = data((3,))
    limit = MuLimit(1, mupi.Identity(), lr=1e60, samples=60, replicates=2, generator=seeded())
    with pytest.raises(ValueError, match="must be finite"):
        limit.fit(x, y, 30)
    assert torch.isfinite(limit.outputs).all() and len(limit.outputs) > 1
    state = limit.state_dict()["limit"]
    assert all(torch.isfinite(value).all() for one in state for value in one["values"].values())


def test_nothing_grows_with_the_number_of_steps_but_directions():
    x, y = data((3,))
    limit = MuLimit(1, lr=0.1, samples=100, replicates=2, generator=seeded()).fit(x, y, 3)
    lines, held = len(limit.net.program.lines), len(limit.limits.values[0])
    limit.fit(x, y, 5)
    assert (len(limit.net.program.lines), len(limit.limits.values[0])) == (lines, held)


X, Y = data((3,))
BAD = {
    "dropout": (
        lambda: MuLimit(describe((3,), chain(Dense(n), TANH, Dropout(0.1), Dense(2)))).fit(X, Y, 1),
        r"`MuLimit\(net\)` must be a network without dropout; got `Dropout\(0.1\)`",
    ),
    "random output biases": (
        lambda: MuLimit(describe((3,), chain(Dense(n), TANH, Dense(2))), sigma_b=1.0).fit(X, Y, 1),
        r"a random bias of outputs",
    ),
    "an activation of its own": (
        lambda: MuLimit(perceptron(3, 2), TANH),
        r"`MuLimit\(activation=...\)` must be None for a description",
    ),
    "inputs of another size": (
        lambda: MuLimit(perceptron(4, 2)).fit(X, Y, 1), r"must be|must have",
    ),
    "targets of another size": (
        lambda: MuLimit(perceptron(3, 3)).fit(X, Y, 1), r"`MuLimit.fit\(y\)` must be of 3 outputs",
    ),
    "a width without positions": (
        lambda: MuLimit(describe((3,), chain(Dense(n), TANH))).fit(X, Y, 1), r"must be|`MuLimit\(net\)`",
    ),
    "random numbers between data": (
        lambda: MuLimit(describe((3,), chain(Dense(3), TANH, Dense(n), TANH, Dense(2)))).fit(X, Y, 1),
        r"a random matrix between finitely many numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_has_no_such_limit_is_refused(name):
    attempt, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        attempt()
