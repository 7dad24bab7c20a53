# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Kernels with uncertainty
#
# An infinitely wide network is a Gaussian process: predictions come with error bars, hyperparameters are chosen without
# a validation set, and both are one linear system.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

import mupi
from mupi.kernels import DirichletClassification, maximize_likelihood

g = torch.Generator().manual_seed(0)
x = (6 * torch.rand(25, 1, generator=g, dtype=torch.float64) - 3).sort(dim=0).values
x = x[(x[:, 0] < -0.3) | (x[:, 0] > 1.2)]  # nobody has looked between
y = torch.sin(2 * x[:, 0]) + 0.1 * torch.randn(len(x), generator=g, dtype=torch.float64)
new = torch.linspace(-3.5, 3.5, 200, dtype=torch.float64)[:, None]

# %% [markdown]
# ## A network, and its kernel

# %%


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )

    def forward(self, x):
        return self.layers(x)


arch = mupi.trace(Net, x)
by_hand = mupi.KernelRegression(arch.nngp(sigma_w=1.5, sigma_b=0.5), ridge=1e-2).fit(x, y)

# %% [markdown]
# ## Sizes of weights by likelihood
#
# The marginal likelihood asks how probable these targets are for networks with such initial weights. Its maximum needs
# no held-out data:

# %%
chosen = maximize_likelihood(arch.nngp, x, y, sigma_w=1.5, sigma_b=0.5)
print({name: round(number, 2) for name, number in chosen.numbers.items()}, "ridge", f"{chosen.ridge:.1e}")
fitted = mupi.KernelRegression(chosen.kernel, chosen.ridge).fit(x, y)
assert fitted.log_marginal_likelihood() > by_hand.log_marginal_likelihood()

# %%
figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.3), sharey=True, layout="constrained")
for axes, (title, regression) in zip(panels, {"σ's by hand": by_hand, "by likelihood": fitted}.items(), strict=True):
    mean, std = regression.predict(new, return_std=True)
    axes.fill_between(
        new[:, 0], mean - 2 * std, mean + 2 * std, alpha=0.25, linewidth=0, label="two standard deviations"
    )
    axes.plot(new, regression.sample(new, samples=3, generator=g).T, color="0.5", linewidth=0.7)
    axes.plot(new, mean, label="mean")
    axes.plot(x, y, "ko", markersize=4, label="data")
    axes.set(title=title, xlabel="x", ylim=(-3, 3))
panels[0].legend(frameon=False, fontsize="small")

# %% [markdown]
# The band is wide where nobody has looked. Thin lines are networks drawn from the posterior.
#
# ## Is it honest?
#
# Leave-one-out in closed form: each point, predicted from the others, in units of its predicted deviation.

# %%
left_out, deviations = fitted.leave_one_out()
noise = float(fitted.regularizer)
z = (y - left_out) / (deviations**2 + noise) ** 0.5
print(f"within one deviation {100 * float((z.abs() < 1).double().mean()):.0f} % (68 for a Gaussian)")
assert 0.4 < float((z.abs() < 1).double().mean()) < 0.95

# %% [markdown]
# ## Classes
#
# Probabilities of classes, by a Gaussian process for each:

# %%
points = torch.randn(120, 2, generator=g, dtype=torch.float64)
inside = (points.norm(dim=1) < 1).long()
model = DirichletClassification(mupi.NNGP(2, mupi.Erf(), sigma_w=2.0, sigma_b=1.0)).fit(points, inside)
ticks = torch.linspace(-3, 3, 40, dtype=torch.float64)
grid = torch.cartesian_prod(ticks, ticks)
probability = model.predict_proba(grid)[:, 1].reshape(40, 40).T
figure, axes = plt.subplots(figsize=(4.4, 3.6), layout="constrained")
shown = axes.contourf(ticks, ticks, probability, levels=[0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], cmap="cividis")
figure.colorbar(shown, label="probability of being inside")
for label, marker in ((0, "x"), (1, "o")):
    axes.scatter(*points[inside == label].T, marker=marker, s=18, color="white" if label == 0 else "black", linewidth=1)
accuracy = float((model.predict_proba(points).argmax(1) == inside).double().mean())
assert accuracy > 0.9

# %% [markdown]
# ## What an ensemble does while it trains
#
# The NTK says how a wide network, and an ensemble of them, moves by gradient descent:

# %%
dynamics = mupi.KernelDynamics(arch.ntk(1.5, 0.5), initial=arch.nngp(1.5, 0.5)).fit(x, y)
means, deviations = dynamics.flow(new, [0.0, 3.0, 1e3], return_std=True)
figure, panels = plt.subplots(1, 3, figsize=(9.5, 2.8), sharey=True, layout="constrained")
for axes, time, mean, std in zip(panels, ("at the start", "t = 3", "t = 1,000"), means, deviations, strict=True):
    axes.fill_between(new[:, 0], mean - 2 * std, mean + 2 * std, alpha=0.25, linewidth=0)
    axes.plot(new, mean)
    axes.plot(x, y, "ko", markersize=3)
    axes.set(title=time, xlabel="x")
assert deviations[2].mean() < deviations[0].mean()

# %% [markdown]
# GPyTorch, BoTorch and scikit-learn take the same kernels: [Gaussian processes](../gaussian-processes.md). From 20,000
# samples on: [large data](../large-kernels.md).
