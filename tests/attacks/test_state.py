"""Gradients, modes and state dicts that change the function without a word."""

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

import mupi
from mupi import MLP, Atoms, Hermite, PiCNN, PiMLP, PiResNet, PiTransformer, Polynomial, Random, ReLU, Tanh
from mupi.layers import Centre
from mupi.nets import MuCNN, Patches, plain, with_multipliers
from mupi.optim import factor_gradients

EXACT = Polynomial((0.3, 1.0, 0.2))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


def perceptron(features, **options):
    options = dict(activation=EXACT, readout_std=0.3) | options
    return PiMLP(4, 3, 6, 2, features=features, generator=seeded(), **options)


def close(a, b, rtol=1e-3):
    a, b = a.detach(), b.detach()
    return bool(torch.isfinite(a).all()) and float((a - b).norm() / b.norm()) < rtol


def refused_in_one_line(error):
    return "refused" if len(str(error).splitlines()) == 1 else "traceback"


def test_gradients_at_the_edge_of_the_dtype(record):
    """All kinds of gradient take the step that a gradient of ordinary size would give, or refuse."""
    makers = {
        "tensors": lambda: perceptron(Hermite(2)),
        "factors": lambda: factor_gradients(perceptron(Hermite(2))),
        "atoms": lambda: perceptron(Atoms()),
    }
    x, y = randn(8, 4), randn(8, 3, seed=1)
    for name, make in makers.items():
        for jointly in (False, True):
            results = []
            for size in (1e6, 1e18, 1e20, 1e25):
                net = make()
                optimizer = mupi.SGD(net.parameters(), lr=0.3, clip=0.1, clip_jointly=jointly)
                (size * (net(x) - y).square().mean()).backward()
                try:
                    optimizer.step()
                except FloatingPointError as error:
                    record("gradients of 1e20", f"{name} {size} {jointly}", refused_in_one_line(error))
                    continue
                results.append(net(x).detach())
                good = close(results[-1], results[0])
                record("gradients of 1e20", f"{name} {size} {jointly}", "right" if good else "silent")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_gradients_that_are_no_numbers(record, bad):
    for features in (Hermite(2), Atoms(), Random(8)):
        for clip in (None, 0.1):
            for momentum in (0.0, 0.9):
                net = perceptron(features)
                optimizer = mupi.SGD(net.parameters(), lr=0.1, clip=clip, momentum=momentum)
                before = net(randn(5, 4)).detach()
                (net(randn(8, 4, seed=2))[0, 0] * bad).backward()
                try:
                    optimizer.step()
                    outcome = "silent"
                except FloatingPointError as error:
                    untouched = torch.equal(net(randn(5, 4)).detach(), before)
                    outcome = refused_in_one_line(error) if untouched else "lost"
                record("NaN gradients", f"{features} {clip} {momentum} {bad}", outcome)


def test_running_means(record):
    for shape in ((0, 3), (0, 4, 3), (4, 0, 3)):
        layer, g = Centre(3), randn(5, 3)
        layer(g)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer(torch.empty(shape))
        layer(g)
        record("running means", f"empty {shape}", "right" if close(layer.eval()(g), g - g.mean(0)) else "silent")
    for bad in (float("nan"), float("inf")):
        layer, g = Centre(3), randn(5, 3)
        layer(g)
        layer(g * bad)
        record("running means", f"{bad}", "right" if close(layer.eval()(g), g - g.mean(0)) else "silent")


def test_a_gradient_that_waits_while_directions_are_renewed(record):
    """Of inputs in the old span it becomes, exactly, their gradient in the new basis."""
    for features in (Hermite(2, subspace=4), Hermite(3, subspace={3: 3})):
        for seed in range(5):
            options = dict(generator=seeded(seed), dtype=torch.float64)
            weight = mupi.PiLinear(
                6, 3, features=features, activation=Polynomial((0.2, 1.0, 0.3, -0.1)), **options
            ).weight
            weight(torch.randn(60, 6, **options)).sum().backward()
            (old,) = (p for name, p in weight.named_buffers() if name.startswith("directions"))
            g = torch.randn(9, old.shape[1], **options) @ old.T
            delta = torch.randn(9, 3, **options)
            weight.weight.grad = weight._features(g).detach().T @ delta
            weight.renew_directions()
            good = close(weight.weight.grad, weight._features(g).detach().T @ delta, rtol=1e-9)
            record("pending gradients", f"{features} {seed}", "right" if good else "silent")


