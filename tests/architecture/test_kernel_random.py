"""`arch.nngp` and `arch.ntk` of random networks: symmetric, positive, the same in blocks and dtypes, differentiable."""

import pickle
from copy import deepcopy
from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from architecture.test_kernel import NORM, READINGS, attend, n
from assertions import assert_close, assert_equal
from cases import randn
from mupi import Cos, Erf, Identity, ReLU
from mupi.architecture import (
    Activate,
    Add,
    Architecture,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    Join,
    Multiply,
    Normalize,
    Reshape,
    Select,
    Table,
    chain,
    describe,
    residual,
    zoo,
)
from mupi.architecture.kernel import matrices

KINDS = ["conv", "residual", "attention", "pool", "gate", "mix", "post"]
ΦS = [ReLU(), Erf(), Cos(), Identity()]
PLANS = st.tuples(
    st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.booleans()), min_size=1, max_size=3),
    st.integers(0, 2),
)


def network(plan):
    """Of parts on three positions that keep them."""
    parts: list = [Dense(n)]
    for kind, which, yes in plan[0]:
        φ = ΦS[which]
        if kind == "conv":
            convs = Conv(n, (3,), (1 + yes,), (2,), ["zeros", "circular"][which % 2]), Conv(n, (1,))
            parts += [φ, *convs, Select(0, 2), lambda h: Join()(h, Select(0, 1)(h))]
        elif kind == "residual":
            norm = replace(NORM, gain=φ != Cos())  # behind a gain, a cosine's NTK has no closed form
            parts.append(residual(norm, φ, Dense(n), scale=0.6))
        elif kind == "attention":
            parts.append(residual(NORM, attend(yes)))
        elif kind == "pool":
            parts.append(lambda h: Add()(h, Reshape((1,))(AveragePool()(h))))
        elif kind == "gate":
            parts += [lambda h: Multiply()(Activate(Erf())(Dense(n)(h)), Dense(n)(h)), Dense(n)]
        elif kind == "mix":
            parts.append(lambda h: Add()(h, Table((3,), n)(h)))
        else:
            parts += [residual(φ), NORM, Dense(n)]
    end = [Flatten(), AveragePool(), Select(1)][plan[1]]
    return describe((3, 2), chain(*parts, Normalize(eps=0.1), ReLU(), end, Dense(1)))


@settings(max_examples=4, deadline=None)
@given(PLANS, st.integers(0, 10**6))
def test_kernels_of_random_networks(plan, seed):
    arch = network(plan)
    x = randn(5, 3, 2, seed=seed)
    for read in READINGS.values():
        k = read(arch, 1.1, 0.2)
        K = k(x)
        assert_equal(K, K.T.contiguous())
        assert float(torch.linalg.eigvalsh(K)[0]) > -1e-7 * float(K.trace())
        assert_close(k.diagonal(x), K.diagonal(), rtol=1e-9)
        assert_close(k(x[:2].clone(), x[2:].flatten(1)), K[:2, 2:].contiguous(), rtol=1e-9)
        assert_close(k(x.float()), K, rtol=1e-3)
        whole, matrices.BLOCK_ENTRIES = matrices.BLOCK_ENTRIES, 40
        assert_close(k(x), K, rtol=1e-9)
        matrices.BLOCK_ENTRIES = whole
        assert pickle.loads(pickle.dumps(k)) == k == deepcopy(k) == read(arch, 1.1, 0.2)
    assert bool((read(arch, 1.1, 0.2)(x).diagonal() >= Architecture.nngp(arch, 1.1, 0.2)(x).diagonal() - 1e-9).all())


@settings(max_examples=2, deadline=None)
@given(PLANS, st.integers(0, 10**6))
def test_gradients_of_random_networks(plan, seed):
    arch = network(plan)
    x, y = randn(2, 6, seed=seed).requires_grad_(), randn(2, 6, seed=seed + 1)
    for read in READINGS.values():
        k = read(arch, 1.1, 0.2)
        assert_close(k(x, y), k(x.detach(), y), rtol=1e-9)
        assert torch.autograd.gradcheck(k, (x, y), fast_mode=True, atol=1e-4)


def test_derivatives_by_blocks_and_transforms(monkeypatch):
    arch = zoo.vit((1, 4, 4), 2, 1, depth=1, heads=2, activation=Erf())
    k, x = arch.ntk(1.1, 0.2), randn(3, 16)
    monkeypatch.setattr(matrices, "BLOCK_ENTRIES", 40)

    def total(a):
        return k(a, x + 1).sin().sum()

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(total(leaf), leaf)
    assert_close(torch.func.grad(total)(x), gradient)
    each = torch.func.vmap(torch.func.grad(lambda a: k(a[None], x).sum()))(x)
    assert_close(each, torch.autograd.grad(k(leaf, x).sum(), leaf)[0])
