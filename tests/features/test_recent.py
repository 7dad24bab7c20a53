"""The atoms that a weight keeps of its training are in units of what each step added, whatever the optimizer."""

import copy
import pickle
import warnings

import pytest
import torch

import mupi
from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import Hermite, PiLinear, Polynomial, ReLU

RATES = (0.3, 0.05, 0.7)


def layer_of(window=64):
    return PiLinear(
        5, 3, activation=ReLU(), features=Hermite(2, window=window), generator=seeded(), dtype=torch.float64
    )


def train(layer, optimizer, clip=None, scale=1.0, steps=RATES):
    """Steps of different rates, clipped and scaled as users do it; what they are to leave: −lr·clipping factor·δ."""
    left = []
    for i, lr in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr
        out = layer(randn(6, 5, seed=i))
        delta = (2 * (out - randn(6, 3, seed=10 + i))).detach()
        (scale * (out - randn(6, 3, seed=10 + i)).square().sum()).backward()
        if scale != 1:
            for p in layer.parameters():
                p.grad /= scale
        norm = layer.weight.weight.grad.norm()
        if clip is not None and not isinstance(optimizer, mupi.SGD):
            for p in layer.parameters():  # each by itself, as mupi.SGD clips
                torch.nn.utils.clip_grad_norm_([p], clip)
        optimizer.step()
        optimizer.zero_grad()
        left.append(-delta * lr * (1 if clip is None else clip / norm.clamp_min(clip)))
    return torch.cat(left)


def units(layer):
    """The atoms, with no doubt about their units."""
    with warnings.catch_warnings(action="error"):
        return layer.weight.sample_atoms()


@pytest.mark.parametrize("scale", [1.0, 2.0**16])
@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("options", [{}, dict(momentum=0.9), dict(weight_decay=0.1)], ids=str)
def test_atoms_are_in_units_of_the_step_with_our_sgd_and_with_that_of_torch(options, clip, scale):
    ours, theirs = layer_of(), layer_of()
    if scale == 1:
        expected = train(ours, mupi.SGD(ours.parameters(), clip=clip, **options), clip)
        assert_close(units(ours).a[5:], expected, rtol=1e-5)
    expected = train(theirs, torch.optim.SGD(theirs.parameters(), 1.0, **options), clip, scale)
    assert_close(units(theirs).a[5:], expected, rtol=1e-5)  # 1e-6 beside the norm in torch's factor


@pytest.mark.parametrize("maximize", [False, True])
def test_of_a_step_that_is_not_along_the_gradient_it_is_the_part_that_is(maximize):
    layer = layer_of()
    optimizer = torch.optim.Adam(layer.parameters(), maximize=maximize)
    before = layer.weight.weight.detach().clone()
    delta = []
    out = layer(randn(6, 5))
    out.register_hook(delta.append)
    out.square().sum().backward()
    gradient = layer.weight.weight.grad.clone()
    optimizer.param_groups[0]["lr"] = 0.05
    optimizer.step()
    change = before - layer.weight.weight.detach()
    size = (change * gradient).sum() / gradient.square().sum()
    with pytest.warns(UserWarning, match=r"Adam does not step along the gradient \(the last time at a cosine of"):
        atoms = layer.weight.sample_atoms()
    assert_close(atoms.a[5:], -delta[0] * size, rtol=1e-9)
    assert (size < 0) == maximize


def test_the_sum_of_the_atoms_is_what_the_steps_added():
    # For any optimizer that steps along the gradient, also one that is neither mupi's nor torch's.
    class Normalized(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure=None):
            for p in self.param_groups[0]["params"]:
                p.sub_(p.grad / p.grad.norm(), alpha=self.param_groups[0]["lr"])

    layer, g = layer_of(), randn(4, 5, seed=99)
    train(layer, Normalized(layer.parameters(), {"lr": 1.0}))
    atoms = units(layer)
    added = layer.weight.kernel(g, atoms.b) @ (atoms.c[:, None] * atoms.a)
    assert_close(layer.weight(g), added, rtol=1e-9)


