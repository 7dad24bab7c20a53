"""Kernels at σ's that are tensors, and in batches: equal to those at numbers, one by one; their derivatives."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from architecture.test_kernel_random import PLANS, network
from assertions import assert_close, assert_equal
from cases import ACTIVATIONS, randn
from mupi import NNGP, NTK, ConvNTK, Erf, ReLU
from mupi.architecture import zoo
from mupi.architecture.kernel import batches
from mupi.architecture.kernel.batches import in_batches
from mupi.architecture.kernel.sigmas import at_sigmas, shared_sigmas

STEP = 1e-5
KERNELS = {
    "nngp": NNGP(2, ReLU(), 1.2, 0.3).of(6),
    "ntk": NTK(2, Erf(), 1.2, 0.3).of(6),
    "rates": NTK(1, ReLU(), 1.2, 0.3, bias_lr=(0.5, 0.0)).of(6),
    "average": ConvNTK((1, 2, 3), 1, ReLU(), True, 3, 1.2, 0.3).limit,
    "tokens": zoo.gpt(5, 6, 1, 2, activation=Erf()).ntk(1.2, 0.3, output="mean"),
}


def leaves(found):
    return {shared: torch.tensor(shared.start, dtype=torch.float64, requires_grad=True) for shared in found}


def inputs(name, *shape):
    x = randn(*shape, 6)
    return (x.abs() * 2).long().clamp_max(4).double() if name == "tokens" else x


@settings(max_examples=2, deadline=None)
@example(([("attention", 0, False)], 0), 0, False)
@given(PLANS, st.integers(0, 10**6), st.booleans())
def test_derivatives_by_every_sigma_of_random_networks_are_differences(plan, seed, tangent):
    arch = network(plan)
    read = arch.ntk if tangent else arch.nngp
    names = {node.owner for node in arch if hasattr(node.operation, "role")}
    σ = {"sigma_w": dict.fromkeys(names, 1.1), "sigma_b": dict.fromkeys(names, 0.2)}
    x, y, cotangent = randn(3, 6, seed=seed), randn(2, 6, seed=seed + 1), randn(3, 2, seed=seed + 2)
    k = read(**σ)
    found = leaves(shared_sigmas("test", k, "weight"))
    at = at_sigmas(k, found)
    assert_close(at(x, y), k(x, y), rtol=1e-12)
    assert_close(at.diagonal(x), k.diagonal(x), rtol=1e-12)
    total = (cotangent * at(x, y)).sum() + at.diagonal(x).sum()
    # The kernel does not depend on σ's of queries and keys.
    gradients = torch.autograd.grad(total, list(found.values()), allow_unused=True, materialize_grads=True)
    for shared, gradient in zip(found, gradients, strict=True):
        values = []
        for step in (STEP, -STEP):
            moved = {**σ, shared.kind: {**σ[shared.kind], shared.of: shared.start + step}}
            values.append(float((cotangent * read(**moved)(x, y)).sum() + read(**moved).diagonal(x).sum()))
        difference = (values[0] - values[1]) / (2 * STEP)
        assert_close(gradient, torch.tensor(difference).double(), rtol=1e-6, scale=1 + abs(difference))


@pytest.mark.parametrize(
    ("name", "by"),
    [("nngp", "role"), ("rates", "network"), ("rates", "weight"), ("average", "role"), ("tokens", "network")],
)
def test_a_shared_sigma_moves_all_whose_it_is(name, by):
    k, x = KERNELS[name], inputs(name, 4)
    found = leaves(shared_sigmas("test", k, by))
    kinds = {"network": 1, "role": 2 if name in ("rates", "average") else 3}
    if by in kinds and name != "tokens":
        assert len(found) == 2 * kinds[by]
    assert_close(at_sigmas(k, found)(x), k(x), rtol=1e-12)

    def of(*σs):
        return at_sigmas(k, dict(zip(found, σs, strict=True)))(x, x + (name != "tokens"))

    assert torch.autograd.gradcheck(of, tuple(found.values()), fast_mode=True)


def test_the_rate_of_a_bias_follows_where_it_is_the_default():
    x = randn(4, 3)
    for rates in (None, (0.5, 0.0)):
        k = NTK(1, ReLU(), 1.2, 0.3, bias_lr=rates)
        w, b = shared_sigmas("test", k.of(3), "network")
        assert_equal(at_sigmas(k.of(3), {w: 1.5, b: 0.7})(x), NTK(1, ReLU(), 1.5, 0.7, bias_lr=rates)(x))
    assert [str(s) for s in shared_sigmas("test", NNGP(2, ReLU()).of(3), "network")] == ["sigma_w"]


def test_float32_and_blocks(monkeypatch):
    k, x = KERNELS["ntk"], inputs("ntk", 7)
    found = leaves(shared_sigmas("test", k, "role"))
    whole = torch.autograd.grad(at_sigmas(k, found)(x).sum(), list(found.values()))
    monkeypatch.setattr("mupi.architecture.kernel.matrices.CHECKPOINT_ENTRIES", 10)
    blocks = torch.autograd.grad(at_sigmas(k, found)(x).sum(), list(found.values()))
    narrow = at_sigmas(k, {s: σ.float() for s, σ in found.items()})(x.float())
    assert narrow.dtype == torch.float32
    single = torch.autograd.grad(narrow.sum(), list(found.values()))
    for a, b, c in zip(whole, blocks, single, strict=True):
        assert_close(b, a, rtol=1e-12)
        assert_close(c, a, rtol=1e-4)


def test_what_cannot_be_a_sigma_is_refused():
    k = KERNELS["nngp"]
    (w, _) = shared_sigmas("test", k, "network")
    for σ in (-1.0, float("nan"), torch.tensor(float("nan")), torch.tensor(-1.0), torch.ones(2)):
        with pytest.raises(ValueError, match=r"`NNGP\(sigma_w=\.\.\.\)` must be"):
            at_sigmas(k, {w: σ})
    mixed = zoo.perceptron(3, 1, 2).nngp({"input": 1.0, "hidden": 1.1, "readout": 1.2})
    with pytest.raises(ValueError, match=r"share a sigma_w start.*take sigmas='role' or 'weight'"):
        shared_sigmas("test", mixed, "network")
    assert len(shared_sigmas("test", mixed, "role")) == 3
    with pytest.raises(ValueError, match=r"`test\(sigmas=\.\.\.\)` must be one of 'network', 'role', 'weight'"):
        shared_sigmas("test", mixed, "layer")


@pytest.mark.parametrize("name", ["ntk", "average", "tokens"])
def test_batches_are_one_by_one(name, monkeypatch):
    k, x, y = KERNELS[name], inputs(name, 5, 3), inputs(name, 5, 2)
    leaf = x.clone().requires_grad_(name != "tokens")
    found = leaves(shared_sigmas("test", k, "network"))
    at = at_sigmas(k, found)
    expected = torch.stack([at(a, b) for a, b in zip(leaf, y, strict=True)])
    by = [*found.values(), *([leaf] if name != "tokens" else [])]
    for entries in (2**20, 2 * 6 * k.compiled.entries):  # at once, and by two
        monkeypatch.setattr(batches, "CHECKPOINT_ENTRIES", entries)
        out = in_batches(at, leaf, y)
        assert_close(out, expected, rtol=1e-12)
        for a, b in zip(
            torch.autograd.grad(out.square().sum(), by, retain_graph=True),
            torch.autograd.grad(expected.square().sum(), by, retain_graph=True),
            strict=True,
        ):
            assert_close(a, b, rtol=1e-10)
    square = in_batches(k, x, x)
    assert_close(square, torch.stack([k(a) for a in x]), rtol=1e-12)
    assert in_batches(k, x[:0], y[:0]).shape == (0, 3, 2)
    assert in_batches(k, x[:, :0], y).shape == (5, 0, 2)


@pytest.mark.parametrize("name", ["leaky", "gelu", "softplus"])
def test_batches_in_float32(name):
    k, x = NTK(1, ACTIVATIONS[name], 1.1, 0.2).of(3), randn(4, 2, 3, dtype=torch.float32)
    assert_close(in_batches(k, x, x), torch.stack([k(a) for a in x]), rtol=1e-5)


def test_batches_are_checked_as_a_call():
    k, x = NTK(1, Erf(), 1.1, 0.2).of(3), randn(4, 2, 3)
    for wrong, message in [
        (x * float("nan"), "must be finite"),
        (x.long(), "floating dtype"),
        (1e200 * x, "of a size whose mean square"),
    ]:
        with pytest.raises(ValueError, match=message):
            in_batches(k, wrong, x)
    near = 1e7 * torch.tensor([[[1.0, 0.0, 0.0], [1.0, 1e-9, 0.0]]], dtype=torch.float64).repeat(3, 1, 1)
    with pytest.raises(ValueError, match="angles float64 resolves"):
        k(near[0])
    with pytest.raises(ValueError, match="angles float64 resolves"):
        in_batches(k, near, near)
