"""`mupi.SGD` on every feature map; each trap of the published code has its test here."""

import copy
import itertools

import pytest
import torch

import mupi
from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import Atoms, Expansion, Hermite, PiLinear, PiMLP, RandomFeatures, ReLU
from mupi.parameters import factor_gradients
from oracles import exact_layer

FEATURES = {"atoms": Atoms(), "hermite": Hermite(2), "subspace": Hermite(3, subspace=3), "random": RandomFeatures(16)}
ORDINARY = {name: features for name, features in FEATURES.items() if name != "atoms"}


def network(features, seed=0, **options):
    """A small network that starts as the same function for each of the features."""
    options = dict(readout_std=0.3, dtype=torch.float64) | options
    return PiMLP(4, 3, 6, 2, features=features, generator=seeded(seed), **options)


def batch(step, size=8, dtype=torch.float64):
    """The inputs and targets of a step."""
    return randn(size, 4, seed=step, dtype=dtype), randn(size, 3, seed=1000 + step, dtype=dtype)


def backward(net, step=0):
    """Accumulate the gradient of a step's mean squared error."""
    x, y = batch(step)
    loss = ((net(x) - y) ** 2).sum(1).mean()
    loss.backward()
    return loss.detach()


def train(net, optimizer, steps):
    for step in steps:
        backward(net, step)
        optimizer.step()


def whole_state(net):
    """Every number that a step may change."""
    return copy.deepcopy(net.state_dict())


def assert_unchanged(net, before):
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


# It is torch's SGD for ordinary parameters


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("clip", [None, "each", "jointly"])
@pytest.mark.parametrize("name", ORDINARY)
def test_it_is_clip_grad_norm_and_torch_sgd(name, clip, momentum):
    ours, theirs = network(ORDINARY[name]), network(ORDINARY[name])
    options = dict(lr=0.2, first=0.5, last=2.0, bias=0.3, weight_decay=0.02)
    optimizer = mupi.SGD(
        ours.parameter_groups(**options),
        clip=None if clip is None else 0.3,
        clip_jointly=clip == "jointly",
        momentum=momentum,
    )
    reference = torch.optim.SGD(theirs.parameter_groups(**options), momentum=momentum)
    clipped = 0
    for step in range(18):  # the subspace renews its directions at step 16
        backward(ours, step)
        optimizer.step()
        reference.zero_grad()
        backward(theirs, step)
        for parameters in [theirs.parameters()] if clip == "jointly" else [[p] for p in theirs.parameters()]:
            if clip is not None:
                clipped += bool(torch.nn.utils.clip_grad_norm_(parameters, 0.3) > 0.3)
        reference.step()
    assert clipped > 0 or clip is None
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert_close(p, q, rtol=1e-11, scale=max(1e-3, float(q.detach().abs().max()))), key


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("jointly", [False, True])
@pytest.mark.parametrize("name", ORDINARY)
def test_gradients_kept_as_factors_give_the_same_steps(name, jointly, momentum):
    plain, factored = network(ORDINARY[name]), factor_gradients(network(ORDINARY[name]))
    for net in (plain, factored):
        groups = net.parameter_groups(lr=0.2, first=0.5, last=2.0, bias=0.3, weight_decay=0.02)
        train(net, mupi.SGD(groups, clip=0.3, clip_jointly=jointly, momentum=momentum), range(18))
    for (key, p), q in zip(plain.state_dict().items(), factored.state_dict().values(), strict=True):
        assert_close(p, q, rtol=1e-10, scale=max(1e-3, float(q.double().abs().max()))), key


