"""Parameter groups: steps that equal those of μP with multipliers, decay, ε, refusals, two optimizers as one."""

import copy
import pickle

import pytest
import torch
from networks import GPT, VECTORS, ResNet, mlp
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR

import mupi
from mupi.mup import AdafactorLike, AdamLike, MuonLike, SGDLike, Together
from mupi.parametrization import adam_rates, sgd_rates

BASE, WIDTH = 16, 64
ROLES = mupi.Roles.mup()


@pytest.fixture(scope="module")
def traced():
    torch.manual_seed(0)
    return mupi.parametrize(lambda n: mlp(n).double(), WIDTH, BASE, VECTORS.double())


@pytest.fixture
def p():
    torch.manual_seed(0)
    return mupi.parametrize(mlp, WIDTH, BASE)


DATA = torch.randn(12, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64), torch.arange(12) % 3


def trajectory(model, optimizer, steps=5):
    """Outputs before each step, and after the last."""
    outputs = [model(DATA[0])]
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(outputs[-1], DATA[1]).backward()
        optimizer.step()
        outputs.append(model(DATA[0]))
    return torch.stack(outputs).detach()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("adam", [False, True])
def test_training_is_that_of_mups_own_network_with_multipliers(traced, adam, nesterov):
    p, lr, decay = traced, 0.02 if adam else 0.3, 0.1
    theirs = p.architecture.finite(WIDTH, parametrization=ROLES, dtype=torch.float64)
    mine = copy.deepcopy(p.model)
    groups = []
    rates = adam_rates if adam else sgd_rates
    for row in p.plan:
        times = WIDTH ** -float(ROLES.a(row.role))
        w = theirs.get_parameter(row.name)
        with torch.no_grad():
            w.copy_(mine.get_parameter(row.name).reshape(w.shape) / times)
        # The constant that makes both rates equal at the base: n0 to the power of the effective rate's exponent.
        effective = -float(ROLES.c(row.role, rates)) - float(ROLES.a(row.role)) * (1 if adam else 2)
        rate = lr * BASE**-effective * WIDTH ** -float(ROLES.c(row.role, rates))
        groups.append({"params": [w], "lr": rate, "weight_decay": lr * decay / rate})
    if adam:
        options = dict(betas=(0.8, 0.9), eps=1e-40)
        kind = torch.optim.AdamW
    else:
        options = dict(momentum=0.9, nesterov=nesterov)
        kind = torch.optim.SGD
    ours = p.optimizer(kind, lr=lr, weight_decay=decay, model=mine, **options)
    other = kind(groups, **options)
    a, b = trajectory(mine, ours), trajectory(theirs, other)
    assert (a[-1] - a[0]).abs().max() > 0.1
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {}),
        (torch.optim.AdamW, {}),
        (torch.optim.Adam, {"decoupled_weight_decay": True}),
        (torch.optim.NAdam, {"decoupled_weight_decay": True}),
        (torch.optim.RAdam, {"decoupled_weight_decay": True}),
        (torch.optim.Adafactor, {}),
        (torch.optim.ASGD, {}),
        (mupi.SGD, {"clip": 0.5}),
    ],
)
def test_a_step_shrinks_every_parameter_by_lr_times_decay(p, kind, options):
    # Without gradients but zero ones, a step does nothing but shrink.
    optimizer = p.optimizer(kind, lr=0.01, weight_decay=0.2, **options)
    before = [q.detach().clone() for q in p.model.parameters()]
    for q in p.model.parameters():
        q.grad = torch.zeros_like(q)
    optimizer.step()
    shrink = 1 - 0.01 * 0.2 - (0.01 * 1e-4 if kind is torch.optim.ASGD else 0)
    for q, old in zip(p.model.parameters(), before, strict=True):
        torch.testing.assert_close(q.detach(), old * shrink, rtol=2e-6, atol=0)


@pytest.mark.parametrize(
    "kind",
    [torch.optim.Adam, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax, torch.optim.RMSprop,
     torch.optim.Adagrad],
)  # fmt: skip
def test_decay_that_is_normalized_with_the_gradient_is_refused(p, kind):
    with pytest.raises(ValueError, match=r"`parameter_groups\(weight_decay=...\)` must be 0.*use torch.optim.AdamW"):
        p.parameter_groups(kind, lr=0.1, weight_decay=0.1)
    kind(p.parameter_groups(kind, lr=0.1))


