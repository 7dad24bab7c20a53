"""Readings of one network against each other: random networks, those of the zoo, traced modules."""

# ruff: noqa: B023  (each function is called in the turn of the loop that made it)

import copy
import io
import pickle
from math import prod
from typing import Any

import numpy as np
import pytest
import torch

zoo = pytest.importorskip("mupi.architecture.zoo")

from architecture.random_networks import n, random_network, some_inputs  # noqa: E402
from architecture.test_trace import CASES, example, traced  # noqa: E402
from mupi import Erf, Hermite, Polynomial, RandomFeatures, Tanh  # noqa: E402
from mupi.architecture import Dense, Normalize, Select, chain, describe  # noqa: E402
from mupi.parametrization import Roles  # noqa: E402

W, B = 1.2, 0.3
ZOO = {
    "perceptron": zoo.perceptron(3, 2),
    "cnn": zoo.cnn((1, 3, 2), 2, depth=2),
    "normalized cnn": zoo.cnn((1, 4, 4), 2, depth=2, pools=(2,), average=False, normalize=True),
    "resnet": zoo.resnet((1, 4, 4), 2, blocks=(1, 1)),
    "gpt": zoo.gpt(4, 3, depth=1, heads=2),
    "gated gpt": zoo.gpt(4, 3, depth=1, heads=2, gated=True),
    "vit": zoo.vit((1, 2, 2), 1, 2, depth=1, heads=2),
}


GAINS = {
    "gain and erf": describe((3,), chain(Dense(n), Normalize(gain=True), Erf(), Dense(1))),
    "gain and a polynomial": describe((3,), chain(Dense(n), Normalize(gain=True), Polynomial((0, 0.3, 0.5)), Dense(1))),
    "gain and cut": describe((2, 3), chain(Dense(n), Normalize(gain=True), Select(1), Tanh(), Dense(1))),
}


def networks(seeds, **options):
    """Random ones, and those of the zoo."""
    return ZOO | {str(seed): random_network(seed, **options) for seed in seeds}


def of(make) -> Any:
    """What a call gives, or what came of it instead: a line that names something is a refusal."""
    try:
        return make()
    except ValueError as error:
        text = str(error)
        return "refused" if "`" in text and "\n" not in text and len(text) < 700 else "traceback"
    except Exception:
        return "traceback"


def said(record, kind, case, *values):
    """Whether one of some values is none, and was recorded as what it is."""
    words = [value for value in values if isinstance(value, str)]
    if words:
        record(kind, case, "traceback" if "traceback" in words else "refused")
    return bool(words)


def near(a, b, rtol):
    return a.shape == b.shape and bool((a - b).abs().max() <= rtol * b.abs().max().clamp_min(1e-12))


def each(net):
    return "each" if net.output.positions else None


def wide(x):
    """Of float64, in which a kernel then computes."""
    return x if x.is_floating_point() else x.double()


def columns(net):
    return max(prod(shape.positions) for shape in net.shapes)


def test_the_limit_of_the_program_is_the_kernel(record):
    for name, net in networks(range(16)).items():
        if columns(net) > 4 or name in ("gated gpt", "vit"):  # whose exact limits take seconds
            continue
        x = some_inputs(net)
        kernel = of(lambda: net.nngp(W, B, output=each(net))(wide(x)))
        program = of(lambda: (p := net.program(x, sigma_w=W, sigma_b=B)).covariance(p.limit()))
        if not said(record, "nngp and program", name, kernel, program):
            record("nngp and program", name, "right" if near(kernel, program.reshape(kernel.shape), 1e-9) else "silent")


def tangents(net, x, width, seed):
    """Of the finite network that has the NTK as its limit."""
    generator = torch.Generator().manual_seed(seed)
    f = net.finite(
        width, parametrization=Roles.ntk(), input_scale=W, hidden_scale=W, output_scale=W, bias_scale=B / W,
        sigma_b=1.0, fan_in_multiplier=True, dtype=torch.float64, generator=generator,
    ).eval()  # fmt: skip
    parameters, rows = list(f.parameters()), []
    for output in f(x)[..., 0].flatten():
        gradients = torch.autograd.grad(output, parameters, retain_graph=True, allow_unused=True)
        rows.append(torch.cat([g.flatten() for g in gradients if g is not None]))
    return torch.stack(rows) @ torch.stack(rows).T


def test_the_ntk_is_the_limit_of_finite_networks(record):
    widths, draws = (12, 48), (24, 16)
    for name, net in (networks(range(40, 56)) | GAINS).items():
        if columns(net) > 6:
            continue
        x = some_inputs(net)
        limit = of(lambda: net.ntk(W, B, output=each(net))(wide(x)))
        if said(record, "ntk and finite", name, limit):
            continue
        found = [torch.stack([tangents(net, x, w, i) for i in range(k)]) for w, k in zip(widths, draws, strict=True)]
        (narrow, broad), (a, b) = [t.mean(0) for t in found], [t.std(0) / len(t) ** 0.5 for t in found]
        estimate, error = (4 * broad - narrow) / 3, (16 * b**2 + a**2).sqrt() / 3  # without the bias 1/n
        size = (limit.diagonal()[:, None] * limit.diagonal()).sqrt()
        right = bool(((estimate - limit).abs() <= 4 * error + 0.03 * size).all())
        record("ntk and finite", name, "right" if right else "silent")