@pytest.mark.parametrize("name", ORDINARY)
def test_it_is_torch_sgd_in_float32(name):
    ours, theirs = (network(ORDINARY[name], dtype=torch.float32) for _ in range(2))
    optimizer, reference = mupi.SGD(ours.parameters(), lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    for step in range(5):
        x, y = batch(step, dtype=torch.float32)
        for net, opt in ((ours, optimizer), (theirs, reference)):
            opt.zero_grad()
            ((net(x) - y) ** 2).mean().backward()
            opt.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(p, q, scale=max(1e-2, float(q.detach().abs().max())))


# The step of a list of atoms


def single_layer(momentum=0.0, weight_decay=0.0, clip=None, lr=0.5, m=5):
    """One exact layer with its optimiser."""
    initial = Expansion(randn(m), randn(m, 3, seed=1), randn(m, 4, seed=2))
    layer = PiLinear(4, 3, features=Atoms(), activation=ReLU(), initial=initial, bias=False, dtype=torch.float64)
    return layer, mupi.SGD(layer.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, clip=clip)


def test_a_step_appends_minus_lr_times_the_gradient():
    layer, optimizer = single_layer()
    g, delta = randn(6, 4, seed=3), randn(6, 3, seed=4)
    before = layer.weight.expansion()
    layer(g).backward(delta)
    optimizer.step()
    atoms = layer.weight.expansion()
    assert len(atoms) == 11
    for name in ("c", "a", "b"):
        assert_equal(getattr(atoms, name)[:5], getattr(before, name))
    assert_close(atoms.c[5:, None] * atoms.a[5:], -0.5 * delta)
    assert_close(atoms.b[5:], g)


def test_weight_decay_shrinks_earlier_atoms_before_new_ones_come():
    layer, optimizer = single_layer(weight_decay=0.1)
    before = layer.weight.coefficients
    layer(randn(6, 4, seed=3)).backward(randn(6, 3, seed=4))
    optimizer.step()
    assert_close(layer.weight.coefficients[:5], (1 - 0.5 * 0.1) * before)
    assert_close(layer.weight.coefficients[5:], -0.5 * randn(6, 3, seed=4).norm(dim=1))


@pytest.mark.parametrize("clip", [0.1, 1e9])
def test_the_clipping_factor_uses_the_norm_of_the_infinite_matrix(clip):
    layer, optimizer = single_layer(clip=clip)
    g, delta = randn(6, 4, seed=3), randn(6, 3, seed=4)
    norm = exact_layer.gradient_norm(ReLU(), delta, g)
    layer(g).backward(delta)
    optimizer.step()
    factor = min(1.0, clip / (float(norm) + 1e-6))
    assert (factor < 1) == (clip < 1)
    assert_close(layer.weight.coefficients[5:], -0.5 * factor * delta.norm(dim=1), rtol=1e-12)


def test_one_joint_norm_covers_atoms_and_ordinary_parameters():
    net = network(Atoms())
    backward(net)
    gradients = [p.grad.factors() if p.numel() == 0 else p.grad.clone() for p in net.parameters()]
    norms = []
    for gradient in gradients:
        if isinstance(gradient, torch.Tensor):
            norms.append(gradient.norm())
        else:
            norms.append(exact_layer.gradient_norm(ReLU(), *gradient).detach())
    total = float(torch.stack(norms).norm())
    start = {name: p.detach().clone() for name, p in net.named_parameters() if p.numel()}
    counts = [layer.weight.num_atoms for layer in net.layers]
    mupi.SGD(net.parameters(), lr=1.0, clip=0.5 * total, clip_jointly=True).step()
    ordinary = [(name, p) for name, p in net.named_parameters() if p.numel()]
    for (name, p), gradient in zip(ordinary, [g for g in gradients if isinstance(g, torch.Tensor)], strict=True):
        assert_close(p, start[name] - 0.5 * gradient, rtol=1e-5)  # 0.5 up to the 1e-6 in clip/(norm + 1e-6)
    for layer, count, factors in zip(net.layers, counts, [g for g in gradients if isinstance(g, tuple)], strict=True):
        assert_close(layer.weight.coefficients[count:], -0.5 * factors[0].norm(dim=1), rtol=1e-5)


def test_momentum_of_atoms_is_the_recursion_on_coefficients():
    # Trap: momentum silently skipped the infinite layers.
    lr, μ, λ = 0.5, 0.7, 0.1
    layer, optimizer = single_layer(momentum=μ, weight_decay=λ)
    c, v = layer.weight.coefficients, torch.zeros(5, dtype=torch.float64)
    for step in range(4):
        delta = randn(2, 3, seed=10 + step)
        layer(randn(2, 4, seed=step)).backward(delta)
        optimizer.step()
        c, v = (torch.cat([t, torch.zeros(2, dtype=torch.float64)]) for t in (c, v))
        v = μ * v + λ * c
        v[-2:] += delta.norm(dim=1)
        c = c - lr * v
        assert_close(layer.weight.coefficients, c)


def test_momentum_moves_atoms_of_earlier_steps():
    with_momentum, without = (single_layer(momentum=μ) for μ in (0.9, 0.0))
    for layer, optimizer in (with_momentum, without):
        for step in range(2):
            layer(randn(2, 4, seed=step)).backward(randn(2, 3, seed=10 + step))
            optimizer.step()
    first = [layer.weight.coefficients[5:7] for layer, _ in (with_momentum, without)]
    assert_close(first[0], 1.9 * first[1])


@pytest.mark.parametrize(("momentum", "weight_decay", "clip"), [(0.0, 0.0, None), (0.9, 0.05, 0.2)])
def test_the_momentum_of_a_resumed_run_continues(momentum, weight_decay, clip):
    def build():
        net = network(Atoms())
        groups = net.parameter_groups(lr=0.2, weight_decay=weight_decay)
        return net, mupi.SGD(groups, clip=clip, momentum=momentum)

    whole, optimizer = build()
    train(whole, optimizer, range(10))
    half, optimizer = build()
    train(half, optimizer, range(5))
    saved = copy.deepcopy((half.state_dict(), optimizer.state_dict()))
    resumed, optimizer = build()
    resumed.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    train(resumed, optimizer, range(5, 10))
    for name, value in whole.state_dict().items():
        assert_equal(resumed.state_dict()[name], value)


# Steps without a gradient


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", FEATURES)
def test_a_second_step_without_a_new_backward_pass_changes_nothing(name, momentum):
    # Trap: it appended the same atoms twice, decayed weights again and moved the biases.
    net = network(FEATURES[name])
    optimizer = mupi.SGD(net.parameter_groups(lr=0.2, weight_decay=0.1), clip=0.3, momentum=momentum)
    train(net, optimizer, range(3))
    assert any(p.numel() and "bias" in key and p.abs().max() > 0 for key, p in net.named_parameters())
    before, memory = whole_state(net), copy.deepcopy(optimizer.state_dict())
    optimizer.step()
    optimizer.step()
    assert_unchanged(net, before)
    assert str(optimizer.state_dict()) == str(memory)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("name", FEATURES)
def test_a_step_before_any_backward_pass_changes_nothing(name):
    net = network(FEATURES[name])
    before = whole_state(net)
    mupi.SGD(net.parameter_groups(lr=0.2, weight_decay=0.1), clip=0.3, momentum=0.9).step()
    assert_unchanged(net, before)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("owner", ["optimizer", "net"])
@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad_forgets_the_gradient(name, owner, set_to_none):
    net, twin = network(FEATURES[name]), network(FEATURES[name])
    optimizer, other = (mupi.SGD(n.parameter_groups(lr=0.2)) for n in (net, twin))
    backward(net, 5)
    (optimizer if owner == "optimizer" else net).zero_grad(set_to_none=set_to_none)
    backward(net, 0)
    optimizer.step()
    backward(twin, 0)
    other.step()
    assert net.num_atoms == twin.num_atoms
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        if p.numel():  # atoms are compared by the function
            assert_close(p, q)
    assert_close(net(batch(9)[0]), twin(batch(9)[0]))


@pytest.mark.parametrize("name", FEATURES)
def test_gradients_of_several_batches_accumulate(name):
    once, parts = network(FEATURES[name]), network(FEATURES[name])
    x, y = batch(0)
    (0.5 * ((once(x) - y) ** 2).sum()).backward()
    for rows in torch.arange(8).split(2):
        (0.5 * ((parts(x[rows]) - y[rows]) ** 2).sum()).backward()
    for net in (once, parts):
        mupi.SGD(net.parameter_groups(lr=0.02, weight_decay=0.1), clip=0.5).step()
    assert once.num_atoms == parts.num_atoms
    assert_close(once(batch(9)[0]), parts(batch(9)[0]))


@pytest.mark.parametrize("name", FEATURES)
def test_frozen_parameters_stay(name):
    net = network(FEATURES[name])
    optimizer = mupi.SGD(net.parameter_groups(lr=0.2, weight_decay=0.1), momentum=0.9)
    net.layers[0].requires_grad_(False)
    net.input.bias.requires_grad_(False)
    start = whole_state(net)
    train(net, optimizer, range(3))
    changed = {key for key, value in net.state_dict().items() if not torch.equal(value, start[key])}
    trained = {key for key in changed if "recent" not in key and "tracker" not in key and "directions" not in key}
    frozen = {key for key in trained if key.startswith("layers.0") or key == "input.bias"}
    assert frozen == set()
    assert {"input.weight", "layers.1.bias"} <= trained
    assert net.layers[0].weight.num_atoms == (6 if name == "atoms" else 0)
    assert net.layers[1].weight.num_atoms == (6 + 3 * 8 if name == "atoms" else 0)


def test_unfreezing_resumes_training():
    layer, optimizer = single_layer()
    layer.requires_grad_(False)
    layer(randn(2, 4)).sum()
    layer.requires_grad_(True)
    layer(randn(2, 4)).sum().backward()
    optimizer.step()
    assert layer.weight.num_atoms == 7


# Traps


@pytest.mark.parametrize("name", FEATURES)
def test_a_zero_bias_multiplier_leaves_no_bias(name):
    # Trap: it left them in, with multiplier one.
    net = network(FEATURES[name], bias_scale=0.0)
    assert all("bias" not in key for key in [*dict(net.named_parameters()), *net.state_dict()])
    assert [group["name"] for group in net.parameter_groups(lr=1.0)] == ["first", "hidden", "last"]
    train(net, mupi.SGD(net.parameter_groups(lr=0.1)), range(2))


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("activation", [ReLU(), mupi.GELU(), mupi.Erf(), mupi.Abs()], ids=str)
def test_a_zero_input_trains_without_nan(name, activation):
    # Trap: NaN at x = 0.
    net = network(FEATURES[name], activation=activation, dtype=torch.float32)
    optimizer = mupi.SGD(net.parameter_groups(lr=0.2), clip=0.3)
    x = torch.randn(6, 4, generator=seeded(3))
    x[::2] = 0
    for _ in range(3):
        inputs = x.clone().requires_grad_()
        (net(inputs) - 1).square().mean().backward()
        assert torch.isfinite(inputs.grad).all()
        optimizer.step()
    for key, value in net.state_dict().items():
        assert torch.isfinite(value).all(), key
    assert torch.isfinite(net(x)).all()


OTHERS = [
    lambda p: torch.optim.SGD(p, lr=0.1),
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, foreach=False),
    lambda p: torch.optim.Adam(p, lr=0.1),
    lambda p: torch.optim.AdamW(p, lr=0.1, foreach=False),
    lambda p: torch.optim.RMSprop(p, lr=0.1),
    lambda p: torch.optim.Adagrad(p, lr=0.1),
]