ADAPTIVE = [
    torch.optim.AdamW, torch.optim.Adam, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax, torch.optim.RMSprop,
    torch.optim.Adagrad, torch.optim.Rprop,
]  # fmt: skip


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_steps_of_adaptive_optimizers_do_not_know_the_size_of_gradients(kind):
    # The premise of the family: gradients, ε (and bounds of steps) n times smaller, the same steps.
    steps = []
    for size in (1.0, 1 / 64):
        w = nn.Parameter(torch.zeros(5, dtype=torch.float64))
        optimizer = kind([w], lr=0.1, **({} if kind is torch.optim.Rprop else {"eps": 1e-3 * size}))
        for t in range(12):
            w.grad = size * torch.sin(torch.arange(1.0, 6.0, dtype=torch.float64) * (t + 1))
            optimizer.step()
        steps.append(w.detach())
    if kind is torch.optim.RAdam:
        # Its first five steps are the gradient itself, as SGD's: only from then on is it of the family.
        assert not torch.allclose(*steps)
    else:
        torch.testing.assert_close(steps[0], steps[1], rtol=1e-9, atol=0)


def test_rprops_bounds_scale_as_its_rate():
    p = mupi.parametrize(mlp, WIDTH, BASE)
    groups = {g["name"]: g for g in p.parameter_groups(torch.optim.Rprop, lr=0.1)}
    assert groups["hidden, readout"]["step_sizes"] == (1e-6 / 4, 50 / 4)


def test_adafactor_steps_relative_to_the_parameter():
    p = mupi.parametrize(mlp, WIDTH, BASE)
    rates = {g["name"]: (g["times"], g["eps"]) for g in p.parameter_groups(torch.optim.Adafactor, lr=0.01)}
    eps = torch.finfo(torch.float32).eps
    assert rates["hidden"] == (0.5, (eps / 16, 1e-3 / 2))
    assert rates["readout"] == (1.0, (None, 1e-3 / 4))
    # torch compares means of squares of a matrix with eps, and the entries of a vector.
    assert rates["input"] == (1.0, (eps / 16, 1e-3)) and rates["vector"] == (1.0, (eps / 4, 1e-3))


def test_epsilon_shrinks_as_gradients_do():
    # Measured: gradients at the base and at sixteen times its width.
    sizes = {}
    for width in (64, 1024):
        torch.manual_seed(0)
        p = mupi.parametrize(mlp, width, 64)
        with torch.no_grad():
            p.model[4].weight.mul_(3)
        x, y = DATA[0].float(), DATA[1]
        cross_entropy(p.model(x), y).backward()
        sizes[width] = {row.name: float(p.model.get_parameter(row.name).grad.square().mean().sqrt()) for row in p.plan}
    eps = {id(q): g["eps"] for g in p.parameter_groups(torch.optim.AdamW, lr=1.0) for q in g["params"]}
    for row in p.plan:
        ratio = sizes[1024][row.name] / sizes[64][row.name]
        assert ratio == pytest.approx(eps[id(p.model.get_parameter(row.name))] / 1e-8, rel=0.6), row.name


def test_the_norm_to_clip_by_does_not_depend_on_the_width():
    norms = {"ours": [], "torch's": []}
    for width in (32, 2048):
        torch.manual_seed(0)
        p = mupi.parametrize(mlp, width, 32)
        cross_entropy(p.model(DATA[0].float()), DATA[1]).backward()
        plain = torch.nn.utils.get_total_norm([q.grad for q in p.model.parameters()])
        norms["torch's"].append(float(plain))
        norms["ours"].append(float(p.clip_grad_norm_(1e-3)))
        assert float(p.clip_grad_norm_(1.0)) == pytest.approx(1e-3, rel=1e-3)  # clipped, and now left alone
        assert float(p.clip_grad_norm_(1.0)) == pytest.approx(1e-3, rel=1e-3)
        if width == 32:
            assert norms["ours"] == pytest.approx(norms["torch's"])
    assert 0.5 < norms["ours"][1] / norms["ours"][0] < 2
    assert norms["torch's"][1] / norms["torch's"][0] > 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.parameter_groups(torch.optim.AdamW, lr=-1.0), "lr"),
        (lambda p: p.parameter_groups(torch.optim.AdamW, lr=1.0, beta=1), r"beta=...\)` must be an option of AdamW"),
        (lambda p: p.parameter_groups(torch.optim.Rprop, lr=1.0, weight_decay=0.1), "an option of Rprop"),
        (lambda p: p.parameter_groups(torch.optim.Adagrad, lr=1.0, initial_accumulator_value=0.1), "accumulator"),
        (lambda p: p.parameter_groups(torch.optim.AdamW, lr=1.0, no_decay=("bias",)), "no_decay"),
        (lambda p: p.parameter_groups(torch.optim.AdamW, lr=1.0, model=nn.Linear(2, 2)), "parameter `0.weight`"),
        (lambda p: p.parameter_groups(mupi.SGD, lr=1.0, clip=1.0, clip_jointly=True), "clip_jointly"),
        (lambda p: p.parameter_groups(torch.optim.Muon, lr=1.0), "rest=torch.optim.AdamW"),
        (lambda p: p.optimizer(torch.optim.Muon, lr=1.0, rest=torch.optim.AdamW), "rest_lr"),
        (lambda p: p.optimizer(torch.optim.AdamW, lr=1.0, rest=torch.optim.AdamW), r"rest=...\)` must be None"),
        (lambda p: p.optimizer(torch.optim.AdamW, lr=1.0, rest_lr=1.0), "rest"),
    ],
)
def test_refusals(p, call, message):
    with pytest.raises(ValueError, match=message):
        call(p)


