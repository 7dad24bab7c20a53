"""One of several processes: trains networks together with the others, and by itself on whole batches, and compares."""

import copy
import json
import os
import pickle
import sys
import time
import traceback
import warnings
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import mupi
from mupi.checks import fail
from mupi.distributed import (
    Together,
    data_parallel,
    join,
    load_optimizer_state_dict,
    optimizer_state_dict,
    state_dict,
)
from mupi.distributed.alone import by_itself
from mupi.distributed.processes import Processes
from mupi.distributed.turns import in_turn
from mupi.layers import Center
from mupi.mup.kept_runs import Run
from mupi.training import Trainer
from mupi.training.kept_records import KeptRecords

STEPS, ROWS = 9, 24
FEATURES = {
    "hermite": mupi.Hermite(3, subspace=2, window=50, renew_every=40),
    "random": mupi.RandomFeatures(16),
    "atoms": mupi.Atoms(),
}
OPTIMIZERS: dict[str, Any] = {
    "plain": dict(lr=0.5),
    "clipped with momentum and decay": dict(lr=0.5, clip=0.1, momentum=0.9, weight_decay=0.01),
    "clipped jointly": dict(lr=1.0, clip=0.05, clip_jointly=True),
}


def data(dtype):
    g = torch.Generator().manual_seed(1)
    x, y = (torch.randn(STEPS, ROWS, n, generator=g, dtype=torch.float64) for n in (6, 2))
    return x.to(dtype), y.to(dtype)


def network(features, seed=0, dtype=torch.float64, factored=False) -> Any:
    g = torch.Generator().manual_seed(seed)
    net = mupi.PiMLP(6, 2, rank=5, depth=3, features=FEATURES[features], generator=g).to(dtype)
    return mupi.factor_gradients(net) if factored else net


