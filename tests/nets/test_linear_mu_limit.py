"""`LinearMuLimit`: the μ-limit's own equations, and finite networks that approach it at every step."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import mupi
from assertions import assert_close, assert_equal, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi import LinearMuLimit

ARGUMENTS = dict(d_in=6, d_out=3, sigma_u=0.8, sigma_v=0.5, alpha=1.5)
STEPS = 8


def limit(bias_scale: float = 0.7) -> LinearMuLimit:
    return LinearMuLimit(**ARGUMENTS, bias_scale=bias_scale, dtype=torch.float64)


def losses(net, clip: float | None = None, momentum: float = 0.0):
    """Train on fixed batches; the loss of each step."""
    optimizer = mupi.SGD(net.parameters(), lr=0.3, clip=clip, clip_jointly=True, momentum=momentum)
    result = []
    for step in range(STEPS):
        x, y = randn(4, 6, seed=step), torch.tensor([0, 1, 2, step % 3])
        loss = cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        result.append(loss.detach())
    return torch.stack(result)


def test_it_starts_at_zero_with_the_feature_kernel_of_its_gaussians():
    net, x1, x2 = limit(), randn(4, 6), randn(5, 6, seed=1)
    assert_equal(net(x1), torch.zeros(4, 3, dtype=torch.float64))
    assert_close(net.feature_kernel(x1, x2), 0.8**2 * x1 @ x2.T)


def test_steps_are_those_of_the_limit_s_equations():
    """f = α E Z^{nV} Z^{xU}, and the two updates, with every Z a vector of coefficients on the d + d_out Gaussians.

    Z^{nV} −= η α χ Z^{xU};  Z^{U} −= η α x Z^{nV} χ, for one sample a step (Yang & Hu 2021, with φ = id).
    """
    net = limit(bias_scale=0.0)
    optimizer = mupi.SGD(net.parameters(), lr=0.3)
    σ_u, σ_v, α = 0.8, 0.5, 1.5
    u = [[σ_u if i == j else 0.0 for i in range(9)] for j in range(6)]  # Z^{U_j} for each input coordinate j
    v = [[σ_v if i == 6 + k else 0.0 for i in range(9)] for k in range(3)]  # Z^{nV_k} for each output k
    for step in range(5):
        x, y = randn(1, 6, seed=step), torch.tensor([step % 3])
        h = [sum(float(x[0, j]) * u[j][i] for j in range(6)) for i in range(9)]
        f = [α * sum(v[k][i] * h[i] for i in range(9)) for k in range(3)]
        assert_close(net(x)[0], torch.tensor(f, dtype=torch.float64), rtol=1e-12, scale=1.0)
        exponentials = [2.718281828459045**value for value in f]
        χ = [e / sum(exponentials) - (k == step % 3) for k, e in enumerate(exponentials)]
        new_u = [
            [u[j][i] - 0.3 * α * float(x[0, j]) * sum(χ[k] * v[k][i] for k in range(3)) for i in range(9)]
            for j in range(6)
        ]
        v = [[v[k][i] - 0.3 * α * χ[k] * h[i] for i in range(9)] for k in range(3)]
        u = new_u
        cross_entropy(net(x), y).backward()
        optimizer.step()
    assert max(abs(value) for value in f) > 0.05, "f has moved"


@pytest.mark.parametrize("bias_scale", [0.0, 0.7])
def test_finite_networks_approach_it_at_every_step(bias_scale):
    expected = losses(limit(bias_scale))
    widths, draws = (64, 256, 1024), 12

    def gaps(width):
        """At each step the root mean square over draws."""
        runs = [losses(limit(bias_scale).sample(width, seeded(draw))) - expected for draw in range(draws)]
        return [root_mean_square([float(run[step]) for run in runs]) for step in range(STEPS)]

    by_width = [gaps(width) for width in widths]
    assert (expected.diff().abs() > 1e-3).all(), "the loss moves"
    for step in range(STEPS):
        # With 12 draws of each width a fitted slope has a standard deviation of some 0.1.
        assert fitted_slope(widths, [gap[step] for gap in by_width]) == pytest.approx(-0.5, abs=0.3)
    overall = fitted_slope(widths, [root_mean_square(gap) for gap in by_width])
    assert overall == pytest.approx(-0.5, abs=0.15)


def test_clipping_and_momentum_commute_with_the_limit():
    expected = losses(limit(), clip=0.2, momentum=0.5)
    wide = losses(limit().sample(2**15, seeded()), clip=0.2, momentum=0.5)
    assert_close(wide, expected, rtol=0.02)
    assert not torch.allclose(expected, losses(limit()), rtol=0.02), "clipping and momentum matter"


def test_samples_of_a_trained_limit_approach_it():
    net = limit()
    losses(net)
    x = randn(5, 6, seed=50)
    widths = (64, 512, 4096)
    errors = [
        root_mean_square([float((net.sample(n, seeded(draw))(x) - net(x)).detach().norm()) for draw in range(20)])
        for n in widths
    ]
    assert fitted_slope(widths, errors) == pytest.approx(-0.5, abs=0.15)


def test_the_sample_is_in_mup_and_its_readout_bias_stays():
    net = limit().sample(16, seeded())
    assert net.parametrization.is_mup
    assert [p.requires_grad for p in net.parameters()] == [True, True, True, False]
    assert limit(0.0).sample(16).readout.bias is None


@pytest.mark.parametrize(
    "changed, message",
    [
        (dict(d_in=0), r"`LinearMuLimit\(d_in=...\)` must be an integer ≥ 1; got 0"),
        (dict(sigma_u=-1.0), r"`LinearMuLimit\(sigma_u=...\)` must be a finite number ≥ 0; got -1.0"),
        (dict(alpha=float("inf")), r"`LinearMuLimit\(alpha=...\)` must be a finite number ≥ 0; got inf"),
    ],
)
def test_bad_arguments_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        LinearMuLimit(**(ARGUMENTS | changed))


def test_bad_inputs_are_refused():
    with pytest.raises(ValueError, match=r"`x` must be of shape \(..., 6\)"):
        limit()(randn(2, 5))
    with pytest.raises(ValueError, match=r"`LinearMuLimit.sample\(width=...\)` must be an integer ≥ 1; got 0"):
        limit().sample(0)
