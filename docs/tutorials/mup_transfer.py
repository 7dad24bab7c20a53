# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # μP for your model, and the transfer check
#
# Tune a narrow network, train a wide one with the same settings. `mupi.parametrize` does what that takes, `check` says
# whether it was done right, and `transfer_check` whether it pays.

# %%
# %matplotlib inline
import torch
from torch import nn

import mupi

g = torch.Generator().manual_seed(0)
x = torch.randn(512, 8, generator=g)
y = torch.tanh(2 * x[:, :1]) * x[:, 1:2]


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, width), nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, x):
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))


# %% [markdown]
# ## Put it into μP
#
# Two widths: the one that you train at, and the base, at which nothing is changed.

# %%
p = mupi.parametrize(Net, width=256, base_width=16, example=x[:1])
optimizer = p.optimizer(torch.optim.AdamW, lr=1e-2, weight_decay=0.1)
print(p.explain(optimizer))
assert type(p.model) is Net

# %% [markdown]
# Your class, your `state_dict`. Hidden weights and readout have a sixteenth of the rate, since the width is sixteen
# times the base; what reads data keeps it; decay times rate is one number for all.
#
# ## Check it
#
# From the graph of the module follows how every value and every update grows with the width. `check` predicts these
# exponents, measures them, and names what is wrong.

# %%
result = p.check(
    x[:64], y[:64], lr=1e-2, optimizer=torch.optim.AdamW, loss=nn.functional.mse_loss, widths=(16, 32, 64, 128)
)
print(result.explain())
assert result.passed

# %% [markdown]
# The same module as PyTorch makes it, with one rate for all:

# %%
plain = mupi.mup.check_scaling(
    Net,
    x[:64],
    y[:64],
    make_optimizer=lambda model, width: torch.optim.AdamW(model.parameters(), lr=1e-2),
    loss=nn.functional.mse_loss,
    widths=(16, 32, 64, 128),
    seeds=2,
)
print(plain.explain())
assert not plain.passed

# %% [markdown]
# ## Does the best rate transfer?
#
# Exponents say that it should; only training tells. Two widths, nine rates, four seeds, eighty steps each:

# %%
rates = [2.0**k for k in range(-11, -2)]
settings = dict(loss=nn.functional.mse_loss, optimizer=torch.optim.Adam, steps=80, seeds=4)
in_mup = mupi.transfer_check(Net, [16, 128], x, y, rates=rates, **settings)
print(in_mup.explain())

# %%
standard = mupi.transfer_check(Net, [16, 128], x, y, rates=rates, parametrized=False, **settings)
print(standard.explain())

# %%
in_mup.plot()

# %%
standard.plot()

# %% [markdown]
# Stars mark the best rate of each width, and the dashed line is that of the narrowest. In standard parametrization it
# moves to smaller rates as the width grows, beyond its interval. In μP it stays, as far as four seeds can tell; what
# they leave open the verdict leaves open.

# %%
assert standard.verdict is mupi.mup.TransferVerdict.FAILS
assert in_mup.verdict is not mupi.mup.TransferVerdict.FAILS and abs(in_mup.drift.value) < abs(standard.drift.value)

# %% [markdown]
# More: [μP](../mup.md) for Muon, schedulers, checkpoints and sharding; [checks](../checking-mup.md);
# [transfer](../transfer-check.md), with the faults that it finds; [forecasts](../forecast.md) of a wide network's loss
# from narrow ones.
