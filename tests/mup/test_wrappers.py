"""What is done with a module of one's own can be done with `p.model`: compiling, exporting, wrapping, sharding."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from networks import mlp
from torch.nn.functional import cross_entropy

import mupi

X = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


def made():
    torch.manual_seed(0)
    return mupi.parametrize(mlp, 64, 16)


def trained(p, model, rows=slice(None)):
    """The model's full parameters after three steps of AdamW, made of what the model has become."""
    optimizer = p.optimizer(torch.optim.AdamW, lr=0.01, weight_decay=0.1, model=model)
    assert [g["name"] for g in optimizer.param_groups] == ["input, vector", "hidden", "readout", "finite"]
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(model(X[rows]), Y[rows]).backward()
        optimizer.step()
    parameters = [q.detach() for q in model.parameters()]
    return [q.full_tensor() if hasattr(q, "full_tensor") else q for q in parameters]


def compiled(model):
    return torch.compile(model, backend="eager")


def data_parallel(model):
    return torch.nn.parallel.DistributedDataParallel(model)


def sharded(model):
    from torch.distributed.fsdp import fully_shard

    for layer in model:
        if list(layer.parameters()):
            fully_shard(layer, mesh=dist.init_device_mesh("cpu", (dist.get_world_size(),)))
    return fully_shard(model, mesh=dist.init_device_mesh("cpu", (dist.get_world_size(),)))


@pytest.fixture
def world(tmp_path):
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("torch was built without gloo")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def same(wrap):
    p = made()
    mine = copy.deepcopy(p.model)
    for a, b in zip(trained(p, wrap(p.model)), trained(p, mine), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("wrap", [data_parallel, sharded])
def test_wrapped_in_one_process_it_trains_as_it_does_by_itself(wrap, world):
    same(wrap)


@pytest.mark.slow
def test_compiled_it_trains_as_it_does_by_itself():
    same(compiled)


@pytest.mark.slow
def test_exported_it_computes_what_it_does_by_itself():
    p = made()
    program = torch.export.export(p.model, (X,))
    assert torch.equal(program.module()(X), p.model(X))
    assert list(program.state_dict) == list(mlp(64).state_dict())


@pytest.mark.slow
def test_in_two_processes_it_trains_as_it_does_in_one(tmp_path):
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("torch was built without gloo")
    command = [sys.executable, __file__, str(tmp_path)]
    workers = [subprocess.Popen([*command, str(rank)], cwd=Path(__file__).parent) for rank in range(2)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    p = made()
    expected = trained(p, p.model)
    for wrap in (data_parallel, sharded):
        for a, b in zip(torch.load(tmp_path / wrap.__name__), expected, strict=True):
            torch.testing.assert_close(a, b)


def worker(folder, rank):
    """One of two processes: each sees one half of the rows."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for wrap in (data_parallel, sharded):
        p = made()
        found = trained(p, wrap(p.model), slice(4 * rank, 4 * rank + 4))
        if rank == 0:
            torch.save(found, f"{folder}/{wrap.__name__}")
    dist.destroy_process_group()


if __name__ == "__main__":
    worker(sys.argv[1], int(sys.argv[2]))