@pytest.mark.parametrize("build", OTHERS, ids=["SGD", "SGD-momentum", "Adam", "AdamW", "RMSprop", "Adagrad"])
@pytest.mark.parametrize(
    "make", [lambda: network(Atoms()), lambda: factor_gradients(network(Hermite(2)))], ids=["atoms", "factored"]
)
def test_an_optimizer_that_cannot_drive_it_is_refused(build, make):
    # Trap: Adam silently trained everything but the infinite layers.
    net = make()
    optimizer = build(net.parameters())
    backward(net)
    before = whole_state(net)
    with pytest.raises(TypeError, match=r"mupi\.SGD") as error:
        optimizer.step()
    assert "\n" not in str(error.value)
    assert_unchanged(net, before)


@pytest.mark.parametrize(
    "clip",
    [
        lambda p: torch.nn.utils.clip_grad_norm_(p, 1.0),
        lambda p: torch.nn.utils.clip_grad_norm_(p, 1.0, foreach=False),
        lambda p: torch.nn.utils.clip_grad_value_(p, 1.0),
    ],
    ids=["norm", "norm-foreach", "value"],
)
@pytest.mark.parametrize(
    "make", [lambda: network(Atoms()), lambda: factor_gradients(network(Hermite(2)))], ids=["atoms", "factored"]
)
def test_clipping_of_torch_is_refused_with_the_reason(clip, make):
    net = make()
    backward(net)
    with pytest.raises(TypeError, match=r"mupi\.SGD"):
        clip(list(net.parameters()))


