# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From one laptop to a cluster
#
# A π-limit keeps one atom for every row that it has seen, so a long run wants more memory and processors than one
# process has. `torchrun` starts as many as there are; each keeps its share of the atoms and takes its rows of every
# batch, and the run is the *same* run: the same folder, the same numbers to rounding. Here two processes on this
# machine, then another number of them, then a cluster.

# %%
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

runs = Path(tempfile.mkdtemp())


def terminal(command):
    """Run a command line as in a terminal, and show what it says in the end."""
    words = [sys.executable, "-m", "torch.distributed.run"] if command.startswith("torchrun") else [sys.executable]
    words += shlex.split(command)[1:] + ["--runs-dir", str(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    print("$", command)
    print(*[line for line in ended.stdout.splitlines() if "test accuracy" in line], sep="\n")


def losses(name):
    """The test loss after each epoch."""
    return [json.loads(line)["test_loss"] for line in (runs / name / "metrics.jsonl").read_text().splitlines()]


# %% [markdown]
# ## One process
#
# The exact π-limit on 300 digits, two epochs.

# %%
settings = "--features atoms --rank 8 --train-size 300 --threads 1"
terminal(f"python -m mupi train {settings} --epochs 2 --name laptop")
losses("laptop")

# %% [markdown]
# ## Two processes
#
# The same line after `torchrun`. They find each other by themselves; the first one speaks, and writes.

# %%
two = "torchrun --standalone --nproc-per-node 2 -m mupi train"
terminal(f"{two} {settings} --epochs 1 --name cluster")
losses("cluster")

# %% [markdown]
# ## Another number of processes goes on
#
# A checkpoint is whole, whoever wrote it. `--resume` takes it up in one process, in two, in a hundred: every process
# reads all of it and keeps its part. Here one goes on where two have stopped.

# %%
terminal(f"python -m mupi train {settings} --epochs 2 --name cluster --resume")
for alone, together in zip(losses("laptop"), losses("cluster"), strict=True):
    print(f"{alone:.9f} in one process   {together:.9f} in two, then one")
    assert abs(alone - together) < 1e-4 * abs(alone)

# %% [markdown]
# Sums are taken in another order, so the last digits may differ; nothing else does. Batches are drawn by the run's
# seed whatever the number of processes, which is why the number may change.
#
# ## A script of your own
#
# Without the command it is five lines around your loop, for any network of mupi's:
#
# ```py
# torch.distributed.init_process_group()
# net = mupi.PiMLP(3072, 10, rank=400, features=mupi.Atoms())
# run = mupi.distributed.data_parallel(net)  # before the optimizer
# ...  # each process computes the loss of its own rows of the batch
# whole = mupi.distributed.state_dict(net)  # to save, from the first process
# ```
#
# Networks without atoms need none of this: `DistributedDataParallel` and `fully_shard` of torch are right around them,
# and what would be wrong in them is refused in a line.
#
# ## On a cluster
#
# Several machines are the same command once more, which `srun` starts on each of them; a job whose time is over saves,
# comes back and goes on. The Slurm script, a kernel regression that processes share, and what it costs as processes are
# added: [how to](../how-to/cluster.md). Gloo on one machine is what runs here and in the tests; several machines and
# nccl were not at hand.