def test_training_in_eval_mode(record):
    for features in (Hermite(2), Hermite(2, subspace=2)):
        for clip in (None, 0.1):
            reports = []
            for training in (True, False):
                net = perceptron(features, activation=ReLU()).train(training)
                optimizer = mupi.SGD(net.parameters(), lr=0.3, clip=clip)
                for step in range(8):
                    (net(randn(8, 4, seed=step)) - randn(8, 3, seed=50 + step)).square().mean().backward()
                    optimizer.step()
                reports.append(net.error_report(randn(9, 4, seed=99)))
            record("trained in eval mode", f"{features} {clip}", "right" if reports[0] == reports[1] else "silent")


def test_equal_seeds_start_as_equal_atoms(record):
    makers = {
        "PiMLP": lambda **o: PiMLP(32, 3, 6, 3, **o),
        "PiCNN": lambda **o: PiCNN((1, 4, 8), 3, rank=6, pools=(2,), input_stride=1, **o),
        "PiResNet": lambda **o: PiResNet((1, 4, 8), 3, rank=6, blocks=(1, 1), input_stride=1, **o),
        "PiTransformer": lambda **o: PiTransformer(Patches((1, 4, 8), 2), 3, rank=4, **o),
    }
    for name, make in makers.items():

        def of(features, activation=EXACT, make=make):
            return make(
                features=features, activation=activation, readout_std=0.3, generator=seeded(), dtype=torch.float64
            )

        exact, x = of(Atoms()), torch.randn(5, 32, generator=seeded(3), dtype=torch.float64)
        for features in (
            Hermite(2),
            Hermite(2, subspace=6),
            Hermite(2, subspace=2),
            Hermite(3, subspace=3),
            Random(16),
        ):
            net = of(features)
            same = all(
                torch.equal(a, b)
                for (n, a), (m, b) in zip(exact.named_parameters(), net.named_parameters(), strict=True)
                if n == m and "weight.weight" not in m
            )
            for ours, theirs in zip(net.pi_layers, exact.pi_layers, strict=True):
                atoms = ours.weight.sample_atoms()
                if atoms is not None:
                    right = theirs.weight.sample_atoms()
                    same &= torch.equal(atoms.b, right.b) and torch.equal(atoms.a, right.c[:, None] * right.a)
            full = isinstance(features, Hermite) and features.subspace in (None, 6)
            same &= not full or close(net(x), exact(x), rtol=1e-9)
            record("equal seeds", f"{name} {features}", "right" if same else "silent")


def networks():
    """How each is made, and values of an argument that no tensor tells."""
    shape = (1, 4, 8)
    common = dict(generator=seeded(), readout_std=0.3)
    scales = [dict(output_scale=0.25), dict(bias_scale=1.0)]
    tanh = dict(activation=Tanh())
    images = dict(image_shape=shape, d_out=3, input_stride=1)
    for features in (Hermite(2), Atoms(), Random(8)):
        yield (
            lambda features=features, **o: PiMLP(**dict(d_in=32, d_out=3, rank=6, features=features) | common | o),
            [tanh, dict(input_scale=3.0), *scales, dict(activation=nn.functional.softplus)],
        )
        yield (
            lambda features=features, **o: PiCNN(**dict(rank=4, pools=(2,), features=features) | images | common | o),
            [
                tanh,
                dict(normalized=False),
                dict(pools=(1,)),
                dict(input_stride=2),
                dict(image_shape=(1, 8, 4)),
                *scales,
            ],
        )
        yield (
            lambda features=features, **o: PiResNet(
                **dict(rank=4, blocks=(1, 2), features=features) | images | common | o
            ),
            [tanh, dict(blocks=(2, 1)), dict(branch_scale=0.1), *scales],
        )
        yield (
            lambda features=features, **o: PiTransformer(
                **dict(tokens=Patches(shape, 2), d_out=3, rank=4, heads=2, rank_head=2, features=features) | common | o
            ),
            [tanh, dict(heads=1, rank_head=4), dict(branch_scale=0.1), *scales],
        )
    finite = dict(image_shape=shape, d_out=3, width=6, pools=(2,), input_stride=1)
    yield (
        lambda **o: MuCNN(**finite | dict(generator=seeded()) | o),
        [tanh, dict(normalized=False), dict(pools=(1,)), *scales],
    )
    yield (
        lambda **o: MLP(**dict(d_in=32, d_out=3, width=8, generator=seeded()) | o),
        [tanh, dict(input_scale=3.0), dict(parametrization=mupi.Parametrization.ntk(2))],
    )