def test_settings_of_groups(p):
    groups = p.parameter_groups(torch.optim.AdamW, lr=1.0, weight_decay=0.1, no_decay=("vector",), betas=(0.9, 0.95))
    assert {g["name"]: (g["lr"], g["weight_decay"], g["eps"]) for g in groups} == {
        "input": (1.0, 0.1, 2.5e-9), "vector": (1.0, 0.0, 2.5e-9), "hidden": (0.25, 0.4, 2.5e-9),
        "readout": (0.25, 0.4, 1e-8), "finite": (1.0, 0.1, 1e-8),
    }  # fmt: skip
    assert all(g["betas"] == (0.9, 0.95) for g in groups)
    p.model[0].weight.requires_grad_(False)
    names = [g["name"] for g in p.parameter_groups(AdamLike(), lr=1.0)]
    assert "input" not in names


class Lion(torch.optim.Optimizer):
    """The signs of gradients."""

    def __init__(self, params, lr=1.0, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for w in group["params"]:
                w.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * w.grad.sign())


def test_an_unknown_optimizer_by_its_family(p):
    with pytest.raises(ValueError, match="pass family="):
        p.optimizer(Lion, lr=1.0)
    optimizer = p.optimizer(Lion, lr=1.0, weight_decay=0.1, family=AdamLike())
    assert sorted({g["lr"] for g in optimizer.param_groups}) == [0.25, 1.0]


def muon_and_adam(p, **options):
    return p.optimizer(torch.optim.Muon, lr=0.02, rest=torch.optim.AdamW, rest_lr=0.01, weight_decay=0.1, **options)


def test_muon_moves_hidden_matrices_and_adam_the_rest(p):
    both = muon_and_adam(p)
    assert isinstance(both, torch.optim.Optimizer) and isinstance(both, Together)
    assert {g["name"]: g["lr"] for g in both.param_groups} == {
        "hidden": 0.02, "input, vector": 0.01, "readout": 0.0025, "finite": 0.01,
    }  # fmt: skip
    assert [len(g["params"]) for g in both.optimizers[0].param_groups] == [1]
    matched = muon_and_adam(p, adjust_lr_fn="match_rms_adamw")
    assert matched.param_groups[0]["lr"] == pytest.approx(0.01)
    # Convolutions have more axes than Muon takes.
    conv = mupi.parametrize(lambda n: nn.Sequential(nn.Conv2d(3, n, 3), nn.Conv2d(n, n, 3), nn.Flatten(),
                                                    nn.Linear(n, n)), 32, 16)  # fmt: skip
    both = muon_and_adam(conv)
    assert [q.ndim for q in both.optimizers[0].param_groups[0]["params"]] == [2]


