"""Depth: branches whose last weights carry their multiplier train as those of a network that multiplies them."""

import copy
import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import mupi
from mupi.mup import DepthScaling, Together, TransferVerdict, sweep_rates
from mupi.mup.parametrize import Base, built
from mupi.mup.sweep import batches
from mupi.optim.fans import AtDepth

SCALINGS = [DepthScaling.depth_mup(), DepthScaling.complete_p(), DepthScaling(0.75)]

DATA = torch.randn(12, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64), torch.arange(12) % 3


class Residual(nn.Module):
    """Blocks of all that a branch may end in, and one number that multiplies them."""

    def __init__(self, n, depth, m=1.0, end="linear", post=False):
        super().__init__()
        self.m, self.end, self.post = m, end, post
        self.first, self.last = nn.Linear(8, n), nn.Linear(n, 3)
        self.norms = nn.ModuleList(nn.LayerNorm(n) for _ in range(depth))
        self.up, self.down = (nn.ModuleList(nn.Linear(n, n) for _ in range(depth)) for _ in range(2))
        self.gains = nn.ParameterList(
            nn.Parameter(torch.full((n,), 0.5)) for _ in range(depth if end == "layer scale" else 0)
        )
        self.ends = nn.ModuleList(
            nn.LayerNorm(n) if end == "norm" else nn.Linear(n, n)
            for _ in range(depth if end in ("norm", "gate") else 0)
        )

    def branch(self, i, x):
        h = torch.relu(self.up[i](x if self.post else self.norms[i](x)))
        match self.end:
            case "linear":
                return self.down[i](h)
            case "relu":
                return torch.relu(self.down[i](h))
            case "layer scale":
                return self.gains[i] * self.down[i](h)
            case "norm":
                return self.ends[i](self.down[i](h))
            case "gate":
                return self.ends[i](x).sigmoid() * self.down[i](h)
            case "tanh":
                return self.down[i](h).tanh()
            case "normalized":
                return nn.functional.layer_norm(self.down[i](h), h.shape[-1:])

    def forward(self, x):
        x = self.first(x)
        for i in range(len(self.up)):
            y = self.branch(i, x)
            x = x + (y if self.m == 1 else self.m * y)
            x = self.norms[i](x) if self.post else x
        return self.last(x)


def deep(make, depth=4, base_depth=1, width=32, base_width=16, scaling=None, example=DATA[0]):
    torch.manual_seed(0)
    return mupi.parametrize(make, width, base_width, example, depth=depth, base_depth=base_depth, depth_scaling=scaling)


GRAPHS = {}


@pytest.fixture(scope="module")
def both():
    """One network in both parametrizations, whose graphs are read once."""
    made = Base(lambda n, depth: Residual(n, depth).double(), 16, DATA[0], (1, SCALINGS[0]), {}, GRAPHS)
    torch.manual_seed(0)
    first = built(made, 32, 4)
    return first, built(replace(made, deep=(1, SCALINGS[1])), 32, 4)


def trajectory(model, optimizer, steps):
    """Outputs before each step, and after the last."""
    outputs = [model(DATA[0])]
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(outputs[-1], DATA[1]).backward()
        optimizer.step()
        outputs.append(model(DATA[0]))
    return torch.stack(outputs).detach()


OPTIMIZERS = {
    "SGD": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)),
    "clipped SGD": (mupi.SGD, dict(lr=0.1, clip=0.1, clip_jointly=False, weight_decay=0.1)),
    # ε as large as gradients are, so that its scaling counts.
    "AdamW": (torch.optim.AdamW, dict(lr=0.02, eps=1e-3, weight_decay=0.1)),
    # torch compares the first ε with squares and its square with entries, which no one factor scales: a small one.
    "Adafactor": (torch.optim.Adafactor, dict(lr=0.05, eps=(1e-12, 1e-2), weight_decay=0.1)),
    "Rprop": (torch.optim.Rprop, dict(lr=0.01, step_sizes=(0.005, 0.02))),
    "Muon": (
        torch.optim.Muon,
        dict(lr=0.05, rest=torch.optim.AdamW, rest_lr=0.01, rest_options={"eps": 1e-3}, weight_decay=0.1),
    ),
}


def of_the_papers(groups, branch, r, α):
    """Groups of a network with multipliers r^−α in its code, in μP of width: rates, decay and ε of branches.

    Rates of SGD r^(2α − 1) and of all others r^(α − 1), lr·weight_decay as it is; ε as the gradients, r^−α.
    """
    made = []
    for group in groups:
        for w in group["params"]:
            own = {**group, "params": [w]}
            if any(w is other for other in branch):
                times = r ** (2 * α - 1 if group["family"] == "SGDLike" else α - 1)
                own["lr"] *= times
                if "weight_decay" in own:
                    own["weight_decay"] /= times
                if isinstance(own.get("eps"), tuple):
                    own["eps"] = own["eps"][0] * r ** (-α * min(w.ndim, 2)), own["eps"][1]
                elif "eps" in own:
                    own["eps"] *= r**-α
                if "clip" in own:
                    own["clip"] *= r**-α
                if "step_sizes" in own:
                    own["step_sizes"] = tuple(size * times for size in own["step_sizes"])
            made.append(own)
    return made