def train(net, run, rows, options, steps=range(STEPS), optimizer=None, parts=1, share=1.0):
    """Steps of the mean squared error over some rows of each batch."""
    dtype = next(net.parameters()).dtype
    x, y = data(dtype)
    optimizer = optimizer or mupi.SGD(net.parameters(), **OPTIMIZERS[options])
    for k in steps:
        optimizer.zero_grad()
        for part in torch.arange(ROWS)[rows].split(-(-len(range(ROWS)[rows]) // parts)):
            loss = (run(x[k][part]) - y[k][part]).square().mean() / parts
            (loss * share).backward()
        optimizer.step()
    return optimizer


def own_rows():
    return slice(0, ROWS // 2) if dist.get_rank() == 0 else slice(ROWS // 2, ROWS)


@torch.no_grad()
def outputs(net):
    net.eval()
    return net(data(next(net.parameters()).dtype)[0][0])


def assert_equal(net, reference, tolerance):
    assert_near(outputs(net), outputs(reference), tolerance)


def assert_near(a, b, tolerance):
    error = float((a - b).abs().max() / b.abs().max())
    assert error <= tolerance, f"off by {error:.1e}"


def without_buffers(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of its new name
        return DistributedDataParallel(net, broadcast_buffers=False)


def sharded(net, **options) -> Any:
    from torch.distributed.fsdp import fully_shard  # takes long to import, as do some others

    return fully_shard(net, **options)


WRAPPERS: dict[str, Any] = {
    "DDP": DistributedDataParallel,
    "DDP without buffers": without_buffers,
    "FSDP": sharded,
    "data_parallel": data_parallel,
    "FSDP of what is not joined": lambda net: sharded(net, ignored_params=join(net)),
}


def whole_batch(features, wrapper, options, factored=False, dtype=torch.float64):
    """Trained by two processes on halves of each batch it is what one makes of whole ones, atoms and directions too."""
    reference = network(features, dtype=dtype, factored=factored)
    train(reference, reference, slice(None), options)
    # DDP and join send what the first process has; of FSDP each process keeps its part of what it has.
    net = network(features, 0 if "FSDP" in wrapper else dist.get_rank(), dtype, factored)
    run = WRAPPERS[wrapper](net)
    train(net, run, own_rows(), options)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    assert_equal(run if "FSDP" in wrapper else net, reference, tolerance)
    if features == "hermite":
        a, b = net.readout.weight, reference.readout.weight
        assert a.inputs_seen == b.inputs_seen and a.tracker.next_renewal == b.tracker.next_renewal
        assert_near(a.directions_2, b.directions_2, 100 * tolerance)
        assert_near(a.sample_atoms().b, b.sample_atoms().b, 100 * tolerance)
        assert_near(a.sample_atoms().a, b.sample_atoms().a, 100 * tolerance)


def units_of_torchs_steps():
    """Training is one process's; atoms are in doubt, as backward passes see a part of what is stepped along."""
    for make in (partial(torch.optim.SGD, lr=0.5, momentum=0.9), partial(torch.optim.AdamW, lr=1e-3)):
        reference, shards, replica = (network("hermite") for _ in range(3))
        for net, run, rows in (
            (reference, reference, slice(None)),
            (shards, sharded(shards), own_rows()),
            (replica, DistributedDataParallel(replica), own_rows()),
        ):
            with by_itself() if net is reference else nullcontext():
                train(net, run, rows, "plain", optimizer=make(net.parameters()))
        assert_equal(shards, reference, 1e-10)
        assert_equal(replica, reference, 1e-10)
        for net in (reference, shards, replica):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                net.readout.weight.sample_atoms()
            assert any("several processes' mean" in str(one.message) for one in said) == (net is not reference), said


def autocast(features, factored=False):
    """In bfloat16 autocast two processes are one that takes a batch in two halves, to float32's rounding.

    Products in bfloat16 are off float32 by its rounding, and sums over halves, each rounded, off that of the whole by
    less. With factors weights are multiplied in float32: there is no difference at all.
    """
    exact, whole, halves, net = (network(features, dtype=torch.float32, factored=factored) for _ in range(4))
    run = data_parallel(net)
    with by_itself():
        train(exact, exact, slice(None), "plain", range(4))
    with torch.autocast("cpu", torch.bfloat16):
        with by_itself():
            train(whole, whole, slice(None), "plain", range(4))
            train(halves, halves, slice(None), "plain", range(4), parts=2)
        train(net, run, own_rows(), "plain", range(4))
    assert_equal(net, halves, 1e-6)
    assert_equal(net, whole, 1e-6 if factored or features == "atoms" else 2e-3)
    assert_equal(net, exact, 1e-3 if factored else 5e-2)


def a_solve_in_autocast():
    """It is that without."""
    from mupi.kernels import ConjugateGradients

    x, y = (values.flatten(0, 1) for values in data(torch.float32))
    found = []
    for on in (False, True):
        regression = mupi.KernelRegression(mupi.NTK(1, mupi.ReLU()), 1e-2, ConjugateGradients(1e-5, 20, shared=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            found.append(regression.fit(x, y).predict(x[:9] + 1))
    assert_near(found[1], found[0], 1e-4)


def unequal_rows(features):
    """Processes have 10 and 14 rows of each batch, and weigh their losses."""
    factored = features != "atoms"
    reference = network(features, factored=factored)
    train(reference, reference, slice(None), "clipped jointly")
    net = network(features, factored=factored)
    rows = slice(0, 10) if dist.get_rank() == 0 else slice(10, 24)
    train(net, data_parallel(net), rows, "clipped jointly", share=2 * len(range(ROWS)[rows]) / ROWS)
    assert_equal(net, reference, 1e-12)


def in_parts(features):
    """A batch goes through the network in two parts."""
    reference, net = network(features), network(features)
    train(reference, reference, slice(None), "plain", range(3), parts=2)
    train(net, data_parallel(net), own_rows(), "plain", range(3), parts=2)
    assert_equal(net, reference, 1e-12)


def checkpointed(reentrant):
    """The forward pass is run again in the backward pass, where no wrapper is."""

    class Recomputed(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return checkpoint(self.net, x.requires_grad_(), use_reentrant=reentrant)

    reference, net = network("hermite"), network("hermite")
    train(reference, Recomputed(reference), slice(None), "plain")
    train(net, DistributedDataParallel(Recomputed(net)), own_rows(), "plain")
    assert_near(net.readout.weight.directions_2, reference.readout.weight.directions_2, 1e-10)
    assert_equal(net, reference, 1e-12)


def memory_is_shared_out():
    """Each process has half of the atoms."""
    reference, net = network("atoms"), network("atoms")
    train(reference, reference, slice(None), "plain")
    train(net, data_parallel(net), own_rows(), "plain")
    assert abs(net.num_atoms - reference.num_atoms / 2) <= 3, (net.num_atoms, reference.num_atoms)


def factors_are_less_to_send():
    """Rows of inputs and outputs of six samples are fewer numbers than the matrices that they make."""
    sent = []
    rows = Together.rows

    def counted(self, own, counts):
        sent.append(own.numel())
        return rows(self, own, counts)

    net: Any = mupi.factor_gradients(mupi.PiMLP(300, 10, rank=40, features=mupi.Hermite(2)))
    run = data_parallel(net)
    x = torch.randn(6, 300)
    Together.rows = counted
    try:
        run(x).sum().backward()
    finally:
        Together.rows = rows
    matrices = sum(m.weight.numel() for m in net.modules() if hasattr(m, "reduced_here") and m.reduced_here())
    assert 0 < sum(sent) < matrices / 4, (sum(sent), matrices)


def whole_states():
    """The state of two processes goes on in one, and that of one in two."""
    reference = network("atoms")
    optimizer = train(reference, reference, slice(None), "clipped with momentum and decay")
    net = network("atoms")
    run = data_parallel(net)
    own = train(net, run, own_rows(), "clipped with momentum and decay", range(5))
    saved = [state_dict(net), optimizer_state_dict(net, own)]
    dist.broadcast_object_list(saved)
    alone = network("atoms", seed=5)
    alone.load_state_dict(saved[0])
    options = OPTIMIZERS["clipped with momentum and decay"]
    lone = mupi.SGD(alone.parameters(), **options)
    lone.load_state_dict(copy.deepcopy(saved[1]))  # of which torch keeps the tensors
    train(alone, alone, slice(None), "", range(5, STEPS), lone)
    assert_equal(alone, reference, 1e-12)
    again = network("atoms", seed=6)
    run = data_parallel(again)
    second = mupi.SGD(again.parameters(), **options)
    again.load_state_dict(saved[0])
    load_optimizer_state_dict(again, second, saved[1])
    train(again, run, own_rows(), "", range(5, STEPS), second)
    assert_equal(again, reference, 1e-12)
    assert len(optimizer.state) == len(second.state)


def a_copy_is_of_the_same_processes():
    net, reference = network("atoms"), network("atoms")
    train(net, data_parallel(net), own_rows(), "plain", range(3))
    train(reference, reference, slice(None), "plain", range(3))
    assert_equal(copy.deepcopy(net), reference, 1e-12)


def centered():
    """The mean that a layer subtracts is that of the whole batch, and is differentiated through."""
    x = data(torch.float64)[0][0]
    layer: Any = Center(6).double()
    weight: Any = torch.ones(6, dtype=torch.float64, requires_grad=True)
    (layer(x * weight) ** 3).mean().backward()
    net: Any = torch.nn.Sequential(torch.nn.Linear(6, 6, bias=False), Center(6)).double()
    net[0].weight.data = torch.eye(6, dtype=torch.float64)
    run = DistributedDataParallel(net)
    (run(x[own_rows()]) ** 3).mean().backward()
    assert_near(net[0].weight.grad.diagonal(), weight.grad, 1e-12)
    assert_near(net[1].mean, layer.mean, 1e-12)


def trains(features, folder):
    """`mupi train` of both is that of one, also where a process has no row of a batch, and as a run that goes on."""
    import mupi.commands.train.train as commands_train
    from mupi.commands.train.presets import DIGITS
    from mupi.commands.train.train import train_network
    from mupi.distributed.launched import launched

    config = DIGITS.changed(
        train_size=97,
        rank=6,
        features=features,
        epochs=2,
        momentum=0.5,
        name=f"alone{dist.get_rank()}",
        runs_dir=Path(folder) / type(features).__name__,
    )
    alone = train_network(config)
    shared = config.changed(name="shared")
    commands_train.launched = lambda device: nullcontext(Processes(Together(dist.group.WORLD)))
    try:
        train_network(shared.changed(epochs=1))
        both = train_network(shared.changed(resume=True))
    finally:
        commands_train.launched = launched
    for a, b in zip(both, alone[-len(both) :], strict=True):
        assert abs(a.train_loss - b.train_loss) < 1e-5 * b.train_loss
        assert abs(a.test_loss - b.test_loss) < 1e-5 * b.test_loss
        assert (a.atoms, a.train_accuracy, a.test_accuracy) == (b.atoms, b.train_accuracy, b.test_accuracy)


def trainer(net, **options):
    optimizer = mupi.SGD(net.parameters(), **OPTIMIZERS["clipped with momentum and decay"])
    order = torch.Generator().manual_seed(2)
    options = dict(loss=torch.nn.functional.mse_loss, batch_size=10, generator=order) | options
    return Trainer(net, optimizer, **options)


def examples():
    """As many that the last batch of an epoch has one, and one process none of it."""
    x, y = data(torch.float64)
    return x.flatten(0, 1)[:41], y.flatten(0, 1)[:41]


def trainers(features, folder):
    """A `Trainer` of both is one of one process; it goes on from its folder, in both and in one."""
    alone = trainer(network(features), shared=False, accumulate=2)
    known = dict(test=(examples()[0][:7], examples()[1][:7]))
    history = alone.fit(examples(), epochs=3, **known)
    for epochs in (1, 2):
        shared = trainer(network(features, dist.get_rank() + 5 * (epochs - 1)), shared=True, accumulate=2)
        said = shared.fit(examples(), epochs=epochs, directory=f"{folder}/{features}", **known)
    assert len(said) == 2, said
    for one, other in zip(said, history, strict=False):
        for name in ("train_loss", "test_loss"):
            assert abs(getattr(one, name) - getattr(other, name)) <= 1e-12, (one, other)
        assert one.atoms == other.atoms
    dist.barrier()
    if dist.get_rank() == 0:
        again = trainer(network(features, 9), shared=False, accumulate=2)
        again.fit(examples(), epochs=3, directory=f"{folder}/{features}", **known)
        assert_equal(again.net, alone.net, 1e-12)


def refused_trainers():
    x, y = examples()
    known = dict(epochs=1)
    hermite, batch = network("hermite"), torch.nn.Sequential(torch.nn.Linear(6, 2), torch.nn.BatchNorm1d(2)).double()
    refused("True (one by all processes) or False", lambda: trainer(hermite).fit((x, y), **known))
    refused("fit(data=...)", lambda: trainer(hermite, shared=True).fit((x + dist.get_rank(), y), **known))
    rate = 1 + dist.get_rank()
    refused("batch_size=...", lambda: trainer(hermite, shared=True, batch_size=rate).fit((x, y), **known))
    size = dist.get_world_size()
    for options in (dict(batch_size=size - 1), dict(batch_size=2 * (size - 1), accumulate=2)):
        idle = trainer(hermite, shared=True, **options)
        refused("a row for each of as many processes", lambda idle=idle: idle.fit((x, y), **known))
    refused("BatchNorm1d", lambda: trainer(batch, shared=True).fit((x, y), **known))
    wrapped = DistributedDataParallel(network("hermite"))
    refused("the network itself", lambda: trainer(wrapped, shared=False).fit((x, y), **known))
    refused("the network itself", lambda: trainer(joined("hermite"), shared=False).fit((x, y), **known))


def pieces_in_turn(folder):
    """Each piece is done once, by itself; what comes of it is known in both, and what fails in one ends both."""
    processes, done = Processes(Together(dist.group.WORLD)), []
    net = network("random", factored=True)

    def squared(k):
        done.append(k)
        net(data(torch.float64)[0][0]).sum().backward()
        assert type(net.readout.weight.weight.grad).__name__ == "FactoredGradient"
        return k * k

    found = in_turn(processes, dict.fromkeys(range(11), ""), squared, None)
    assert list(found.items()) == [(k, k * k) for k in range(11)]
    assert sorted(sum(processes.each(lambda: done), [])) == list(range(11))

    def third(k):
        return fail("k", "another", k) if k == 3 else k

    refused("`k` must be another; got 3", lambda: in_turn(processes, dict.fromkeys(range(11), ""), third, None))
    kept = KeptRecords(Path(folder) / "runs.jsonl", Run, "this", "remove it", processes)
    in_turn(processes, dict.fromkeys(range(5), ""), lambda k: kept.add(Run(k, 0.5, 0, (1.0,), 0.0)), None)
    again = KeptRecords(Path(folder) / "runs.jsonl", Run, "this", "remove it", processes)
    assert sorted(again.known) == [(k, 0.5, 0) for k in range(5)]


IN_TURN = {
    "lr-transfer": ("lr_transfer", "--widths 8 16 --log2-lr -5 -3 --seeds 1 --epochs 1 --train-size 60"),
    "ensemble": ("ensemble", "--min-width 8 --max-width 32 --seeds 3 --grid 5 --steps 0 4"),
    "convergence": ("convergence", "--ranks 2 --min-width 8 --max-width 16 --mu-max-width 16 --seeds 2 --steps 2"),
    "mu-limit": ("mu_limit", "--images 4 --steps 2 --samples 600 --replicates 2 --widths 8 16 --seeds 2"),
    "feature-kernels": ("feature_kernels", "--images 4 --steps 2 --samples 600 --widths 8 16"),
    "tables": ("tables", "--task regression --names friedman1 diabetes --models ntk nngp svm --folds 2 --repeats 1"),
    "sample-complexity": ("curves", "--names staircase --most-rows 125 --models nngp mup-64 --seeds 2 --steps 2"),
    "rate-transfer": (
        "rate_transfer",
        "--networks mlp --optimizers sgd --ways mup --width 4 --times 2 --steps 3 --seeds 2",
    ),
    "forecast": ("forecast", "--tasks mlp-digits --steps 4 --points 2 --seeds 2 --wide-seeds 2"),
}
"""What each recipe writes, and a small one."""


def recipe_in_turn(name, folder):
    """A recipe of both writes the numbers that one of one process does; a second call has nothing left to do."""
    from mupi.cli import main

    written, options = IN_TURN[name]
    call = ["recipe", name, *options.split(), "--threads", "1", "--out"]
    own = Path(folder) / name / f"alone{dist.get_rank()}"
    assert main([*call, str(own)]) == 0
    torchrun = {"TORCHELASTIC_RUN_ID": "a test", "WORLD_SIZE": "2", "RANK": str(dist.get_rank())}
    os.environ.update(torchrun)
    try:
        for _ in range(2):
            assert main([*call, str(own.parent / "both")]) == 0
            dist.barrier()
    finally:
        for variable in torchrun:
            del os.environ[variable]
    alone, both = (numbers_of(where / f"{written}.json") for where in (own, own.parent / "both"))
    assert alone == both, (alone, both)


def numbers_of(path):
    """All that a recipe writes but how long it took."""

    def kept(value):
        if isinstance(value, dict):
            return {k: kept(v) for k, v in value.items() if "seconds" not in k and k not in ("config", "peak_mb")}
        return [kept(v) for v in value] if isinstance(value, list) else value

    return kept(json.loads(path.read_text()))


def limits():
    """Replicates that two processes share are those of one, bit for bit; their state goes on in any number of them."""
    g = torch.Generator().manual_seed(4)
    x, y = torch.randn(4, 3, generator=g, dtype=torch.float64), torch.randn(4, 1, generator=g, dtype=torch.float64)

    def made(shared, seed=0, **options) -> Any:
        drawn = [torch.Generator().manual_seed(seed + k) for k in range(3)]
        return mupi.MuLimit(2, lr=0.2, replicates=3, **dict(samples=300, generator=drawn, shared=shared) | options)

    alone, both = made(False), made(True, 10 * dist.get_rank())
    for limit in alone, both:
        limit.fit(x, y, 2, test_x=x[:2])
    assert len(alone.limits.spaces) == 3 and len(both.limits.spaces) == 2 - dist.get_rank()
    again = [made(False, 20), made(True, 20 + dist.get_rank())]
    states = both.state_dict(), alone.state_dict()
    for limit, state in zip(again, states, strict=True):
        limit.load_state_dict(state)
    answers: list[list[torch.Tensor]] = []
    for limit in alone, both, *again:
        limit.fit(x, y, 1, test_x=x[:2])
        for name in ("outputs", "output_errors", "losses", "loss_errors", "test_outputs", "feature_kernels"):
            assert torch.equal(getattr(limit, name), getattr(alone, name)), name
        told = [torch.tensor(limit.ranks), torch.tensor(limit.missed)]
        answers.append([*told, limit.predict(x, each=True), *limit.hidden(x)])  # the last two draw
        assert all(torch.equal(one, other) for one, other in zip(answers[-1], answers[0], strict=True))
    assert "3 × 300 samples" in (repr(both) if dist.get_rank() == 0 else repr(alone))
    refused("True (one by all processes) or False", lambda: made(None))
    refused("a list of 3, one for each replicate", lambda: made(True, generator=torch.Generator()))
    refused("kernel regime", lambda: made(True, parametrization=mupi.Parametrization.ntk(2)).fit(x, y, 1))
    refused("`x` must be the same in all", lambda: made(True).fit(x + dist.get_rank(), y, 1))
    refused("more than", lambda: made(True, samples=9).fit(x, y, 4))


def kernel_regression():
    """With shared tiles it is that of one process, its variances too, and both hear of what does not converge."""
    from mupi.kernels import ConjugateGradients

    g = torch.Generator().manual_seed(3)
    x, y, new = (torch.randn(n, d, generator=g, dtype=torch.float64) for n, d in ((300, 5), (300, 2), (7, 5)))
    x, new = (torch.nn.functional.normalize(rows) for rows in (x, new))
    kernel = mupi.NNGP(2, mupi.ReLU())
    options: Any = dict(tolerance=1e-10, tile=64, rank=20)
    alone = mupi.KernelRegression(kernel, 1e-3, ConjugateGradients(**options)).fit(x, y)
    shared = mupi.KernelRegression(kernel, 1e-3, ConjugateGradients(**options, shared=True)).fit(x, y)
    assert_near(shared.coefficients, alone.coefficients, 1e-8)
    for a, b in zip(shared.predict(new, return_std=True), alone.predict(new, return_std=True), strict=True):
        assert_near(a, b, 1e-8)
    tiles: Any = shared._solved, alone._solved
    assert len(tiles[0].system.places) <= len(tiles[1].system.places) / 2 + 1
    short = mupi.KernelRegression(kernel, 1e-6, ConjugateGradients(rank=0, iterations=1, tile=64, shared=True))
    refused("use a larger ridge or tolerance", lambda: short.fit(x, y))


def kernel_factor():
    """With a shared factor it is that of one process, and all that is asked of the factor too."""
    from mupi.kernels import Cholesky, panels

    g = torch.Generator().manual_seed(3)
    x, y, new = (torch.randn(n, d, generator=g, dtype=torch.float64) for n, d in ((103, 4), (103, 3), (7, 4)))
    weights, kernel = torch.rand(103, generator=g, dtype=torch.float64) + 0.5, mupi.NTK(2, mupi.Erf())
    for width, n, dtype, tolerance in (
        (9, 103, torch.float64, 1e-12),  # many panels, of which the last has four columns
        (128, 103, torch.float64, 1e-12),  # one panel
        (9, 1, torch.float64, 1e-12),
        (9, 103, torch.float32, 1e-4),  # the condition number times the rounding
    ):
        panels.NARROWEST = width
        X, Y, N, w = (v.to(dtype) for v in (x[:n], y[:n], new, weights[:n]))
        alone, shared = (
            mupi.KernelRegression(kernel, 1e-2, Cholesky(shared)).fit(X, Y, sample_weight=w) for shared in (False, True)
        )
        both = [
            [r.coefficients, *r.predict(N, return_std=True), r.predict(N, return_cov=True)[1], *r.leave_one_out()]
            + [torch.tensor([r.log_marginal_likelihood(), r.regularizer, r.rounding])]
            for r in (shared, alone)
        ]
        for i, (a, b) in enumerate(zip(*both, strict=True)):
            off = float((a - b).abs().max())
            assert off <= tolerance * (float(b.abs().max()) + 0.01), (dtype, n, width, i, off)
        Processes(Together(dist.group.WORLD)).check_same({str(i): found for i, found in enumerate(both[0])})
        assert shared.residual < 1e-12 if dtype == torch.float64 else shared.residual < 1e-4
        derivatives = []
        for r in (shared, alone):
            at = N.clone().requires_grad_()
            (first,) = torch.autograd.grad(r.predict(at, return_std=True)[1].sum(), at, create_graph=True)
            derivatives.append((first, torch.autograd.grad(first.square().sum(), at)[0]))
        for a, b in zip(*derivatives, strict=True):
            assert_near(a, b, 1e3 * tolerance)
    labels = torch.arange(103) % 3
    one, other = (mupi.KernelRegression(kernel, 1e-2, Cholesky(shared)).fit(x, labels) for shared in (True, False))
    assert_near(one.predict(new), other.predict(new), 1e-12)


def kernel_factor_is_shared_out():
    """A process of p has n²/2p numbers of the matrix, and a few panels; what is kept of k is as much again."""
    from mupi.kernels import Cholesky, panels, ridge_system
    from mupi.training.memory_use import PeakMemory

    n, p = 3001, dist.get_world_size()
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(0))
    held = [panels.panel_entries(n, p), panels.panel_width(n, p) * n]
    assert held[0] <= n * n / (2 * p) + held[1], held
    mupi.KernelRegression(mupi.NNGP(1, mupi.ReLU()), 1e-2).fit(x[:300], x[:300])  # imports
    memory = PeakMemory(x.device)
    memory.restart()
    regression = mupi.KernelRegression(mupi.NNGP(1, mupi.ReLU()), 1e-2, Cholesky(shared=True)).fit(x, x)
    grown, needed = memory.growth(), ridge_system.memory_needed(n, 5, torch.float32, p)
    solved: Any = regression._solved
    assert sum(panel.numel() for panel in solved._factor.own.values()) <= held[0]
    assert grown <= needed + 2**24, (grown, needed)


def refused_factors():
    from mupi.kernels import Cholesky, ConjugateGradients

    x, y = (values.flatten(0, 1) for values in data(torch.float64))
    second = dist.get_rank() == 1

    def fit(kernel=None, ridge=1e-3, x=x, y=y, solver=None, **options):
        kernel, solver = kernel or mupi.NNGP(1, mupi.ReLU()), solver or Cholesky(shared=True)
        return lambda: mupi.KernelRegression(kernel, ridge, solver).fit(x, y, **options)

    def fails_in_the_second(a, b):
        return torch.full((len(a), len(b)), torch.nan) if second else a @ b.T

    refused("`KernelRegression.fit(X)` must be the same in all processes", fit(x=x + second))
    refused("`KernelRegression.fit(Y)` must be the same in all processes", fit(y=y + second))
    refused("fit(sample_weight=...)` must be the same", fit(sample_weight=torch.ones(len(x)) + second))
    refused("`KernelRegression(ridge=...)` must be the same in all processes, 0.001", fit(ridge=1e-3 * (1 + second)))
    for solver in (Cholesky(shared=True), ConjugateGradients(shared=True)):
        refused(
            "`KernelRegression(kernel=...)` must be the same", fit(mupi.NNGP(1 + second, mupi.ReLU()), solver=solver)
        )
    refused("tile=...)` must be the same", fit(solver=ConjugateGradients(tile=64 + second, shared=True)))
    refused("must be finite", fit(x=torch.full_like(x, torch.nan) if second else x))
    refused("NaN", fit(fails_in_the_second))
    refused("positive pivot", fit(lambda a, b: -(a @ b.T) + 20 * (a[:, None] == b).all(-1), 1e-3))
    fitted = fit()()
    refused("`KernelRegression.predict(X)` must be", lambda: fitted.predict(x[: 3 + second], return_std=True))
    refused("must be of shape (m, 6)", lambda: fitted.predict(x[:, : 6 - second], return_std=True))


def refused(words, do):
    """It is, in one line with these words."""
    try:
        do()
    except (TypeError, ValueError, RuntimeError) as error:
        message = str(error).strip()
        assert words in message and "\n" not in message, message
        return
    raise AssertionError("it was not refused")


def joined(features, factored=False) -> Any:
    net = network(features, factored=factored)
    join(net)
    return net


def one_backward(net, **options):
    net(data(torch.float64)[0][0][own_rows()]).square().sum().backward(**options)


def hooked():
    net = joined("hermite", True)
    net.readout.weight.weight.register_hook(lambda gradient: gradient)
    one_backward(net)


def behind_a_wrapper_that_was_told_nothing():
    net = network("atoms")
    net.readout.weight.atoms.requires_grad_(False)
    for module in net.modules():
        if hasattr(module, "atoms"):
            module.atoms.requires_grad_(False)
    names = [name for name, _ in net.named_parameters() if "atoms" in name]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(net, names)
    DistributedDataParallel(net)(data(torch.float64)[0][0])


def on_a_mesh_of_two_axes():
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2, 1), mesh_dim_names=("copies", "shards"))
    sharded(network("hermite"), mesh=mesh)(data(torch.float64)[0][0])


def a_pass_after_one_that_raised():
    """The refused network is still there, and in its forward pass for ever by its own account."""
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2, 1), mesh_dim_names=("copies", "shards"))
    net, x = sharded(network("hermite"), mesh=mesh), data(torch.float64)[0][0]
    try:
        net(x)
    except ValueError:
        network("hermite")(x)
        return
    raise AssertionError("it was not refused")


def of_flat_parameters(features):
    from torch.distributed.fsdp import FullyShardedDataParallel

    FullyShardedDataParallel(network(features), device_id=torch.device("cpu"))(data(torch.float64)[0][0])


def hidden_by_an_older_wrapper():
    net = network("hermite")
    from torch.distributed.fsdp import FullyShardedDataParallel

    FullyShardedDataParallel(net, device_id=torch.device("cpu"), use_orig_params=True)(data(torch.float64)[0][0])


def reduced_by_hand():
    """It is right for a network that is joined; where none is, and directions drift apart, there is a warning."""
    reference, net, alone = (network("hermite") for _ in range(3))
    train(reference, reference, slice(None), "plain")
    join(net)
    optimizer = mupi.SGD(net.parameters(), **OPTIMIZERS["plain"])
    optimizer.register_step_pre_hook(lambda *_: average_gradients(net))
    train(net, net, own_rows(), "plain", optimizer=optimizer)
    assert_equal(net, reference, 1e-12)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        train(alone, alone, own_rows(), "plain", range(STEPS))
        alone.readout.weight.renew_directions()
    assert any("mupi.distributed.join(net)" in str(warning.message) for warning in said)


def average_gradients(net):
    for parameter in net.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= 2


together = "mupi.distributed.data_parallel(net)"
CHECKS = {
    **{
        f"{features}, {wrapper}, {options}": partial(whole_batch, features, wrapper, options)
        for features, wrapper, options in [
            ("hermite", "DDP", "plain"),
            ("hermite", "DDP without buffers", "clipped with momentum and decay"),
            ("hermite", "FSDP", "clipped with momentum and decay"),
            ("hermite", "FSDP", "clipped jointly"),
            ("random", "FSDP", "clipped jointly"),
            ("random", "DDP", "clipped jointly"),
            ("atoms", "data_parallel", "clipped with momentum and decay"),
            ("atoms", "FSDP of what is not joined", "clipped with momentum and decay"),
            ("atoms", "data_parallel", "clipped jointly"),
        ]
    },
    "hermite, units of torch's steps": units_of_torchs_steps,
    "hermite, factored": partial(whole_batch, "hermite", "data_parallel", "clipped with momentum and decay", True),
    "random, factored": partial(whole_batch, "random", "data_parallel", "clipped jointly", True),
    "atoms, factored": partial(whole_batch, "atoms", "data_parallel", "plain", True),
    "hermite, float32": partial(whole_batch, "hermite", "data_parallel", "plain", True, torch.float32),
    "atoms, float32": partial(whole_batch, "atoms", "data_parallel", "plain", False, torch.float32),
    "unequal rows, hermite": partial(unequal_rows, "hermite"),
    "unequal rows, atoms": partial(unequal_rows, "atoms"),
    "in parts, hermite": partial(in_parts, "hermite"),
    "in parts, atoms": partial(in_parts, "atoms"),
    "checkpointed, reentrant": partial(checkpointed, True),
    "checkpointed": partial(checkpointed, False),
    "memory is shared out": memory_is_shared_out,
    "factors are less to send": factors_are_less_to_send,
    "whole states": whole_states,
    "a copy is of the same processes": a_copy_is_of_the_same_processes,
    "centered": centered,
    "reduced by hand": reduced_by_hand,
    "autocast, hermite": partial(autocast, "hermite"),
    "autocast, hermite, factored": partial(autocast, "hermite", True),
    "autocast, atoms": partial(autocast, "atoms"),
    "autocast, a solve": a_solve_in_autocast,
    "kernel regression": kernel_regression,
    "kernel regression, a factor": kernel_factor,
    "kernel regression, a factor is shared out": kernel_factor_is_shared_out,
    "refused: kernel regressions": refused_factors,
    "limits": limits,
    "refused: trainers": refused_trainers,
    "refused: Atoms in DDP": partial(refused, together, lambda: DistributedDataParallel(network("atoms"))),
    "refused: Atoms in FSDP": partial(refused, together, lambda: sharded(network("atoms"))(torch.ones(1, 6))),
    "refused: Atoms ignored by DDP": partial(refused, together, behind_a_wrapper_that_was_told_nothing),
    "refused: FullyShardedDataParallel": partial(refused, "fully_shard(net)", hidden_by_an_older_wrapper),
    "refused: flat parameters, hermite": partial(refused, "fully_shard(net)", partial(of_flat_parameters, "hermite")),
    "refused: flat parameters, random": partial(refused, "fully_shard(net)", partial(of_flat_parameters, "random")),
    "refused: a mesh of two axes": partial(refused, "must be of one axis", on_a_mesh_of_two_axes),
    "refused: a mesh of two axes, not what comes after": a_pass_after_one_that_raised,
    "refused: joined twice": partial(refused, "join it once", lambda: join(joined("atoms"))),
    "refused: a share saved": partial(refused, "state_dict(net)", lambda: joined("atoms").state_dict()),
    "refused: a share sampled": partial(
        refused, together, lambda: joined("atoms").readout.weight.at_neurons(torch.ones(3, 5, dtype=torch.float64))
    ),
    "refused: pickled": partial(refused, "state_dict(net)", lambda: pickle.dumps(joined("hermite"))),
    "refused: differentiated twice": partial(
        refused, together, lambda: one_backward(joined("atoms"), create_graph=True)
    ),
    "refused: factors under a hook": partial(refused, "leave out", hooked),
    "refused: factors differentiated twice": partial(
        refused, "leave out", lambda: one_backward(joined("hermite", True), create_graph=True)
    ),
}


def main(folder, rank, size, names):
    """Make the checks of these names, or, where they begin with -, all others."""
    for features in FEATURES:
        CHECKS[f"a Trainer, {features}"] = partial(trainers, features, folder)
    CHECKS["in turn"] = partial(pieces_in_turn, folder)
    for name in IN_TURN:
        CHECKS[f"in turn, {name}"] = partial(recipe_in_turn, name, folder)
    CHECKS["trains, atoms"] = partial(trains, mupi.Atoms(), folder)
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size, timeout=timedelta(minutes=20)
    )
    wanted = list(CHECKS.keys() - {name[1:] for name in names}) if names[0][0] == "-" else names
    found = {}
    for name in sorted(wanted):
        start = time.perf_counter()
        try:
            CHECKS[name]()
            found[name] = ""
        except Exception as error:
            traceback.print_exc()
            found[name] = f"{type(error).__name__}: {error}"
        dist.barrier()
        print(f"{time.perf_counter() - start:.2f} s  {name}", flush=True)
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(found, file)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