def test_backward_after_a_step_is_refused_for_all_features():
    # As torch does for any tensor that a graph has saved: silence would mean a wrong gradient.
    cases = [network(f) for f in FEATURES.values()] + [factor_gradients(network(f)) for f in ORDINARY.values()]
    for net in cases:
        optimizer = mupi.SGD(net.parameter_groups(lr=0.1))
        x, y = batch(0)
        early = ((net(x.requires_grad_()) - y) ** 2).mean()
        backward(net, 1)
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation|atoms changed"):
            early.backward()


@pytest.mark.parametrize("name", ORDINARY)
def test_lr_times_weight_decay_is_the_same_in_all_groups(name):
    groups = network(ORDINARY[name]).parameter_groups(lr=0.3, first=0.1, last=4.0, bias=0.5, weight_decay=0.01)
    assert [g["name"] for g in groups] == ["first", "hidden", "last", "bias"]
    assert [g["lr"] for g in groups] == pytest.approx([0.03, 0.3, 1.2, 0.15])
    assert [g["lr"] * g["weight_decay"] for g in groups] == pytest.approx([0.003] * 4)


# Groups, schedules, closures


def test_a_group_may_have_its_own_clip():
    net = network(Hermite(2))
    groups = net.parameter_groups(lr=1.0)
    groups[0]["clip"] = 1e-3
    optimizer = mupi.SGD(groups, clip=None)
    backward(net)
    start = {key: p.detach().clone() for key, p in net.named_parameters()}
    gradients = {key: p.grad.clone() for key, p in net.named_parameters()}
    assert gradients["input.weight"].norm() > 1e-2
    optimizer.step()
    for key, p in net.named_parameters():
        moved = start[key] - p
        expected = gradients[key] * (1e-3 / (gradients[key].norm() + 1e-6) if key == "input.weight" else 1.0)
        assert_close(moved, expected, rtol=1e-8)