def gains(model):
    return [(name, w) for name, w in model.named_parameters() if name.startswith("gains")]


def multiplied(p, explicit, kind, options):
    """A network with multipliers in its code that is the same function, and its optimizer."""
    reference = mupi.parametrize(explicit, p.width, p.base_width, roles={g: "vector" for g, _ in gains(p.model)})
    model, r, α = reference.model, 4.0, float(p.depth.scaling.α)
    branch = []
    for row in p.plan:
        w, place = model.get_parameter(row.name), row.fans.depth.place
        with torch.no_grad():
            w.copy_(p.model.get_parameter(row.name) / (model.m if place == "last" else 1))
        branch += [w] if place else []
    optimizer = reference.optimizer(kind, **options)
    if isinstance(optimizer, Together):
        return model, Together(*(
            type(o)(of_the_papers(o.param_groups, branch, r, α)) for o in optimizer.optimizers
        ))  # fmt: skip
    return model, kind(of_the_papers(optimizer.param_groups, branch, r, α))


def same_training(p, explicit, name):
    kind, options = OPTIMIZERS[name]
    model, optimizer = multiplied(p, explicit, kind, options)
    mine = copy.deepcopy(p.model)
    a, b = trajectory(mine, p.optimizer(kind, model=mine, **options), 5), trajectory(model, optimizer, 5)
    assert (a[-1] - a[0]).abs().max() > 0.03
    # Clipping divides by the norm + 1e-6, whatever the norm is.
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-5 if name == "clipped SGD" else 1e-10)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("which", [0, 1], ids=["Depth-μP", "CompleteP"])
def test_training_is_that_of_a_network_with_multipliers(both, name, which):
    p = both[which]
    same_training(p, lambda n: Residual(n, 4, p.depth.scaling.multiplier(4)).double(), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adafactor"])
@pytest.mark.parametrize("end", ["relu", "layer scale", "norm", "gate"])
def test_whatever_a_branch_ends_in(end, name):
    p = deep(lambda n, depth: Residual(n, depth, end=end).double(), scaling=SCALINGS[2])
    last = {row.name.partition(".")[0] for row in p.plan if row.fans.depth.place == "last"}
    assert last == {"ends" if end == "norm" else "down"}
    same_training(p, lambda n: Residual(n, 4, 4**-0.75, end=end).double(), name)


@pytest.mark.slow
def test_a_multiplier_in_the_code_is_left_there():
    p = deep(lambda n, depth: Residual(n, depth, depth**-0.5).double())
    assert {row.fans.depth.place for row in p.plan} == {"", "inside"}
    same_training(p, lambda n: Residual(n, 4, 0.5).double(), "AdamW")


def test_at_the_base_depth_nothing_changes(both):
    torch.manual_seed(0)
    p = both[0].at(16, 1)
    torch.manual_seed(0)
    mine = Residual(16, 1).double()
    assert all(torch.equal(a, b) for a, b in zip(p.model.parameters(), mine.parameters(), strict=True))
    groups = p.parameter_groups(torch.optim.AdamW, lr=1e-3)
    assert {(g["lr"], g["eps"], g["weight_decay"]) for g in groups} == {(1e-3, 1e-8, 0.01)}
    torch.manual_seed(0)
    wide = both[0].at(32, 1)
    torch.manual_seed(0)
    plain = mupi.parametrize(lambda n: Residual(n, 1).double(), 32, 16)
    assert all(torch.equal(a, b) for a, b in zip(wide.model.parameters(), plain.model.parameters(), strict=True))
    assert [row.fans for row in wide.plan] == [row.fans for row in plain.plan]


def test_what_is_explained(both):
    text = " ".join(both[0].explain().split())
    assert "depth 4, relative to depth 1: branches times r^-1/2" in text
    rows = {row.name: row for row in both[0].plan}
    assert rows["up.2.weight"].fans.depth == AtDepth("inside", Fraction(4), 1.0, 0.5, 0.5)
    assert rows["down.2.weight"].fans.depth == AtDepth("last", Fraction(4), 0.5, 0.25, 1.0)
    assert rows["first.weight"].fans.depth == AtDepth()
    assert "kept, inside" in text and "law, last" in text
    assert "last: carries its branch's m = r^-α in its entries" in text


@pytest.mark.parametrize(
    ("init", "factor"),
    [(lambda net, depth: None, 0.5), (lambda net, depth: scaled(net.down, (2 * depth) ** -0.5), 1.0),
     (lambda net, depth: scaled(net.down, 0.0), 1.0), (lambda net, depth: scaled(net.down, depth**-0.3), 0.5 * 4**0.3)],
    ids=["none", "GPT-2's", "zero", "no simple power"],
)  # fmt: skip
def test_the_users_own_law_of_depth_is_taken_into_account(both, init, factor):
    def make(n, depth):
        net = Residual(n, depth).double()
        init(net, depth)
        return net

    p = built(Base(make, 16, DATA[0], (1, SCALINGS[0]), {}, GRAPHS), 16, 4)
    own = {row.name: row.initial for row in p.plan}["down.3.weight"]
    assert own.factor == pytest.approx(factor, rel=1e-12 if own.law else 0.1)
    assert (own.law is None) == (factor not in (0.5, 1.0))


def scaled(layers, times):
    with torch.no_grad():
        for p in layers.parameters():
            p.mul_(times)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SGD", "AdamW", "Muon"])
@pytest.mark.parametrize("scaling", SCALINGS[:2], ids=["Depth-μP", "CompleteP"])
def test_what_training_moves_does_not_depend_on_depth(name, scaling):
    """A coordinate check over depth: the stream at its end, and what each kind of weight adds to its change."""
    kind, options = OPTIMIZERS[name]
    depths, found, plain = (2, 4, 8, 16, 32), [], []
    base = Base(lambda n, depth: Residual(n, depth).double(), 64, DATA[0], (2, scaling), {})
    for depth in depths:
        found.append([])
        plain.append([])
        for seed in range(4):
            torch.manual_seed(seed)
            p = built(base, 64, depth)
            found[-1].append(moved(p.model, p.optimizer(kind, **options)))
            torch.manual_seed(seed)
            flat = mupi.parametrize(lambda n, depth=depth: Residual(n, depth).double(), 64, 64)
            plain[-1].append(moved(flat.model, flat.optimizer(kind, **options)))
    sizes, standard = (torch.tensor(rows).square().mean(1).sqrt() for rows in (found, plain))
    octaves = torch.tensor(depths, dtype=torch.float64).log2()
    print(name, scaling, slopes(octaves, sizes), slopes(octaves, standard))
    assert slopes(octaves, sizes).abs().max() < 0.2
    assert slopes(octaves, standard).max() > 0.4


def slopes(octaves, sizes):
    centered = octaves - octaves.mean()
    return centered @ (sizes.double().log2()) / centered.square().sum()


def moved(model, optimizer, steps=3):
    """Sizes of the stream at its end at the start, and of its change: in training, and by weights of one kind alone."""
    seen = []
    model.last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    start = copy.deepcopy(model.state_dict())
    trajectory(model, optimizer, steps)
    before, after = seen[0], seen[-1]
    end = copy.deepcopy(model.state_dict())
    sizes = [before, after - before]
    for kind in ("up", "down"):
        model.load_state_dict(start | {name: w for name, w in end.items() if name.startswith(kind)})
        model(DATA[0])
        sizes.append(seen[-1] - before)
    return [float(x.square().mean().sqrt()) for x in sizes]


G = torch.Generator().manual_seed(0)
X = torch.randn(4096, 8, generator=G)
Z = (X[:, :1] * X[:, 1:2]).tanh() + torch.tanh(2 * X[:, 2:3]) + 0.3 * torch.randn(4096, 1, generator=G)


class Regression(Residual):
    """With one output."""

    def __init__(self, n, depth):
        super().__init__(n, depth)
        self.last = nn.Linear(n, 1)


def swept(read, optimizer, rates, scaling, depths=(2, 16), steps=100):
    """Rates over depth, at one width."""
    base = read if scaling is None else replace(read, deep=(depths[0], scaling))

    def train(depth, rate, seed):
        torch.manual_seed(seed)
        if scaling is None:
            model = Regression(32, depth)
            descent = optimizer(model.parameters(), lr=rate)
        else:
            p = built(base, 32, depth)
            model, descent = p.model, p.optimizer(optimizer, lr=rate)
        losses = []
        for batch in batches(len(X), 64, steps, seed):
            descent.zero_grad()
            value = mse_loss(model(X[batch]), Z[batch])
            losses.append(float(value.detach()))
            if not losses[-1] < 1e6:
                return math.inf
            value.backward()
            descent.step()
        return sum(losses[-25:]) / 25

    found = sweep_rates(train, depths, [2.0**k for k in rates], seeds=4)
    print(optimizer.__name__, scaling, found.explain(), found.best_rates, found.log_losses)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "rates"), [(torch.optim.SGD, range(-9, 1)), (torch.optim.AdamW, range(-12, -3))]
)  # fmt: skip
def test_the_best_rate_stays_as_the_network_becomes_deeper(optimizer, rates):
    read = Base(Regression, 32, X[:1], (2, DepthScaling()), {})
    plain = swept(read, optimizer, rates, None)
    assert plain.verdict is TransferVerdict.FAILS, plain.explain()
    for scaling in (DepthScaling.depth_mup(), DepthScaling.complete_p()):
        found = swept(read, optimizer, rates, scaling)
        assert found.verdict is not TransferVerdict.FAILS, found.explain()
        assert abs(found.drift.value) < 0.5 * abs(plain.drift.value), found.explain()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_deep_network_passes_the_check_over_width(both, optimizer):
    lr = 0.1 if optimizer is torch.optim.SGD else 1e-2
    result = both[1].check(*DATA, optimizer=optimizer, lr=lr, widths=(16, 32, 64, 128), seeds=3)
    assert result.passed, result.explain()