def test_a_step_by_hand_is_told_or_in_doubt():
    told, untold, ours = layer_of(), layer_of(), layer_of()
    train(ours, mupi.SGD(ours.parameters()))
    for layer in (told, untold):
        for i, lr in enumerate(RATES):
            (layer(randn(6, 5, seed=i)) - randn(6, 3, seed=10 + i)).square().sum().backward()
            with torch.no_grad():
                for p in layer.parameters():
                    p -= lr * p.grad
                    p.grad = None
            if layer is told:
                layer.weight.settle(lr)
    assert_close(units(told).a, units(ours).a, rtol=1e-12)
    with pytest.warns(UserWarning, match=r"tell each such step by weight.settle\(step_size\)"):
        untold.weight.sample_atoms()


def test_doubt_ends_when_the_atoms_in_doubt_are_gone():
    layer = layer_of(window=12)
    layer(randn(6, 5)).sum().backward()
    with torch.no_grad():
        layer.weight.weight -= layer.weight.weight.grad
    optimizer = mupi.SGD(layer.parameters())
    for _ in range(2):
        with pytest.warns(UserWarning, match="in other units"):
            layer.weight.sample_atoms()
        train(layer, optimizer, steps=[0.1])
    units(layer)


def test_steps_of_another_optimizer_and_of_no_gradient_are_not_its_own():
    layer, other = layer_of(), torch.nn.Linear(2, 2)
    layer(randn(6, 5)).sum().backward()
    before = units(layer).a.clone()
    other(torch.zeros(1, 2)).sum().backward()
    mupi.SGD(other.parameters(), lr=0.1).step()
    assert_equal(units(layer).a, before)
    mupi.SGD(layer.parameters(), lr=0.5).step()
    assert_equal(units(layer).a[5:], 0.5 * before[5:])


def test_after_another_optimizer_an_old_step_size_is_not_used():
    layer = layer_of()
    train(layer, mupi.SGD(layer.parameters()))
    optimizer = torch.optim.SGD(layer.parameters(), 1.0)
    train(layer, optimizer, steps=[0.2])  # the norm before clipping was not looked at
    with pytest.warns(UserWarning, match="in other units"):
        layer.weight.sample_atoms()
    delta = []
    out = layer(randn(6, 5))
    out.register_hook(delta.append)
    out.square().sum().backward()
    optimizer.step()
    with pytest.warns(UserWarning, match="in other units"):
        assert_close(layer.weight.sample_atoms().a[-6:], -0.2 * delta[0], rtol=1e-12)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
@pytest.mark.parametrize("kind", [mupi.SGD, torch.optim.SGD])
def test_a_copy_sees_steps_of_its_own(kind, copied):
    layer = layer_of()
    train(layer, kind(layer.parameters(), lr=1.0))
    twin = copied(layer)
    assert_equal(units(twin).a, units(layer).a)
    for net in (twin, layer):
        train(net, kind(net.parameters(), lr=1.0))
    assert_equal(units(twin).a, units(layer).a)


@pytest.mark.parametrize("window", [6, 23], ids=["each step replaces all", "all since the start"])
def test_atoms_are_saved_and_loaded_in_their_units(window):
    layer, twin = layer_of(window), layer_of(window)
    expected = train(layer, mupi.SGD(layer.parameters()))[-window:]
    train(twin, mupi.SGD(twin.parameters()))  # has units of its own, which what is loaded replaces
    state = layer.state_dict()
    twin.load_state_dict(state)
    assert not any("units" in name for name in state)
    oldest = int(layer.weight.recent.seen) % window
    for kept in (state["weight.recent.a"], units(layer).a, units(twin).a):
        assert_close(kept.roll(-oldest, 0)[-len(expected) :], expected, rtol=1e-5)


def sums(layer):
    """Σ atoms, which of a polynomial is the weight in its features: what is left of the initial one and all steps."""
    weight, atoms = layer.weight, units(layer)
    whole = weight._features(atoms.b).T @ atoms.a
    return whole, weight.weight.detach()


def polynomial(size=4096):
    net = PiLinear(
        5, 3, activation=Polynomial((0.2, 0.5, 0.7)), features=Hermite(2, window=size), generator=seeded(),
        bias=False, dtype=torch.float64,
    )  # fmt: skip
    return net


