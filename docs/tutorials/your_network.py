# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own network, all readings
#
# `mupi.trace` reads a PyTorch module once; its kernels, its limits that learn features, its finite networks in any
# parametrization and its Tensor Program follow from what it read.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

import mupi

g = torch.Generator().manual_seed(0)


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.up, self.last = nn.Linear(6, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        x = self.first(x)
        x = x + self.up(torch.relu(self.norm(x)))
        return self.last(torch.relu(x))


x = torch.randn(12, 6, generator=g, dtype=torch.float64)
y = x[:, :1] * x[:, 1:2]
arch = mupi.trace(Net, x)
print(arch)

# %% [markdown]
# Each line is an operation of yours; n stands for the width, and the last column has what μP calls each parameter.
# Nothing was annotated: the module was built at two widths, and what is n is what differs.
#
# ## Kernels
#
# The covariance of the network at its start, and its tangent kernel, at infinite width:

# %%
nngp, ntk = arch.kernels("nngp", "ntk", sigma_w=1.0, sigma_b=0.0)(x)
nngp[:3, :3]

# %% [markdown]
# Against real networks, drawn at a width in the parametrization that has this limit: the average of f(x)f(x') over
# networks.

# %%
ntk_scaling = dict(parametrization=mupi.Roles.ntk(), sigma_w=1.0, input_std=1.0, bias_scale=0.0)


def outputs(width, networks):
    with torch.no_grad():
        return torch.cat(
            [arch.finite(width, generator=g, **ntk_scaling).double()(x / 6**0.5) for _ in range(networks)], 1
        )


f = outputs(256, 400)
covariance = f @ f.T / f.shape[1]
gaussian = torch.linalg.cholesky(nngp) @ torch.randn(12, 400, generator=g, dtype=torch.float64)


def off(covariance):
    """Relative distance to the limit, in percent."""
    return 100 * float((covariance - nngp).norm() / nngp.norm())


print(f"400 networks of width 256 are off by {off(covariance):.0f} %, 400 draws of a Gaussian by ", end="")
print(f"{off(gaussian @ gaussian.T / 400):.0f} %")
assert off(covariance) < 20

# %% [markdown]
# ## The π-limit
#
# A module with the same inputs and outputs, infinitely wide, that learns features.

# %%
limit = arch.pi(rank=24, features=mupi.Hermite(4), generator=g).double()
optimizer = mupi.SGD(limit.parameter_groups(lr=0.5), momentum=0.9, clip=0.5)
losses = []
for _ in range(100):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(limit(x), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss {losses[0]:.3f} → {losses[-1]:.4f}")
for layer in limit.error_report(x):
    print(f"{layer.layer:12} error of its output {layer.output:.4f}")
assert losses[-1] < 0.1 * losses[0]

# %% [markdown]
# ## The limit of training in μP, step by step
#
# `mupi.MuLimit` writes the Tensor Program of the whole training and takes its limit, with standard errors. Finite
# networks of the same description, trained by `torch.optim.SGD`, come to it as n^−½.

# %%
steps, rate = 8, 0.15
mu = mupi.MuLimit(arch, lr=rate, samples=2000, generator=g).fit(x, y, steps=steps)
at_infinity = [float(loss) for loss in mu.losses]


def train(width, seed):
    net = arch.finite(width, parametrization=mupi.Roles.mup(), generator=torch.Generator().manual_seed(seed)).double()
    sgd = torch.optim.SGD(net.parameter_groups(lr=rate))
    found = []
    for _ in range(steps):
        sgd.zero_grad()
        loss = mu.loss(net(x), y)
        loss.backward()
        sgd.step()
        found.append(loss.item())
    return found


figure, axes = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
gaps = {}
for width, style in ((32, "o:"), (128, "s--"), (1024, "^-.")):
    curves = torch.tensor([train(width, seed) for seed in range(6)])
    gaps[width] = float((curves - torch.tensor(at_infinity)).square().mean().sqrt())
    axes.plot(range(steps), curves.mean(0), style, markersize=4, label=f"width {width}, mean of six")
axes.plot(range(steps), at_infinity, "k-", linewidth=2, label="the limit")
axes.set(xlabel="step", ylabel="loss")
axes.legend(frameon=False)
print({width: round(gap, 4) for width, gap in gaps.items()})
assert gaps[1024] < 0.5 * gaps[32]

# %% [markdown]
# ## The Tensor Program
#
# What all of this is computed from:

# %%
print(arch.program(x[:2]).explain())

# %% [markdown]
# What `mupi.trace` takes, what it refuses and why: [your own network](../your-own-network.md). Next:
# [Tensor Programs in ten minutes](tensor_programs.py), or [μP for your model](mup_transfer.py).