def test_state_dicts_of_another_function(record):
    for make, others in networks():
        saved, x = make().eval(), randn(5, 32)
        state = saved.state_dict()
        for other in others:
            net = make(**other)
            case = f"{type(net).__name__} {other}"
            try:
                net.load_state_dict(state)
                outcome = "silent"
            except (ValueError, RuntimeError) as error:
                outcome = refused_in_one_line(error)
            record("state dicts of another function", case, outcome)
        same = make()
        same.load_state_dict(state)
        good = torch.equal(same.eval()(x), saved(x))
        record("state dicts of another function", f"{type(same).__name__} itself", "right" if good else "silent")


class Skips(PiMLP):
    def hidden(self, x):
        g = [self.input(x)]
        for layer in self.pi_layers[:-1]:
            g.append(g[-1] + layer(g[-1]))
        return g


class Shifts(PiMLP):
    def forward(self, x):
        return super().forward(x) + 1


class Clamps(PiMLP):
    def forward(self, x):
        return super().forward(x.clamp(-1, 1))


def test_networks_that_do_more_than_their_layers(record):
    for kind in (PiMLP, Skips, Shifts, Clamps):
        for depth in (2, 3):
            for activation in (ReLU(), Tanh()):
                net = kind(
                    5, 3, 4, depth, features=Random(9), activation=activation, readout_std=1.0, generator=seeded()
                )
                x = 3 * randn(6, 5)
                try:
                    outcome = "right" if close(plain(net)(x), net(x)) else "silent"
                except ValueError as error:
                    outcome = refused_in_one_line(error) if kind is not PiMLP else "lost"
                record("custom networks", f"plain {kind.__name__} {depth} {activation}", outcome)


class Custom(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.run = run

    def forward(self, x):
        return self.run(self, x)


def test_models_that_are_no_perceptrons(record):
    wrong = {
        "skip": lambda net, x: net.third(x + net.second(net.first(x).relu())),
        "late skip": lambda net, x: net.third((h := net.first(x)) + net.second(h.relu())),
        "output skip": lambda net, x: net.third(net.second(net.first(x))) + x[:, :3],
        "softmax": lambda net, x: net.third(net.second(net.first(x).softmax(1))),
        "normalised": lambda net, x: net.third(nn.functional.layer_norm(net.second(net.first(x)), (8,))),
        "twice": lambda net, x: net.third(net.second(net.second(net.first(x)))),
        "order": lambda net, x: net.third(net.first(net.second(x))),
        "weight taken": lambda net, x: net.third(net.first(x) @ net.second.weight.T),
    }
    for name, run in wrong.items():
        try:
            with_multipliers(Custom(run))
            outcome = "silent"
        except ValueError as error:
            outcome = refused_in_one_line(error)
        record("custom networks", f"parametrize {name}", outcome)
    try:
        with_multipliers(Custom(lambda net, x: net.third(net.second(net.first(x).relu()).tanh())))
        outcome = "right"
    except ValueError:
        outcome = "lost"
    record("custom networks", "parametrize a chain", outcome)


EXPORTED = """
import sys, torch
from sklearn.datasets import load_digits
pixels, labels = load_digits(return_X_y=True)
net = torch.export.load(sys.argv[1]).module()
x, y = torch.from_numpy(pixels).float(), torch.from_numpy(labels)
def right(x):
    return float((net(x).argmax(1) == y).double().mean())
standardised = (x - x.mean()) / x.std()
for name, x in {"raw": x.view(-1, 1, 8, 8), "flat": x, "standardised": standardised.view(-1, 1, 8, 8)}.items():
    try:
        print(name, right(x))
    except Exception as error:
        print(name, "refused")
"""


def test_an_exported_network_is_given_pixels(record, tmp_path):
    cli = "import sys; from mupi.cli import main; sys.exit(main(sys.argv[1:]))"
    run = [sys.executable, "-W", "ignore", "-c"]
    train = ["train", "--epochs", "3", "--rank", "50", "--name", "small"]
    subprocess.run([*run, cli, *train, "--runs-dir", str(tmp_path)], check=True, capture_output=True)
    subprocess.run([*run, cli, "export", str(tmp_path / "small")], check=True, capture_output=True)
    out = subprocess.run(
        [*run, EXPORTED, str(tmp_path / "small" / "net.pt2")], check=True, capture_output=True, text=True
    )
    for line in out.stdout.splitlines():
        name, result = line.split()
        outcome = "refused" if result == "refused" else "right" if float(result) > 0.9 else "silent"
        if name == "raw" and outcome == "refused":
            outcome = "lost"
        record("exported networks", f"{name}: {result}", outcome)