@pytest.mark.parametrize("kind", [mupi.SGD, torch.optim.SGD])
@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("attack", [False, True], ids=["plain", "attacked"])
def test_atoms_add_up_to_the_weight_also_beside_gradients_that_nobody_takes(kind, attack, set_to_none):
    layer = polynomial()
    optimizer = kind(layer.parameters(), lr=0.05)
    for i in range(6):
        x = randn(6, 5, seed=i).requires_grad_()
        if attack and i % 2:  # of the fast gradient sign method
            layer(x).square().sum().backward()
            optimizer.zero_grad(set_to_none)
            x = x + 0.1 * x.grad.sign()
        layer(x.detach()).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none)
    assert_close(*sums(layer), rtol=1e-12)
    layer(randn(6, 5)).sum().backward()
    optimizer.zero_grad(set_to_none)
    assert_close(*sums(layer), rtol=1e-12)


@pytest.mark.parametrize("kind", [mupi.SGD, torch.optim.SGD])
@pytest.mark.parametrize("clip", [None, 0.3])
def test_atoms_add_up_to_the_weight_where_a_scaler_skips_steps_and_gradients_are_clipped(kind, clip):
    layer, scaler = polynomial(), torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    optimizer = kind(layer.parameters(), lr=0.05)
    for i in range(8):
        loss = layer(randn(6, 5, seed=i)).square().sum() * (torch.inf if i == 4 else 1)
        scaler.scale(loss).backward()
        if clip is not None:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(layer.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert_close(*sums(layer), rtol=1e-6)


def halved_in_place(p):
    p.grad *= 0.5


def halved(p):
    p.grad = 0.5 * p.grad


@pytest.mark.parametrize("change", [halved_in_place, halved])
def test_of_the_first_step_whose_gradient_somebody_changed_the_units_are_in_doubt(change):
    layer = polynomial()
    optimizer = mupi.SGD(layer.parameters(), lr=0.05)
    for i in range(4):
        layer(randn(6, 5, seed=i)).square().sum().backward()
        if i == 2:
            change(layer.weight.weight)
        optimizer.step()
    with pytest.warns(UserWarning, match="in other units"):
        layer.weight.sample_atoms()


@pytest.mark.parametrize("change", [halved_in_place, halved, lambda p: torch.nn.utils.clip_grad_norm_(p, 1e9)])
def test_gradients_that_somebody_changes_each_time_are_measured(change):
    layer = polynomial()
    optimizer = mupi.SGD(layer.parameters(), lr=0.05)
    for i in range(5):
        layer((i > 0) * randn(6, 5, seed=i)).square().sum().backward()  # the first is 0
        change(layer.weight.weight)
        optimizer.step()
    assert_close(*sums(layer), rtol=1e-12)


@pytest.mark.parametrize("kind", [mupi.SGD, torch.optim.SGD])
def test_steps_that_compute_their_loss_themselves_have_units(kind):
    layer = polynomial()
    optimizer = kind(layer.parameters(), lr=0.05)
    for i in range(4):

        def closure(i=i):
            optimizer.zero_grad()
            loss = layer(randn(6, 5, seed=i)).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    if kind is mupi.SGD:
        assert_close(*sums(layer), rtol=1e-12)
    else:
        with pytest.warns(UserWarning, match="in other units"):
            layer.weight.sample_atoms()


@pytest.mark.parametrize("kind", [mupi.SGD, torch.optim.SGD, torch.optim.Adam])
def test_a_step_without_a_gradient_spoils_no_atoms(kind):
    """The first hidden layer's, where the readout starts at 0."""
    net = mupi.PiMLP(6, 3, rank=5, depth=2, features=Hermite(2), generator=seeded(), dtype=torch.float64)
    optimizer = kind(net.parameters(), lr=0.1)
    for i in range(5):
        net(randn(8, 6, seed=i)).square().sum().backward() if i else (0 * net(randn(8, 6)).sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert all(0 <= layer.output < 1 for layer in net.error_report(randn(8, 6, seed=9)))


def test_a_step_that_a_graph_only_records_is_none(monkeypatch):
    layer = layer_of()
    optimizer = mupi.SGD(layer.parameters(), clip=0.2)
    expected = train(layer, optimizer, 0.2, steps=[0.3])
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    for p in layer.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    monkeypatch.undo()
    assert_close(units(layer).a[5:], expected, rtol=1e-5)
