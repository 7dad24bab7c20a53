"""What a step costs in several processes: `torchrun --nproc-per-node P benchmarks/several_processes.py`.

Of sharded atoms (many of them, a batch for all): seconds of a step by the clock and by the processor, atoms that a
process keeps, and numbers that it sends. Of Hermite features the bytes of gradients as matrices and as factors. Of the
connection, latency and bandwidth. Of a kernel, products of tiles a second.
"""

import os
import time

import torch
import torch.distributed as dist

import mupi
from mupi.distributed import Together, data_parallel
from mupi.distributed.launched import launched

ATOMS, RANK, BATCH, STEPS = 65_536, 128, 64, 3


def sent_by(do) -> int:
    """Bytes that this process gives to the others in a call: of rows, sums of rows, and all-reduced gradients."""
    total, plain = 0, (Together.rows, Together.own_sum)

    def rows(self, own, counts):
        nonlocal total
        total += own.nbytes * (len(counts) - 1)
        return plain[0](self, own, counts)

    def own_sum(self, shares, counts):
        nonlocal total
        total += shares.nbytes * (len(counts) - 1) // len(counts)
        return plain[1](self, shares, counts)

    Together.rows, Together.own_sum = rows, own_sum
    try:
        do()
    finally:
        Together.rows, Together.own_sum = plain
    return total


def atoms(processes: int, rank: int) -> None:
    """A step of a perceptron whose layers have many atoms."""
    g = torch.Generator().manual_seed(0)
    net = mupi.PiMLP(RANK, 10, rank=RANK, depth=2, features=mupi.Atoms(), generator=g)
    for layer in net.modules():
        if isinstance(layer, mupi.features.AtomWeight):
            m = ATOMS - layer.num_atoms
            a, b = (torch.randn(m, n, generator=g) / n**0.5 for n in (layer.rank_out, layer.rank_in))
            layer.append(torch.full((m,), 1 / m), a, b)
    run = data_parallel(net) if processes > 1 else net
    optimizer = mupi.SGD(net.parameters(), lr=1e-3, clip=1.0)
    x = torch.randn(BATCH // processes, RANK)

    def step() -> None:
        run(x).square().mean().backward()
        optimizer.step()

    step()
    sent = sent_by(step)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        step()
    wall, cpu = (time.perf_counter() - wall) / STEPS, (time.process_time() - cpu) / STEPS
    if rank == 0:
        print(
            f"atoms  p={processes}  {wall:.3f} s a step, {cpu:.3f} s of the processor, {net.num_atoms} atoms, {sent} B"
        )


def factors(processes: int, rank: int) -> None:
    """Bytes of a step of Hermite features, as factors and as matrices (all-reduced around a ring)."""
    net = mupi.factor_gradients(mupi.PiMLP(3072, 10, rank=100, depth=2, features=mupi.Hermite(2)))
    run = data_parallel(net)
    x = torch.randn(32 // processes, 3072)
    sent = sent_by(lambda: run(x).square().mean().backward())
    numbers = sum(p.numel() for p in net.parameters())
    if rank == 0:
        print(f"factors  p={processes}  {sent} B; as matrices {4 * numbers * 2 * (processes - 1) // processes} B")


def connection(processes: int, rank: int) -> None:
    """Seconds of a small all-reduce, and bytes a second of a large one."""
    for n in (1, 2**22):
        x = torch.ones(n)
        dist.all_reduce(x)
        start = time.perf_counter()
        for _ in range(10):
            dist.all_reduce(x)
        seconds = (time.perf_counter() - start) / 10
        if rank == 0:
            print(f"all-reduce of {4 * n} B  p={processes}  {seconds:.5f} s  {4 * n / seconds / 1e9:.3f} GB/s")


def kernel(rank: int) -> None:
    """Entries of an NTK in a second, and of a product with its tiles."""
    x = torch.nn.functional.normalize(torch.randn(2048, 3072)) * 3072**0.5
    k = mupi.NTK(2, mupi.ReLU())
    start = time.process_time()
    tile = k(x, x)
    made = time.process_time() - start
    y, tile = torch.randn(2048, 10, dtype=torch.float64), tile.double()
    start = time.process_time()
    for _ in range(5):
        tile @ y
    used = (time.process_time() - start) / 5
    if rank == 0:
        print(f"kernel  {2048**2 / made:.3g} entries/s made, {2048**2 / used:.3g} entries/s used for 10 columns")


def main() -> None:
    """All of them."""
    torch.set_num_threads(1)
    with launched("cpu") as processes:
        together = processes.together
        size, rank = (1, 0) if together is None else (together.size, together.rank)
        atoms(size, rank)
        if size > 1:
            factors(size, rank)
            connection(size, rank)
        if size == 1:
            kernel(rank)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