def test_two_optimizers_act_as_the_two_would(p):
    other = copy.deepcopy(p.model)
    both = muon_and_adam(p)
    first, second = (
        torch.optim.Muon([other[2].weight], lr=0.02, weight_decay=0.1),
        torch.optim.AdamW([{"params": [q], "lr": lr, "weight_decay": 0.1 * 0.01 / lr, "eps": eps} for q, lr, eps in (
            (other[0].weight, 0.01, 2.5e-9), (other[0].bias, 0.01, 2.5e-9), (other[2].bias, 0.01, 2.5e-9),
            (other[4].weight, 0.0025, 1e-8), (other[4].bias, 0.01, 1e-8))]),
    )  # fmt: skip
    x, y = DATA[0].float(), DATA[1]
    for _ in range(3):

        def closure():
            both.zero_grad()
            loss = cross_entropy(p.model(x), y)
            loss.backward()
            return loss

        assert both.step(closure).ndim == 0
        other.zero_grad()
        cross_entropy(other(x), y).backward()
        first.step()
        second.step()
    for a, b in zip(p.model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_two_optimizers_are_saved_copied_and_scheduled_as_one(p):
    both = muon_and_adam(p)
    x, y = DATA[0].float(), DATA[1]

    def step(model, optimizer):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()

    step(p.model, both)
    # A copy of model and optimizer together; a state dict; a pickle.
    model, copied = copy.deepcopy((p.model, both))
    again = mupi.parametrize(mlp, WIDTH, BASE)
    again.model.load_state_dict(p.model.state_dict())
    loaded = muon_and_adam(again)
    step(again.model, loaded)
    again.model.load_state_dict(p.model.state_dict())
    loaded.load_state_dict(copy.deepcopy(both.state_dict()))
    restored_model, restored = pickle.loads(pickle.dumps((p.model, both)))
    schedules = [lr_scheduler.LambdaLR(o, lambda t: 0.5**t) for o in (both, copied, loaded, restored)]
    models = (p.model, model, again.model, restored_model)
    for _ in range(2):
        for m, o, schedule in zip(models, (both, copied, loaded, restored), schedules, strict=True):
            step(m, o)
            schedule.step()
    assert both.optimizers[0].param_groups[0]["lr"] == 0.02 / 4
    for m in models[1:]:
        for a, b in zip(p.model.parameters(), m.parameters(), strict=True):
            assert torch.equal(a, b)
    with pytest.raises(ValueError, match="add_param_group"):
        both.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    with pytest.raises(ValueError, match="no parameter in common"):
        Together(*(torch.optim.SGD(p.model.parameters(), lr=1.0) for _ in range(2)))


def test_a_scaler_of_gradients_takes_two_optimizers_as_one(p):
    other = copy.deepcopy(p.model)
    both, plain = muon_and_adam(p), muon_and_adam(p, model=other)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(2):
        both.zero_grad()
        scaler.scale(cross_entropy(p.model(DATA[0].float()), DATA[1])).backward()
        scaler.step(both)
        scaler.update()
        plain.zero_grad()
        cross_entropy(other(DATA[0].float()), DATA[1]).backward()
        plain.step()
    for a, b in zip(p.model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_schedulers_of_absolute_rates_get_lists(p):
    optimizer = muon_and_adam(p)
    ratios = [g["lr"] / 0.02 for g in optimizer.param_groups]
    args = p.scheduler_args(lr_scheduler.OneCycleLR, optimizer, max_lr=0.02, total_steps=10, cycle_momentum=False)
    schedule = lr_scheduler.OneCycleLR(optimizer, **args)
    for _ in range(9):
        assert [g["lr"] / optimizer.param_groups[0]["lr"] for g in optimizer.param_groups] == pytest.approx(ratios)
        optimizer.step()
        schedule.step()
    for kind, options in {
        lr_scheduler.CyclicLR: dict(base_lr=0.01, max_lr=0.1, cycle_momentum=False),
        lr_scheduler.ReduceLROnPlateau: dict(min_lr=0.01),
        SWALR: dict(swa_lr=0.01),
        lr_scheduler.CosineAnnealingLR: dict(T_max=3),
        lr_scheduler.LinearLR: {},
    }.items():
        kind(muon_and_adam(p), **p.scheduler_args(kind, optimizer, **options))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (lr_scheduler.CosineAnnealingLR, dict(T_max=3, eta_min=1e-4), r"eta_min=...\)` must be 0"),
        (lr_scheduler.CosineAnnealingWarmRestarts, dict(T_0=3, eta_min=1e-4), "eta_min"),
        (lr_scheduler.SequentialLR, {}, "one of OneCycleLR"),
    ],
)
def test_schedulers_that_set_one_rate_for_all_are_refused(p, kind, options, message):
    with pytest.raises(ValueError, match=message):
        p.scheduler_args(kind, muon_and_adam(p), **options)
    with pytest.raises(ValueError, match="an optimizer of p.parameter_groups"):
        p.scheduler_args(kind, torch.optim.SGD(p.model.parameters(), lr=1.0), **options)


