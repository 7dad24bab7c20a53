# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your first limit
#
# An infinitely wide network that learns features, trained on the images of digits that come with scikit-learn: what it
# is, how far its computation is from exact, and what finite networks have to do with it.

# %%
import matplotlib.pyplot as plt
import torch

import mupi
from mupi.data import load_digits
from mupi.training import Trainer

g = torch.Generator().manual_seed(0)
digits = load_digits()
x, y, new, truth = digits.train_x, digits.train_y, digits.test_x, digits.test_y
x.shape, new.shape

# %% [markdown]
# ## The network
#
# Two hidden layers of infinitely many neurons. A layer is described by `rank=64` numbers: every neuron's input is
# ⟨g, z⟩, with the same g ∈ R⁶⁴ for all neurons and a Gaussian z of its own. `Hermite(2)` says how averages over neurons
# are computed: by a series, up to degree 2.

# %%
net = mupi.PiMLP(64, 10, rank=64, depth=2, features=mupi.Hermite(2), activation=mupi.ReLU(), generator=g)
net

# %% [markdown]
# It is an ordinary module, and its loop is the usual one; `Trainer` only writes it down. The learning rates below are
# those of a network *without* a width: there is nothing to rescale.

# %%
optimizer = mupi.SGD(net.parameter_groups(lr=1.0, first=0.1, last=4.0, bias=0.5, weight_decay=1e-5), clip=0.4)
schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4], 0.15)
trainer = Trainer(net, optimizer, batch_size=8, schedule=schedule, generator=g)
history = trainer.fit((x, y), epochs=5, test=(new, truth))
[round(100 * record.test_accuracy, 1) for record in history]

# %%
assert history[-1].test_accuracy > 0.95

# %% [markdown]
# ## How wrong is it?
#
# The series was cut off. The report compares it with the exact average over neurons, layer by layer: relative errors of
# what the layer puts out, and of the gradient that it hands down.

# %%
report = net.error_report(new)
for layer in report:
    print(f"{layer.layer:10} output {layer.output:.4f}   gradient {layer.gradient:.4f}")
assert max(layer.output for layer in report) < 0.05

# %% [markdown]
# `features=mupi.Atoms()` keeps every sample instead, and has no error; its memory grows with each step.
#
# ## Finite networks of this limit
#
# The trained limit describes finite networks of every width: `sample` draws one. The wider it is, the nearer to the
# limit, and the distance falls as n^−½: four times as wide, half as far.

# %%
widths = [128, 512, 2048, 8192]
with torch.no_grad():
    limit = net(new)
    gaps = [float((net.sample(n, generator=g)(new) - limit).square().mean().sqrt()) for n in widths]
    accuracies = [float((net.sample(n, generator=g)(new).argmax(1) == truth).float().mean()) for n in widths]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.loglog(widths, gaps, "o-", label="networks drawn from the limit")
left.loglog(widths, [gaps[0] * (n / widths[0]) ** -0.5 for n in widths], "--", color="0.4", label="slope −1/2")
left.set(xlabel="width n", ylabel="distance of outputs to the limit")
left.legend(frameon=False)
right.semilogx(widths, [100 * a for a in accuracies], "o-", label="networks of width n")
right.axhline(100 * history[-1].test_accuracy, linestyle="--", color="0.4", label="the limit")
right.set(xlabel="width n", ylabel="test accuracy, %")
right.legend(frameon=False)

# %%
assert gaps[-1] < 0.3 * gaps[0]

# %% [markdown]
# ## Beside kernels
#
# The same architecture in the limit in which features are *not* learned is a kernel, and learning is one linear system.

# %%
kernel = mupi.KernelRegression(mupi.NTK(2, mupi.ReLU()), ridge=1e-3).fit(x, y, classes=10)
of_kernel = float((kernel.predict(new).argmax(1) == truth).float().mean())
print(f"π-limit {100 * history[-1].test_accuracy:.1f} %, NTK {100 * of_kernel:.1f} %")
assert of_kernel > 0.95

# %% [markdown]
# On 1,442 little images the kernel is ahead: hardly anything is to be found here that random features do not have
# already. [Lazy and rich training](lazy_and_rich.py) has a task where that is not so, and what makes the difference.
#
# Next: [your own network](your_network.py), read from a PyTorch module.
