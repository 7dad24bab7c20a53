# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tensor Programs in ten minutes
#
# A computation with n × n Gaussian matrices, coordinatewise functions and averages has a limit as n → ∞, in which the
# coordinates of each vector are independent copies of one random variable. We write such computations down, run them
# with real matrices, and take their limits.

# %%
import matplotlib.pyplot as plt
import torch

import mupi
from mupi.programs import mean

# %% [markdown]
# ## The simplest one
#
# x is a vector of Gaussian coordinates, W a matrix with entries N(0, 1/n). What is the mean square of tanh(W x)?

# %%
p = mupi.Program()
W, x = p.matrix("W"), p.vector("x")
h = W @ x
size = mean(torch.tanh(h), torch.tanh(h))
print(p.explain())

# %% [markdown]
# `explain` says what the limit of each line is. `run` uses real matrices, `limit` needs none:

# %%
for n in (10, 100, 1000):
    print(n, round(float(p.run(width=n, generator=torch.Generator().manual_seed(0))[size]), 4))
exact = p.limit()
print("∞", round(float(exact[size]), 6), "error at most", f"{float(exact.error(size)):.0e}")

# %% [markdown]
# W x is Gaussian in the limit, since each coordinate is a sum of n independent terms. So far that is the central limit
# theorem.
#
# ## W and its transpose
#
# Now use W twice: y = tanh(W x), then Wᵀ y, as backpropagation does. One is tempted to say that Wᵀ y is Gaussian too,
# and independent of x. It is not: y was made from W.

# %%
p = mupi.Program()
W, x = p.matrix("W"), p.vector("x")
y = torch.tanh(W @ x)
back = W.T @ y
naive = p.matrix("another") @ y
with_W, with_another = mean(x, back), mean(x, naive)
values = p.limit()
print(f"E x·Wᵀy = {float(values[with_W]):.4f},  with an independent matrix {float(values[with_another]):.4f}")
assert abs(float(values[with_W]) - 0.605706) < 1e-6 and abs(float(values[with_another])) < 1e-12

# %% [markdown]
# The limit of Wᵀ y is Ẑ + Ż: a Gaussian, as if W were drawn anew, and a multiple of x that remembers. Its factor is
# E tanh'(z), which is what the number above is (Stein's lemma). `explain` writes both:

# %%
print(p.explain())

# %% [markdown]
# ## Random matrices
#
# Programs are not only networks. Traces of powers of WᵀW are averages xᵀ(WᵀW)^k x/n for a Gaussian x: 1, 2, 5, 14, …,
# the Catalan numbers, the moments of the Marchenko–Pastur law.

# %%
p = mupi.Program()
W, x = p.matrix("W"), p.vector("x")
v, traces = x, []
for _ in range(4):
    v = W.T @ (W @ v)
    traces.append(mean(x, v))
values = p.limit()
catalan = [round(float(values[trace]), 6) for trace in traces]
print(catalan)
assert catalan == [1, 2, 5, 14]

# %% [markdown]
# ## A step of training
#
# A network with one hidden layer in μP: f = mean(v·tanh(U ξ)), where U and v are vectors of the program (the input ξ is
# a number). After one step of SGD, U has moved by a multiple of v·tanh'(U ξ): no longer Gaussian, but a function of
# Gaussians, so the program goes on.

# %%
p = mupi.Program()
U, v = p.vector("U"), p.vector("v")
rate, target = 1.0, 1.0
losses = []
for _ in range(8):
    a = torch.tanh(U)
    f = mean(v, a)
    losses.append(f)
    error = mupi.apply(lambda f: f - target, f)
    U, v = (
        mupi.apply(lambda U, v, a, e: U - rate * e * v * (1 - a**2), U, v, a, error),
        mupi.apply(lambda v, a, e: v - rate * e * a, v, a, error),
    )
limit = p.limit(samples=200_000, generator=torch.Generator().manual_seed(0))
trained = [float(limit[f]) for f in losses]
figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
gaps = {}
for n, style in ((100, "o:"), (1000, "s--"), (10_000, "^-.")):
    g = torch.Generator().manual_seed(n)
    runs = [p.run(width=n, generator=g) for _ in range(5)]
    curves = torch.tensor([[float(run[f]) for f in losses] for run in runs])
    gaps[n] = float((curves - torch.tensor(trained)).square().mean().sqrt())
    axes.plot(curves.mean(0), style, markersize=4, label=f"width {n}, mean of five")
axes.plot(trained, "k-", linewidth=2, label="the limit")
axes.set(xlabel="step", ylabel="output f")
axes.legend(frameon=False)
print({n: round(gap, 4) for n, gap in gaps.items()})
assert gaps[10_000] < 0.3 * gaps[100]

# %% [markdown]
# Ten times as wide, a third as far: n^{−1/2}. Of a network with n × n matrices, of any depth, with attention and norms,
# `arch.program(x)` and `mupi.MuLimit` write the program for you ([all readings](your_network.py)); that Adam needs one
# more kind of line is on [its page](../explanations/adam.md).