def coordinates(make, example, x, y, optimizer, steps=4, widths=(64, 128, 256), seeds=3):
    """The coordinate check of `make` in μP relative to the least width."""
    start = mupi.parametrize(make, widths[0], widths[0], example)
    plans = {}

    def at(width):
        p = start.at(width)
        plans[p.model] = p
        return p.model

    return mupi.coordinate_check(
        at, widths, x, y, make_optimizer=lambda net: optimizer(plans[net]), steps=steps, seeds=seeds, tolerance=0.15,
        loss=lambda out, target: cross_entropy(out.flatten(0, -2), target.flatten()),
    )  # fmt: skip


OPTIMIZERS = {
    "SGD": lambda p: p.optimizer(torch.optim.SGD, lr=0.3, momentum=0.5),
    "AdamW": lambda p: p.optimizer(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
    "Adafactor": lambda p: p.optimizer(torch.optim.Adafactor, lr=0.02),
    "Muon": lambda p: p.optimizer(torch.optim.Muon, lr=0.1, rest=torch.optim.AdamW, rest_lr=0.01),
    "Muon, matched": lambda p: p.optimizer(
        torch.optim.Muon, lr=0.1, rest=torch.optim.AdamW, rest_lr=0.01, adjust_lr_fn="match_rms_adamw"
    ),
}


@pytest.mark.parametrize(
    "name", ["AdamW", *(pytest.param(n, marks=pytest.mark.slow) for n in OPTIMIZERS if n != "AdamW")]
)
def test_a_perceptron_learns_alike_at_every_width(name):
    x = torch.randn(12, 8, generator=torch.Generator().manual_seed(1))
    result = coordinates(mlp, None, x, torch.arange(12) % 3, OPTIMIZERS[name])
    assert result.passed, result.explain()


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("make", [ResNet, GPT])
def test_deep_networks_learn_alike_at_every_width(make, name):
    generator = torch.Generator().manual_seed(1)
    if make is GPT:
        x = torch.randint(11, (6, 6), generator=generator)
        y = torch.randint(11, (6, 6), generator=generator)
        result = coordinates(lambda n: GPT(n, c=4.0), None, x, y, OPTIMIZERS[name])
        if name == "SGD":
            # In the first steps ∂L/∂logits is n^−½, as values are not yet aligned with the gradient: by SGD queries and
            # keys move by as much less, until they are. All else moves as at the base.
            assert not result.growing, result.explain()
            assert all(law.part.endswith((".q", ".k")) for law in result.vanishing), result.explain()
            return
    else:
        x = torch.randn(12, 8, generator=generator)
        result = coordinates(ResNet, None, x, torch.arange(12) % 3, OPTIMIZERS[name])
    assert result.passed, result.explain()


def test_the_rates_of_another_family_do_not():
    def wrong(p):
        return torch.optim.AdamW(p.parameter_groups(SGDLike(), lr=0.01))

    x = torch.randn(12, 8, generator=torch.Generator().manual_seed(1))
    result = coordinates(mlp, None, x, torch.arange(12) % 3, wrong, widths=(64, 256), seeds=1)
    assert not result.passed


def test_families_show_their_settings():
    assert repr(MuonLike("none")) == "MuonLike(adjust='none')" and AdafactorLike() == AdafactorLike()


class Anything(torch.optim.AdamW):
    """AdamW by options that its signature does not tell."""

    def __init__(self, params, **options):
        super().__init__(params, **options)


def test_defaults_that_a_signature_hides_are_scaled_too(p):
    hidden, plain = (p.parameter_groups(kind, lr=0.1) for kind in (Anything, torch.optim.AdamW))
    keys = ("lr", "weight_decay", "eps", "name")
    assert [[g[k] for k in keys] for g in hidden] == [[g[k] for k in keys] for g in plain]
    given = p.parameter_groups(Anything, lr=0.1, weight_decay=0.5, eps=1e-6)
    assert {(g["name"], g["weight_decay"], g["eps"]) for g in given} >= {("hidden", 2.0, 1e-6 / 4)}


def test_groups_of_a_family_alone_do_not_get_an_optimizers_own_decay(p):
    optimizer = torch.optim.AdamW(p.parameter_groups(AdamLike(), lr=0.1))
    assert {g["weight_decay"] for g in optimizer.param_groups} == {0.0}


def test_a_parameter_that_came_later_is_refused_and_does_not_stand_still(p):
    p.model.append(nn.Linear(3, 3))
    for call in (lambda: p.parameter_groups(torch.optim.SGD, lr=0.1), lambda: muon_and_adam(p)):
        with pytest.raises(ValueError, match=r"of the parameters of p.model; got `5.weight`, which is new"):
            call()
    p.model[5].requires_grad_(False)
    muon_and_adam(p)
