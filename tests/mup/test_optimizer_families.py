"""Rates by family, against the exponents of μP's parametrization with multipliers, by the abc symmetry."""

from fractions import Fraction

import pytest
import torch

import mupi
from mupi.mup import AdafactorLike, AdamLike, Fans, MuonLike, SGDLike, family_of
from mupi.parametrization import adam_rates, sgd_rates
from mupi.parametrization.roles import ROLES

STD = {"input": Fraction(0), "hidden": Fraction(-1, 2), "readout": Fraction(-1), "vector": Fraction(0)}
P = mupi.Roles.mup()


def fans(role, out=16, into=16):
    """Those of a square matrix of 8 at the base."""
    sums, feeds = role in ("hidden", "readout"), role in ("input", "hidden", "vector")
    shape = (8 * out if feeds else 10, 8 * into if sums else 3)
    return Fans(role, shape, (8 if feeds else 10, 8 if sums else 3), Fraction(into if sums else 1),
                Fraction(out if feeds else 1))  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_rates_of_sgd_are_those_of_mup_with_its_multipliers_absorbed(role):
    # W = n^−a w: a step of w by η n^−c ∂L/∂w, with ∂L/∂w = n^−a ∂L/∂W, moves W by η n^{−2a−c} ∂L/∂W.
    assert SGDLike().rate(role) == -2 * P.a(role) - P.c(role, sgd_rates)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("family", [AdamLike(), AdamLike(decoupled=False)])
def test_rates_of_adam_are_those_of_mup_with_its_multipliers_absorbed(role, family):
    # A step of w of size η n^−c moves W by n^{−a−c}.
    assert family.rate(role) == -P.a(role) - P.c(role, adam_rates)


@pytest.mark.parametrize("family", [SGDLike(), AdamLike(), AdafactorLike(), MuonLike(), MuonLike("match_rms_adamw")])
@pytest.mark.parametrize("role", ROLES)
def test_every_family_moves_what_a_parameter_feeds_by_order_one(family, role):
    if isinstance(family, MuonLike) and role != "hidden":
        return
    std = STD.get(role, Fraction(0))
    moved = family.rate(role) + family.update(family.gradient(role), role, std)
    assert moved + (role in ("hidden", "readout")) == 0  # the sum over the infinite axis is coherent


@pytest.mark.parametrize("family", [SGDLike(), AdamLike(), AdafactorLike(), MuonLike(), MuonLike("match_rms_adamw"),
                                    MuonLike("none"), MuonLike("spectral")])  # fmt: skip
@pytest.mark.parametrize("role", ROLES)
def test_factors_are_powers_of_the_width_where_sides_grow_alike(family, role):
    assert family.rate_factor(fans(role), {}) == pytest.approx(16 ** float(family.rate(role)), rel=1e-12) or (
        isinstance(family, MuonLike) and role != "hidden"
    )


@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
@pytest.mark.parametrize(("out", "into"), [(16, 16), (64, 16), (4, 16), (1, 4)])
def test_a_step_of_muon_has_the_spectral_norm_of_the_base_times_the_root_of_the_ratios(adjust, out, into):
    torch.manual_seed(0)
    norms = []
    for f in (fans("hidden", 1, 1), fans("hidden", out, into)):
        w = torch.nn.Parameter(torch.zeros(f.shape))
        rate = MuonLike().rate_factor(f, {"adjust_lr_fn": adjust})
        options = dict(weight_decay=0.0, adjust_lr_fn=adjust)
        w.grad = torch.outer(torch.randn(f.shape[0]), torch.randn(f.shape[1]))
        torch.optim.Muon([w], lr=rate, **options).step()
        norms.append(float(torch.linalg.matrix_norm(w.detach(), 2)))
    assert norms[1] / norms[0] == pytest.approx((out / into) ** 0.5, rel=0.02)  # Muon iterates in bfloat16


def test_classes_are_found_by_what_they_are_derived_from():
    class Mine(torch.optim.AdamW):
        pass

    assert family_of(Mine) == AdamLike()
    assert family_of(torch.optim.Adam) == AdamLike(decoupled=False)
    assert family_of(mupi.SGD([torch.nn.Parameter(torch.zeros(1))])) == SGDLike()
    assert family_of(torch.optim.Muon) == MuonLike()


@pytest.mark.parametrize("kind", [torch.optim.Adadelta, torch.optim.LBFGS])
def test_optimizers_without_rates_that_would_do_are_refused(kind):
    with pytest.raises(ValueError, match=f"got {kind.__name__}"):
        family_of(kind)


def test_an_unknown_optimizer_is_refused_with_how_to_say_its_family():
    class Lion(torch.optim.Optimizer):
        pass

    with pytest.raises(ValueError, match="pass family="):
        family_of(Lion)
    assert family_of(Lion, AdamLike()) == AdamLike()
    with pytest.raises(ValueError, match="adjust"):
        MuonLike("moonlight")


def test_every_optimizer_of_torch_is_known_or_refused():
    for kind in vars(torch.optim).values():
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer:
            try:
                family_of(kind)
            except ValueError as error:
                assert "use torch.optim.AdamW" in str(error)
