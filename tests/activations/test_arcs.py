"""Moments of rectifiers in float32 by polynomials: within the stated error of float64 at every correlation."""

import math

import pytest
import torch

from assertions import assert_close
from cases import CLOSED_FORM, randn
from mupi import Abs, ReLU
from mupi.activations import arcs
from mupi.activations.rectifiers import Rectifier
from mupi.kernels.inner_products import unseen

LEAST = unseen(torch.float32)
RECTIFIERS = {name: φ for name, φ in CLOSED_FORM.items() if isinstance(φ, Rectifier)}


def correlations():
    """All of [−1, 1] evenly, and ±1 from nearby, at every scale of the angle; some beyond by rounding."""
    even = torch.linspace(-1, 1, 300_001, dtype=torch.float64)
    near = torch.logspace(-9, 0, 100_000, dtype=torch.float64)
    zero = torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1 + 1e-7, -1 - 1e-7], dtype=torch.float64)
    return torch.cat([even, 1 - near, near - 1, near, -near, zero])


def of_pairs(φ, var_u, cov, var_v, slope=True):
    """Of vectors one by one."""
    u, v = (arcs.split(var) for var in (var_u, var_v))
    assert u is not None and v is not None
    return arcs.rectified(u, cov, v, odd=φ.odd, even=φ.even, least=LEAST, slope=slope)


@pytest.mark.parametrize("name", RECTIFIERS)
@pytest.mark.parametrize("size", [1.0, 3e-27, 3e27])
def test_moments_of_float32_are_those_of_float64_to_the_stated_error(name, size):
    φ, q = RECTIFIERS[name], correlations()
    var_u, var_v = (size * (0.3 + torch.rand(2, len(q), generator=torch.Generator().manual_seed(0)))).unbind()
    root = (var_u.double() * var_v.double()).sqrt()
    cov = (q * root).float()
    moment, slope = of_pairs(φ, var_u, cov, var_v)
    assert slope is not None
    # What counts as parallel is parallel exactly.
    t = 1 - cov.double().abs() / root
    seen = torch.where(t > LEAST, cov.double(), root.copysign(cov.double()))
    expected, expected_slope = φ.dual_and_slope(var_u.double(), seen, var_v.double())
    clear = (t - LEAST).abs() > 1e-3 * LEAST  # of the bound itself
    weight = φ.odd**2 + φ.even**2
    assert clear.sum() > len(q) - 1000
    assert float(((moment - expected).abs() / root)[clear].max()) < arcs.ERROR * weight
    assert float((slope - expected_slope).abs()[clear].max()) < arcs.ERROR * weight


def test_parallel_opposite_orthogonal_and_zero_vectors():
    var = torch.tensor([2.0, 0.7, 0.0, 0.0, 3.0, 3.0])
    cov = torch.tensor([2.0, -0.7, 0.0, 0.0, 0.0, 3.0])
    other = torch.tensor([2.0, 0.7, 0.0, 5.0, 3.0, 3.0])
    moment, slope = of_pairs(ReLU(), var, cov, other)
    assert slope is not None
    assert_close(moment, torch.tensor([1.0, 0.0, 0.0, 0.0, 1.5 / math.pi, 1.5]))
    assert moment[1] == 0 and slope[1] == 0  # opposite: not even a rounding
    assert_close(slope, torch.tensor([0.5, 0.0, 0.25, 0.25, 0.25, 0.5]))


def test_the_moment_alone_is_the_same_bit_for_bit():
    var, cov = torch.ones(5000), torch.linspace(-1, 1, 5000)
    alone, none = of_pairs(ReLU(), var, cov, var, slope=False)
    assert none is None and torch.equal(alone, of_pairs(ReLU(), var, cov, var)[0])


def test_pieces_of_any_layout_are_the_whole(monkeypatch):
    x, y = randn(7, 3, 4, 5), randn(6, 3, 4, 5)
    cov = torch.einsum("apqd,bpqd->pabq", x, y).float().permute(1, 2, 0, 3)
    u, v = (arcs.split(t.square().sum(-1).float()) for t in (x, y))
    assert u is not None and v is not None
    sides = u[:, :, None], v[:, None]
    options = {"odd": 0.5, "even": 0.5, "least": LEAST, "slope": True}
    whole = arcs.rectified(sides[0], cov, sides[1], **options)
    monkeypatch.setattr(arcs, "PIECE", 30)
    for one, other in zip(arcs.rectified(sides[0], cov, sides[1], **options), whole, strict=True):
        assert one is not None and other is not None
        assert_close(one, other)


def test_what_it_does_not_serve_is_left_to_the_closed_formula():
    assert arcs.split(torch.ones(3, dtype=torch.float64)) is None
    assert arcs.split(torch.ones(3, requires_grad=True)) is None
    assert arcs.split(torch.tensor([1.0, 1e-35])) is None
    assert arcs.split(torch.tensor([1.0, 1e35])) is None
    assert arcs.split(torch.tensor([1.0, math.nan])) is None
    assert (
        torch.func.vmap(lambda var: torch.zeros(()) if arcs.split(var) is None else var.sum())(torch.ones(2, 3)).sum()
        == 0
    )


def test_nan_stays_nan():
    moment, slope = of_pairs(Abs(), torch.ones(2), torch.tensor([math.nan, 0.5]), torch.ones(2))
    assert slope is not None
    assert moment.isnan().tolist() == slope.isnan().tolist() == [True, False]