def test_kernels_are_kernels_however_inputs_come(record):
    for name, net in networks(range(70, 80)).items():
        x = some_inputs(net, 4)
        for reading in ("nngp", "ntk"):
            case = f"{reading} of {name}"
            k = of(lambda: getattr(net, reading)(W, B, output=each(net)))
            K = k if isinstance(k, str) else of(lambda: k(wide(x)))
            if said(record, "kernels", case, K):
                continue
            assert isinstance(K, torch.Tensor) and not isinstance(k, str)
            own = len(K) // 4
            least = float(torch.linalg.eigvalsh(K)[0])
            checks = {
                "symmetric": torch.equal(K, K.T),
                "no negative eigenvalue": least > -1e-7 * float(K.trace()),
                "diagonal": near(k.diagonal(wide(x)), K.diagonal(), 1e-9),
                "single precision": near(k(wide(x).float()).double(), K, 2e-3),
                "flattened": near(k(wide(x).flatten(1)), K, 1e-9),
                "a batch of 1": near(k(wide(x)[:1], wide(x)), K[:own], 1e-9),
                "no inputs": k(wide(x)[:0], wide(x)).shape == (0, len(K)),
                "NumPy": near(torch.as_tensor(k(wide(x).numpy())), K, 1e-12),
                "pickled": near(pickle.loads(pickle.dumps(k))(wide(x)), K, 1e-12) if name in ZOO else True,
                "integers": near(k(x).double(), K, 1e-6),
            }
            for check, holds in checks.items():
                record("kernels", f"{case}: {check}", "right" if holds else "silent")


def restored(net):
    """Through a file."""
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    return torch.load(file)


def modules(net, generator):
    """The networks that are modules."""
    yield "finite", lambda: net.finite(8, dtype=torch.float64, generator=generator())
    yield "pi", lambda: net.pi(8, Hermite(3), dtype=torch.float64, readout_std=0.3, generator=generator())
    yield "π-net", lambda: net.pi(8, RandomFeatures(16), dtype=torch.float64, readout_std=0.3, generator=generator())


def test_modules_are_modules(record):
    for name, net in networks(range(100, 116)).items():
        x = some_inputs(net, 3)
        for kind, make in modules(net, lambda: torch.Generator().manual_seed(1)):
            case = f"{kind} of {name}"
            f = of(make)
            if said(record, "modules", case, f):
                continue
            f.eval()
            y, other = f(x), of(make).eval()
            with torch.no_grad():
                for p in other.parameters():
                    p.add_(1.0)
            other.load_state_dict(restored(f))
            checks = {
                "finite": bool(torch.isfinite(y).all()),
                "copied": torch.equal(copy.deepcopy(f)(x), y),
                "its state": torch.equal(other(x), y),
                "a batch of 1": near(f(x[:1]), y[:1], 1e-9),
                "no inputs": f(x[:0]).shape == (0, *y.shape[1:]),
                "flattened": x.ndim == 2 or near(f(x.flatten(1)), y, 1e-12),
                "NumPy": near(torch.as_tensor(f(x.numpy())), y, 1e-12),
            }
            for check, holds in checks.items():
                record("modules", f"{case}: {check}", "right" if holds else "silent")


def test_polynomial_pi_limits_are_sampled_and_descend(record):
    for name, net in networks(range(130, 142), polynomial=True, widths=(n,)).items():
        x = some_inputs(net, 3)
        options = dict(dtype=torch.float64, readout_std=0.3, input_scale=0.5)
        f = of(lambda: net.pi(6, Hermite(4), generator=torch.Generator().manual_seed(2), **options))
        if said(record, "pi", name, f):
            continue
        f.eval()
        y = f(x)
        if isinstance(report := of(lambda: f.error_report(x)), list) and all(layer.output < 1e-9 for layer in report):
            with torch.no_grad():
                drawn = [f.sample(256, torch.Generator().manual_seed(i)).eval()(x) for i in range(8)]
            gap = torch.stack(drawn).mean(0) - y
            error = torch.stack(drawn).std(0) / 8**0.5
            right = bool((gap.abs() <= 5 * error + 0.05 * y.abs().max()).all())
            record("pi", f"{name}: sampled", "right" if right else "silent")
        target = torch.zeros_like(y)
        optimizer = torch.optim.SGD(f.parameters(), lr=1e-3)
        losses = []
        for _ in range(3):
            loss = (f(x) - target).square().mean()
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        descends = all(np.isfinite(losses)) and losses[-1] <= losses[0]
        record("pi", f"{name}: descends", "right" if descends else "silent")


def test_traced_modules_have_readings_or_reasons(record):
    for name in CASES:
        net, x = traced(name), example(CASES[name][1])
        results = {
            "nngp": of(lambda: net.nngp(output=each(net))(x)),
            "ntk": of(lambda: net.ntk(output=each(net))(x)),
            "pi": of(lambda: net.pi(8, generator=torch.Generator().manual_seed(0)).eval()(x)),
            "finite": of(lambda: net.finite(8)(x)),
            "program": of(lambda: net.program(x)) if columns(net) < 20 else "refused",
        }
        for reading, value in results.items():
            case = f"{reading} of {name}"
            if not said(record, "traced", case, value):
                fine = not isinstance(value, torch.Tensor) or bool(torch.isfinite(value).all())
                record("traced", case, "right" if fine else "silent")
        lines = str(net).splitlines()
        record("printed", name, "right" if len(lines) >= len(net) + 2 and max(map(len, lines)) <= 140 else "silent")