SCHEDULES = {
    "step": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1),
    "lambda": lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6),
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_sets_the_rate_of_new_atoms(kind):
    layer, optimizer = single_layer()
    schedule = SCHEDULES[kind](optimizer)
    rates, delta = [], torch.tensor([[3.0, 0.0, 4.0]], dtype=torch.float64)
    for step in range(5):
        layer(randn(1, 4, seed=step)).backward(delta)
        optimizer.step()
        rates.append(schedule.get_last_lr()[0])
        schedule.step()
    assert len(set(rates)) >= 3
    assert_close(layer.weight.coefficients[5:], -5 * torch.tensor(rates, dtype=torch.float64))


def test_a_closure_is_evaluated_with_gradients_and_its_loss_returned():
    net, twin = network(Atoms()), network(Atoms())
    optimizer, other = (mupi.SGD(n.parameter_groups(lr=0.2), clip=0.3) for n in (net, twin))

    def closure():
        optimizer.zero_grad()
        return backward(net)

    loss = optimizer.step(closure)
    expected = backward(twin)
    other.step()
    assert_close(loss, expected)
    assert_close(net(batch(9)[0]), twin(batch(9)[0]))
    assert net.num_atoms == twin.num_atoms == 12 + 16


def test_a_parameter_group_can_be_added_later():
    net = network(Atoms())
    groups = net.parameter_groups(lr=0.2)
    optimizer = mupi.SGD(groups[:2], clip=0.3)
    optimizer.add_param_group(groups[2])
    backward(net)
    optimizer.step()
    assert net.readout.weight.num_atoms == 6 + 8
    assert optimizer.param_groups[2]["clip"] == 0.3


@pytest.mark.parametrize(
    ("options", "named"),
    list(
        itertools.chain(
            *(
                [({name: bad}, f"SGD({name}=...)") for bad in (-0.1, float("nan"), float("inf"))]
                for name in ("lr", "momentum", "weight_decay")
            ),
            [({"clip": bad}, "SGD(clip=...)") for bad in (-1.0, 0.0, float("nan"))],
        )
    ),
)
def test_a_bad_number_is_refused_by_name(options, named):
    for parameters in (
        network(Hermite(2)).parameters(),
        [dict(params=list(network(Hermite(2)).parameters())) | options],
    ):
        settings = {} if isinstance(parameters, list) else options
        with pytest.raises(ValueError) as error:
            mupi.SGD(parameters, **settings)
        assert str(error.value).startswith(f"`{named}` must be")
        assert "\n" not in str(error.value)


def test_a_bad_number_in_a_group_added_later_is_refused():
    net = network(Hermite(2))
    optimizer = mupi.SGD([net.input.weight], lr=0.1)
    with pytest.raises(ValueError, match=r"SGD\(lr=\.\.\.\)"):
        optimizer.add_param_group(dict(params=[net.input.bias], lr=-1.0))


# Numbers at the edges


def exactly_representable(name, dtype=torch.float32):
    """The same function trained by each kind of gradient: tensors, factors, atoms."""
    net = network(Atoms() if name == "atoms" else Hermite(2), activation=mupi.Polynomial((0.3, 1.0, 0.2)), dtype=dtype)
    return factor_gradients(net) if name == "factors" else net


