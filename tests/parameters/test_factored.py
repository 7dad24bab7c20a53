"""Gradients in rows add up as tensors do, whatever runs the backward passes; and what would read atoms is refused."""

import copy
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

import mupi
from assertions import assert_close
from cases import randn, seeded
from mupi.parameters import FactoredGradient, MatrixParameter

QUADRATIC = mupi.Polynomial((0.2, 1.0, 0.3))  # `Hermite(2)` is exact
KINDS = ("atoms", "factored")
X, Y = randn(12, 4, seed=1), randn(12, 3, seed=2)


def network(kind):
    features = mupi.Atoms() if kind == "atoms" else mupi.Hermite(2)
    options = dict(features=features, activation=QUADRATIC, readout_std=0.3, dtype=torch.float64, generator=seeded(0))
    net = mupi.PiMLP(4, 3, 5, 2, **options)
    return mupi.factor_gradients(net) if kind == "factored" else net


def loss(net, rows):
    return (net(X[rows]) - Y[rows]).square().sum()


class Around(torch.autograd.Function):
    """Identity whose backward pass runs another one."""

    @staticmethod
    def forward(ctx, x, run):
        ctx.run = run
        return x.clone()

    @staticmethod
    def backward(ctx, delta):
        with torch.enable_grad():
            ctx.run()
        return delta, None


def plainly(net, parts):
    for rows in parts:
        loss(net, rows).backward()


def nested(net, parts):
    if parts:
        x = Around.apply(X[parts[0]].clone().requires_grad_(), lambda: nested(net, parts[1:]))
        (net(x) - Y[parts[0]]).square().sum().backward()


def in_threads(net, parts):
    barrier = threading.Barrier(len(parts))

    def work(rows):
        value = loss(net, rows)
        barrier.wait()
        value.backward()

    workers = [threading.Thread(target=work, args=(rows,)) for rows in parts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def checkpointed(net, parts):
    for rows in parts:
        out = checkpoint(net, X[rows].clone().requires_grad_(), use_reentrant=True)
        (out - Y[rows]).square().sum().backward()


def with_graphs(net, parts):
    for i, rows in enumerate(parts):
        loss(net, rows).backward(create_graph=i % 2 == 1)


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@pytest.mark.parametrize("run", [plainly, nested, in_threads, checkpointed, with_graphs])
@given(cuts=st.sets(st.integers(1, 11), max_size=4))
@settings(max_examples=3, deadline=None, derandomize=True)
def test_every_row_counts_once(run, cuts):
    edges = [0, *sorted(cuts), 12]
    parts = [slice(start, stop) for start, stop in zip(edges, edges[1:], strict=False)]
    whole = network("ordinary")
    loss(whole, slice(None)).backward()
    mupi.SGD(whole.parameters(), lr=0.01, clip=2.0).step()
    for kind in KINDS:
        net = network(kind).eval()
        run(net, parts)
        mupi.SGD(net.parameters(), lr=0.01, clip=2.0).step()
        assert_close(net(X), whole(X), rtol=1e-10)


def test_a_pass_that_fails_half_way_leaves_no_rows():
    # Neither does it for ordinary parameters whose other uses were still to come.
    layer = network("atoms").layers[0]
    middle = layer(randn(3, 5))
    middle.register_hook(lambda delta: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        layer(middle).sum().backward()
    assert layer.weight.atoms.grad is None


def test_asked_for_by_grad_or_under_hooks_a_factored_gradient_is_the_ordinary_one():
    plain, factored = network("ordinary"), network("factored")
    got, expected = (torch.autograd.grad(loss(net, slice(None)), list(net.parameters())) for net in (factored, plain))
    for ours, theirs in zip(got, expected, strict=True):
        assert_close(ours, theirs)
    factored.input.weight.register_hook(lambda gradient: 2 * gradient)
    loss(factored, slice(None)).backward()
    assert_close(factored.input.weight.grad, 2 * expected[0])
    assert type(factored.layers[0].weight.weight.grad) is FactoredGradient


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_factors_and_tensors_add_up(order):
    weight = MatrixParameter(randn(4, 3))
    delta, x, dense = randn(5, 3, seed=1), randn(5, 4, seed=2), randn(4, 3, seed=3)
    gradients = [FactoredGradient(weight.shape, [(delta, x)]), dense.clone()]
    first, second = (gradients[i] for i in order)
    total = first + second
    assert_close(total.dense() if isinstance(total, FactoredGradient) else total, dense + x.T @ delta)
    first += second
    assert_close(first.dense() if isinstance(first, FactoredGradient) else first, dense + x.T @ delta)


COMPUTATIONS = {
    "average": lambda net: torch.optim.swa_utils.AveragedModel(net).update_parameters(net),
    "vector": lambda net: torch.nn.utils.parameters_to_vector(net.parameters()),
    "share": lambda net: net.share_memory(),
    "clone": lambda net: [p.clone() for p in net.parameters()],
    "data": lambda net: [p.data.mul_(0.9).add_(p.data, alpha=0.1) for p in net.parameters()],
    "norm": lambda net: sum(p.square().sum() for p in net.parameters()),
    "decay": lambda net: [p * 0.9 for p in net.parameters()],
    "copy": lambda net: [p.detach().copy_(q) for p, q in zip(net.parameters(), net.parameters(), strict=True)],
    "init": lambda net: [torch.nn.init.zeros_(p) for p in net.parameters()],
    "stack": lambda net: torch.func.stack_module_state([net, copy.deepcopy(net)]),
}


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_what_computes_with_atoms_is_refused_in_one_line(name):
    net = network("atoms")
    with pytest.raises((TypeError, RuntimeError), match=r"`mupi\.Atoms` is a list that grows.*mupi\.Hermite") as error:
        COMPUTATIONS[name](net)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_in_autocast_a_layer_computes_in_the_dtype_of_its_weight(kind, dtype):
    net = network(kind).float()
    g = randn(6, 5, seed=4, dtype=torch.float32)
    delta = randn(6, 5, seed=5, dtype=torch.float32)
    layer = net.layers[0] if kind == "atoms" else mupi.factor_gradients(mupi.layers.DenseMatrix(5, 5))
    out = layer(g)
    parameter = layer.weight.atoms if kind == "atoms" else layer.weight
    out.backward(delta)
    norm = mupi.optim.gradient_norm(parameter)
    parameter.grad = None
    with torch.autocast("cpu", dtype=dtype):
        again = layer(g)
        again.backward(delta)
        assert_close(mupi.optim.gradient_norm(parameter), norm)
    assert again.dtype == torch.float32
    assert_close(again, out)
