# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lazy and rich training: a lecture
#
# One architecture, three ways to go to infinite width. Two of them are kernels, and one learns features. We look at a
# task that tells them apart, at what the rich network has learned, and at which exponents decide.

# %%
import matplotlib.pyplot as plt
import torch

import mupi
from mupi.kernels import centered_alignment, centered_one_hot
from mupi.training import Trainer

g = torch.Generator().manual_seed(0)

# %% [markdown]
# ## A task with something to find
#
# Twenty signs; the class is the product of the first three. No one of them, and no two, say anything about it.

# %%
x = torch.randint(2, (2000, 20), generator=g).float() * 2 - 1
y = (x[:, :3].prod(1) > 0).long()
X, Y, new, truth = x[:1000], y[:1000], x[1000:], y[1000:]


def accuracy(outputs):
    return 100 * float((outputs.argmax(1) == truth).float().mean())


# %% [markdown]
# ## Lazy: kernels
#
# If only the readout learns, an infinitely wide network is the NNGP kernel; in the usual scaling, where all weights
# learn but each moves by a vanishing amount, it is the NTK. Both compare inputs by all twenty signs alike.

# %%
lazy = {}
for name, kernel in {"NNGP": mupi.NNGP(2, mupi.ReLU()), "NTK": mupi.NTK(2, mupi.ReLU())}.items():
    lazy[name] = accuracy(mupi.KernelRegression(kernel, ridge=1e-2).fit(X, Y, classes=2).predict(new))
lazy

# %% [markdown]
# ## Rich: the π-limit
#
# The same two hidden layers of infinitely many ReLUs, with features that learn.

# %%
net = mupi.PiMLP(20, 2, rank=32, depth=2, features=mupi.Hermite(2), generator=g)
classes = centered_one_hot(truth, 2)
look = new[:300]


def alignment():
    """How much the feature kernel is about the classes: 0 not at all, 1 wholly."""
    with torch.no_grad():
        return float(centered_alignment(net.feature_kernel(look, look), classes[:300] @ classes[:300].T))


def first_layer():
    """How far each input moves the first hidden layer."""
    return net.input.weight.detach().norm(dim=1)


before, filters_before = alignment(), first_layer()
optimizer = mupi.SGD(net.parameter_groups(lr=2.0, bias=0.5, weight_decay=1e-3), clip=0.4)
schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [15], 0.15)
curve = []
trainer = Trainer(net, optimizer, batch_size=20, schedule=schedule, generator=g)
trainer.fit((X, Y), epochs=20, test=(new, truth), callbacks=[lambda t, record: curve.append((record, alignment()))])
rich = accuracy(net(new))
print(f"NNGP {lazy['NNGP']:.1f} %, NTK {lazy['NTK']:.1f} %, π-limit {rich:.1f} %")
assert rich > 97 > 75 > max(lazy.values())

# %% [markdown]
# For a while it does no better than guessing, and learns by heart; then the features are found, and accuracy follows
# the alignment of its kernel with the classes.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2), layout="constrained")
epochs = [record.epoch for record, _ in curve]
left.plot(epochs, [100 * record.test_accuracy for record, _ in curve], "o-", markersize=3, label="test accuracy, %")
left.plot(epochs, [100 * a for _, a in curve], "s--", markersize=3, label="alignment of the features × 100")
left.axhline(lazy["NTK"], color="0.4", linestyle=":", label="NTK's accuracy")
left.set(xlabel="epoch", ylim=(0, 103), xticks=range(0, 21, 5))
left.legend(frameon=False, fontsize="small")
right.bar(range(1, 21), first_layer().tolist(), label="after training")
right.plot(range(1, 21), filters_before.tolist(), "k_", markersize=9, label="before")
right.set(xlabel="input", ylabel="how far it moves the first layer", xticks=[1, 2, 3, 5, 10, 15, 20])
right.legend(frameon=False, fontsize="small")
assert set(first_layer().argsort(descending=True)[:3].tolist()) == {0, 1, 2} and alignment() > 5 * before

# %% [markdown]
# The first layer has found the three inputs that matter. A kernel would look the same before and after.
#
# ## What decides: exponents
#
# Write W = n^{−a} w with w ~ N(0, n^{−2b}), and learning rate η n^{−c}. Everything that happens as n → ∞ follows from
# these numbers ([Yang & Hu 2021](../references.md)). PyTorch's initial values with the largest rate at which nothing
# blows up are *lazy*; μP is the one choice in which every layer learns features.

# %%
for name, p in {
    "PyTorch's, rate 1": mupi.Parametrization.standard(depth=2, c=0),
    "PyTorch's, rate 1/n": mupi.Parametrization.standard(depth=2, c=1),
    "NTK": mupi.Parametrization.ntk(depth=2),
    "μP": mupi.Parametrization.mup(depth=2),
}.items():
    print(f"{name:20} r = {p.r!s:5} stable {p.stable!s:6} learns features {p.learns_features}")
assert mupi.Parametrization.mup(depth=2).r == 0 and mupi.Parametrization.ntk(depth=2).kernel_regime

# %% [markdown]
# r says by how much features move: n^{−r}. At r = 1/2 a single neuron moves by 1/√n, too little to see, and n of them
# together move the output by as much as wanted. At r = 0 each moves by as much as it was large.
#
# In networks, measured: how much the last hidden layer changes in three steps, relative to its size, at four widths.

# %%
widths, moved = [32, 128, 512, 2048], {}
for name, p in {"NTK": mupi.Parametrization.ntk(2), "μP": mupi.Parametrization.mup(2)}.items():
    moved[name] = []
    for n in widths:
        finite = mupi.MLP(20, 2, n, depth=2, parametrization=p, activation=torch.tanh, generator=g.manual_seed(n))
        sgd = torch.optim.SGD(finite.parameter_groups(lr=2.0))
        start = finite.hidden(X[:64])[-1].detach()
        for _ in range(3):
            sgd.zero_grad()
            torch.nn.functional.cross_entropy(finite(X[:64]), Y[:64]).backward()
            sgd.step()
        moved[name].append(float((finite.hidden(X[:64])[-1].detach() - start).norm() / start.norm()))

figure, axes = plt.subplots(figsize=(4.6, 3), layout="constrained")
for (name, changes), style in zip(moved.items(), ("o--", "s-"), strict=True):
    axes.loglog(widths, changes, style, label=name)
axes.set(xlabel="width n", ylabel="change of the last hidden layer", xticks=widths, xticklabels=widths)
axes.minorticks_off()
axes.legend(frameon=False)
assert moved["NTK"][-1] < 0.3 * moved["NTK"][0] and moved["μP"][-1] > 0.5 * moved["μP"][0]

# %% [markdown]
# ## Exercises
#
# Lines that begin with `assert` hold this page to what it says; leave them out where you change the task.
#
# 1. Take the product of two signs instead of three. Who needs features now?
# 2. Give the kernels 4,000 samples. How many do they need for what the rich network does with 1,000?
# 3. Make the rich network lazy: `net.parameter_groups(lr=2.0, first=0.0)` holds the first layer. What is left?
# 4. On real digits, kernels are ahead ([your first limit](first_limit.py)). Put 400 columns of noise beside the 64
#    pixels, and compare again.