@pytest.mark.parametrize("jointly", [False, True])
@pytest.mark.parametrize("size", [2.0**66, 2.0**-66], ids=["1e20", "1e-20"])
def test_gradients_whose_squares_are_no_numbers_are_clipped_as_others_are(size, jointly):
    """A clipped step depends on the direction only, if the clipping norm is of the gradient's size."""
    after = {}
    usual = 2.0**20 if size > 1 else 1.0  # far above clip and the 1e-6 of torch's convention; or far below clip
    for name, scale in itertools.product(("tensors", "factors", "atoms"), (usual, size)):
        net = exactly_representable(name)
        clip, lr = (0.1, 0.3) if size > 1 else (1e9, 0.3 / scale)
        optimizer = mupi.SGD(net.parameters(), lr=lr, clip=clip, clip_jointly=jointly)
        x, y = batch(0, dtype=torch.float32)
        (scale * ((net(x) - y) ** 2).mean()).backward()
        optimizer.step()
        after[name, scale] = net(batch(1, dtype=torch.float32)[0])
        assert_close(after[name, scale], after["tensors", usual])


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("jointly", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["tensors", "factors", "atoms"])
def test_a_gradient_that_is_no_number_is_refused_and_nothing_changed(name, bad, momentum, jointly, clip):
    net = exactly_representable(name)
    optimizer = mupi.SGD(net.parameter_groups(lr=0.1), clip=clip, clip_jointly=jointly, momentum=momentum)
    x, y = batch(0, dtype=torch.float32)
    ((net(x) - y) ** 2).mean().backward()
    optimizer.step()
    parameters = copy.deepcopy([p.detach() for p in net.parameters()]), copy.deepcopy(optimizer.state_dict())
    out = net(x)
    with torch.no_grad():
        before = net.eval()(x)
    net.train()
    (out[0, 0] * bad + out.sum()).backward()
    with pytest.raises(FloatingPointError, match=r"`SGD\.step\(\)` must find finite gradients; got \d+ NaN") as error:
        optimizer.step()
    assert "\n" not in str(error.value)
    for p, old in zip(net.parameters(), parameters[0], strict=True):
        assert p.numel() == 0 or torch.equal(p, old)  # atoms are seen in the function
        assert p.grad is not None, "to be looked at"
    assert str(optimizer.state_dict()) == str(parameters[1])
    assert_equal(net.eval()(x), before)
    optimizer.zero_grad()
    ((net.train()(x) - y) ** 2).mean().backward()
    optimizer.step()


def test_a_norm_beyond_the_dtype_is_refused():
    weight = torch.nn.Parameter(torch.ones(4))
    weight.grad = torch.full((4,), 3e38)
    with pytest.raises(FloatingPointError, match="norm is a number of torch.float32; got that of a parameter of shape"):
        mupi.SGD([weight], clip=1.0).step()
    assert_equal(weight.detach(), torch.ones(4))
    mupi.SGD([weight], lr=1e-38).step()  # finite, and needs no norm
    assert_close(weight, torch.full((4,), -2.0))


@pytest.mark.parametrize("number", ["lr", "momentum", "weight_decay", "clip"])
def test_a_number_that_a_schedule_made_nan_is_refused(number):
    net = network(Hermite(2))
    optimizer = mupi.SGD(net.parameters(), lr=0.1, clip=1.0)
    backward(net)
    optimizer.param_groups[0][number] = float("nan")
    before = whole_state(net)
    with pytest.raises(ValueError, match=rf"param_groups\[\.\.\.\]\['{number}'\]` must be a finite number; got nan"):
        optimizer.step()
    assert_unchanged(net, before)


def test_how_gradients_are_clipped_is_part_of_the_state():
    net = network(Hermite(2))
    jointly = mupi.SGD(net.parameters(), clip=0.3, clip_jointly=True)
    other = mupi.SGD(net.parameters(), clip=0.3)
    other.load_state_dict(jointly.state_dict())
    assert other.clip_jointly
    old = jointly.state_dict()
    for group in old["param_groups"]:
        del group["clip_jointly"]  # as states of earlier versions
    other = mupi.SGD(net.parameters(), clip=0.3, clip_jointly=True)
    other.load_state_dict(old)
    assert other.clip_jointly
