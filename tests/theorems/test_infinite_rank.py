"""At initialisation the π-limit's feature kernel approaches a recursion of Gaussian expectations as r → ∞."""

import pytest
import torch

from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi import NNGP, Atoms, Erf, PiMLP, ReLU, Sin


def feature_kernel(activation, rank, depth, x1, x2, seed):
    """Of a fresh network whose first junction has ⟨g, g'⟩ → ⟨x, x'⟩/d: columns of A have norm 1."""
    net = PiMLP(
        x1.shape[1], 1, rank, depth, features=Atoms(), activation=activation, input_scale=rank**-0.5, bias_scale=0.0,
        generator=seeded(seed), dtype=torch.float64,
    )  # fmt: skip
    return net.feature_kernel(x1, x2).detach()


def recursion(activation, depth, x1, x2):
    """K¹ = E φφ of the linear kernel. With rows of b uniform on the sphere, later junctions of an odd φ are linear too:

    Σ_m κ(b_m, g)κ(b_m, g') → s(|g|) s(|g'|) ⟨g, g'⟩ with s = E φ'(u)φ'(v), u of variance 1 and v of |g|², independent.
    """
    d = x1.shape[1]
    var_1, cov, var_2 = x1.square().sum(1)[:, None] / d, x1 @ x2.T / d, x2.square().sum(1) / d
    one = torch.ones(1, dtype=x1.dtype)
    for _ in range(depth - 1):
        slope_1, slope_2 = (activation.dual_11(one, 0 * var, var) for var in (var_1, var_2))
        var_1, cov, var_2 = slope_1**2 * var_1, slope_1 * slope_2 * cov, slope_2**2 * var_2
    return activation.dual(var_1, cov, var_2)


@pytest.mark.parametrize(("activation", "depth"), [(ReLU(), 1), (Erf(), 1), (Erf(), 2), (Sin(), 3)], ids=str)
def test_the_kernel_at_initialization_approaches_its_recursion(activation, depth):
    x1, x2 = randn(3, 6), randn(4, 6, seed=1)
    expected = recursion(activation, depth, x1, x2)
    ranks = [16, 64, 256]
    errors = [
        root_mean_square([
            float((feature_kernel(activation, rank, depth, x1, x2, seed) - expected).norm() / expected.norm())
            for seed in range(24)
        ])
        for rank in ranks
    ]  # fmt: skip
    assert fitted_slope(ranks, errors) == pytest.approx(-0.5, abs=0.1)
    assert errors[-1] < 0.4


@pytest.mark.parametrize("activation", [ReLU(), Erf(), Sin()], ids=str)
def test_with_one_hidden_layer_the_recursion_is_the_nngp(activation):
    """Of more layers it is not: π-initialisation is another prior than iid weights."""
    x1, x2 = randn(3, 6), randn(4, 6, seed=1)
    assert_close(recursion(activation, 1, x1, x2), NNGP(1, activation, sigma_w=1.0)(x1, x2), rtol=1e-12)
