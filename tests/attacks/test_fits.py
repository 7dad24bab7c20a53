"""Regression, training in limits and kernels of finite networks: numbers that float32 cannot give, targets that mean
something else, tensors that change later, kernels that are none, losses that broadcast, networks that mix samples."""

# `outcome` calls at once what it gets.
# ruff: noqa: B023

from collections.abc import Callable
from itertools import product

import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import nn

import mupi
from cases import randn, seeded
from mupi import Erf, Identity, MuLimit, Parametrization, ReLU
from mupi.kernels import (
    NNGP,
    NTK,
    EmpiricalNNGP,
    EmpiricalNTK,
    FeatureRegression,
    KernelDynamics,
    KernelRegression,
    centred_one_hot,
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _as_users_call_it():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def outcome(call: Callable, right: Callable[[object], bool]) -> str:
    """What a call came to: a refusal is one line that begins with what it names."""
    try:
        value = call()
    except (ValueError, RuntimeError) as error:
        return "refused" if str(error).startswith("`") and "\n" not in str(error) else "traceback"
    except Exception:
        return "traceback"
    return "right" if right(value) else "silent"


def near(expected: torch.Tensor, off: float = 1e-6) -> Callable[[object], bool]:
    """Whether a value is a tensor of the expected shape, and numbers up to a relative distance."""

    def check(value: object) -> bool:
        if not isinstance(value, torch.Tensor) or value.shape != expected.shape:
            return False
        return bool((value.double() - expected).norm() <= off * expected.norm())

    return check


def never(_: object) -> bool:
    return False


def inner(a, b):
    return a @ b.T


def smooth(a, b):
    return torch.exp(-torch.cdist(a, b).square() / 8)


def test_ridges_that_float32_cannot_solve(record):
    kernels = {"nngp": NNGP(2, ReLU(), 1.0, 0.5), "erf": NNGP(3, Erf(), 1.0, 0.5), "smooth": smooth}
    for (name, kernel), d in product(kernels.items(), (1, 2, 3, 5)):
        X, Xt = randn(250, d, dtype=torch.float32), randn(60, d, seed=1, dtype=torch.float32)
        Y = torch.sin(2 * X.sum(1)) + 0.1 * randn(250, seed=2, dtype=torch.float32)
        for ridge in (1e-3, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 1e-7, 1e-8):
            expected = KernelRegression(kernel, ridge).fit(X.double(), Y).predict(Xt.double())

            def fit(kernel=kernel, ridge=ridge, X=X, Y=Y, Xt=Xt):
                return KernelRegression(kernel, ridge).fit(X, Y).predict(Xt)

            record("regression: ridge and dtype", f"{name}, d={d}, {ridge:g}", outcome(fit, near(expected, 0.05)))


def test_twice_the_same_input_and_systems_that_are_singular(record):
    kind = "regression: singular systems"
    X = randn(20, 3).repeat(2, 1)
    Y = randn(40, seed=1)
    for ridge, dtype in product((1e-3, 1e-12, 1e-15, 1e-17, 1e-30), (torch.float64, torch.float32)):
        mean = ((Y[:20] + Y[20:]) / 2).repeat(2)
        tight = near(mean, 0.05) if ridge < 1e-6 else lambda value: True
        x = X.to(dtype)
        record(kind, f"duplicates, {ridge:g}, {dtype}", outcome(
            lambda: KernelRegression(NTK(2, ReLU()), ridge).fit(x, Y).predict(x), tight))  # fmt: skip
        twice = torch.cat([randn(20, 4), randn(20, 4)], 1).to(dtype)
        fitted = twice.double() @ (torch.linalg.pinv(twice.double()) @ Y[:20])
        record(kind, f"features twice, {ridge:g}, {dtype}", outcome(
            lambda: FeatureRegression(ridge).fit(twice, Y[:20]).predict(twice), near(fitted, 0.05)))  # fmt: skip
    for ridge in (0, -1.0, float("nan"), float("inf"), None, "1", 1j):
        record(kind, f"ridge {ridge}", outcome(lambda: KernelRegression(inner, ridge).fit(X, Y), never))
        record(kind, f"features, ridge {ridge}", outcome(lambda: FeatureRegression(ridge).fit(X, Y), never))


def fits() -> dict[str, Callable]:
    """What takes targets, each as a function of inputs and targets to predictions."""
    return {
        "KernelRegression": lambda X, Y: KernelRegression(inner, 0.1).fit(X, Y).predict(X),
        "KernelDynamics": lambda X, Y: KernelDynamics(inner).fit(X, Y).flow(X, 2.0),
        "FeatureRegression": lambda X, Y: FeatureRegression(0.1).fit(X, Y).predict(X),
        "MuLimit": lambda X, Y: (
            MuLimit(1, Identity(), lr=0.1, samples=60, replicates=2, generator=seeded()).fit(X, Y, 3).outputs
        ),
    }


def test_targets_of_every_type(record):
    X, labels = randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    for name, fit in fits().items():
        kind = "targets"
        as_classes = fit(X, centred_one_hot(labels, dtype=X.dtype))
        for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
            record(kind, f"{name}: {dtype}", outcome(lambda: fit(X, labels.to(dtype)), near(as_classes)))
        for dtype in (np.uint8, np.uint16, np.int32, np.int64):
            record(kind, f"{name}: numpy {dtype}", outcome(lambda: fit(X.numpy(), labels.numpy().astype(dtype)),
                                                          near(as_classes)))  # fmt: skip
        numbers = randn(6, seed=3)
        column = fit(X, numbers[:, None])
        for case, Y in {"vector": numbers, "float32 vector": numbers.float()}.items():
            record(kind, f"{name}: {case}", outcome(lambda: fit(X, Y).reshape(column.shape), near(column, 1e-5)))
        ages = torch.tensor([34, 51, 34, 70, 22, 41])
        wrong = {
            "ages": ages,
            "ages of numpy": ages.numpy(),
            "a class missing": torch.tensor([0, 2, 2, 0, 2, 0]),
            "from one": labels + 1,
            "negative": labels - 1,
            "ignored label": torch.tensor([0, 1, -100, 1, 0, 1]),
            "bool": labels > 0,
            "bool of numpy": (labels > 0).numpy(),
            "complex": numbers.to(torch.complex128),
            "integer matrix": torch.eye(6, dtype=torch.long),
            "NaN": numbers / 0 * 0,
            "infinite": numbers / 0,
            "five for six": numbers[:5],
            "seven for six": randn(7),
            "a number": torch.tensor(1.0),
            "three axes": numbers[:, None, None],
            "no output": numbers[:, None][:, :0],
            "text": np.array(list("abcdef")),
            "list": [1.0] * 6,
        }
        for case, Y in wrong.items():
            record(kind, f"{name}: {case}", outcome(lambda: fit(X, Y), never))
    X, Y = load_diabetes(return_X_y=True)
    for name in ("KernelRegression", "KernelDynamics", "FeatureRegression"):
        record("targets", f"{name}: diabetes", outcome(lambda: fits()[name](X, Y.astype(np.int64)), never))


def test_inputs_that_change_after_the_fit(record):
    kind = "inputs changed in place"
    X, Y, Xt = randn(8, 3), randn(8, 2, seed=1), randn(4, 3, seed=2)
    asked = {
        "KernelRegression": (lambda x: KernelRegression(inner, 0.1).fit(x, Y), lambda m: m.predict(Xt)),
        "KernelDynamics": (lambda x: KernelDynamics(inner).fit(x, Y), lambda m: m.flow(Xt, 1.0)),
        "MuLimit": (
            lambda x: MuLimit(1, Identity(), Parametrization.ntk(1), samples=60, replicates=2, generator=seeded()).fit(
                x, Y, 2
            ),
            lambda m: m.predict(Xt),
        ),
    }
    changes = {
        "times two": lambda x: x.mul_(2),
        "zeroed": lambda x: x.zero_(),
        "one row": lambda x: x[0].add_(1),
        "sorted": lambda x: x.copy_(x.sort(0)[0]),
        "data": lambda x: x.data.mul_(3),
    }
    for (name, (fit, ask)), (how, change) in product(asked.items(), changes.items()):
        for source in ("tensor", "numpy"):
            x = X.clone()

            def moved(x=x, fit=fit, ask=ask, change=change, source=source):
                model = fit(x if source == "tensor" else x.numpy())
                before = ask(model).clone()
                change(x)
                return (ask(model) - before).norm() / before.norm()

            record(kind, f"{name}: {how}, {source}", outcome(moved, lambda distance: float(distance) < 1e-6))
    x = X.clone().requires_grad_()
    model = KernelRegression(inner, 0.1).fit(x, Y)
    record(kind, "a gradient that leaves out the coefficients",
           "silent" if model.predict(Xt).requires_grad else "right")  # fmt: skip
    K, ones = inner(X, X), torch.ones(8, 8, dtype=torch.float64)
    for name, matrix in {"cached": K, "expanded": ones[:1, :1].expand(8, 8)}.items():
        kept = matrix.clone()
        solved = torch.linalg.solve(kept + 0.1 * kept.diagonal().mean() * torch.eye(8), Y)
        fitted = outcome(lambda: KernelRegression(lambda a, b: matrix, 0.1).fit(X, Y).coefficients, near(solved))
        record(kind, f"a kernel that keeps its {name} matrix", fitted)
        record(kind, f"the {name} matrix", "right" if torch.equal(matrix, kept) else "silent")


def test_kernels_that_are_none(record):
    kind, X, Y = "kernels that are none", randn(6, 3), randn(6, 2, seed=1)
    kernels = {
        "asymmetric": lambda a, b: smooth(a, b) + 0.3 * a[:, :1],
        "asymmetric below": lambda a, b: smooth(a, b) * torch.linspace(1, 2, len(a))[:, None],
        "indefinite": lambda a, b: smooth(a, b) - 0.5,
        "negative": lambda a, b: -smooth(a, b),
        "zero": lambda a, b: torch.zeros(len(a), len(b), dtype=a.dtype),
        "a row": lambda a, b: smooth(a, b)[:1],
        "a vector": lambda a, b: a.sum(1),
        "a number": lambda a, b: torch.tensor(1.0),
        "integers": lambda a, b: (10 * smooth(a, b)).long(),
        "NaN": lambda a, b: smooth(a, b) * float("nan"),
        "infinite": lambda a, b: smooth(a, b) / 0,
        "numpy": lambda a, b: smooth(a, b).numpy(),
        "none": lambda a, b: None,
        "transposed": lambda a, b: smooth(b[:-1], a),
    }
    for name, kernel in kernels.items():
        if name == "indefinite":  # with a ridge it may well be definite
            record(kind, f"KernelDynamics: {name}", outcome(lambda: KernelDynamics(kernel).fit(X, Y), never))
            continue
        record(kind, f"KernelRegression: {name}", outcome(lambda: KernelRegression(kernel, 1e-3).fit(X, Y), never))
        zero = (lambda _: True) if name == "zero" else never  # a semi-definite kernel, of which nothing is learned
        record(kind, f"KernelDynamics: {name}", outcome(lambda: KernelDynamics(kernel).fit(X, Y), zero))
    models = {
        "KernelRegression": KernelRegression(inner, 0.1).fit(X, Y).predict,
        "KernelDynamics.flow": lambda x: KernelDynamics(inner).fit(X, Y).flow(x, 1.0),
        "KernelDynamics.descend": lambda x: KernelDynamics(inner).fit(X, Y).descend(x, 0.1, 3),
        "FeatureRegression": FeatureRegression(0.1).fit(X, Y).predict,
    }
    inputs = {
        "NaN": X / 0 * 0,
        "infinite": X / 0,
        "narrow": X[:, :2],
        "wide": randn(2, 4),
        "a vector": X[0],
        "images": randn(2, 1, 3),
        "integers": X.long(),
    }
    for (name, predict), (case, x) in product(models.items(), inputs.items()):
        record(kind, f"{name}: inputs {case}", outcome(lambda: predict(x), never))
    classes = KernelRegression(inner, 0.1).fit(X, torch.tensor([0, 1, 2, 2, 1, 0]))
    for case, labels in {
        "an unknown class": torch.tensor([0, 1, 2, 3, 1, 0]),
        "negative": torch.tensor([0, 1, 2, -1, 1, 0]),
        "bool": torch.ones(6).bool(),
        "floats": torch.ones(6),
        "too few": torch.ones(5).long(),
    }.items():
        record(kind, f"score: {case}", outcome(lambda: classes.score(X, labels), never))


def test_losses_and_second_fits_of_the_mu_limit(record):
    kind, X, y = "limits: losses and second fits", randn(6, 3), randn(6, 1, seed=1)

    def limit(loss=None, p=None):
        return MuLimit(1, Identity(), p, lr=0.1, loss=loss, samples=60, replicates=2, generator=seeded())

    cross_entropy, mse = torch.nn.functional.cross_entropy, torch.nn.functional.mse_loss
    broadcasting = {
        "f[:, 0] − y": lambda f, y: (f[:, 0] - y).square().mean(),
        "y − f[:, 0]": lambda f, y: (y - f[:, 0]).square().sum(),
        "f − yᵀ": lambda f, y: (f - y.T).square().mean(),
        "mse(f[:, 0], y)": lambda f, y: mse(f[:, 0], y),
        "huber": lambda f, y: torch.nn.functional.huber_loss(f.flatten(), y),
        "not reduced": lambda f, y: (f - y).square(),
        "a number of Python": lambda f, y: float((f - y).square().mean()),
        "two numbers": lambda f, y: ((f - y).square().mean(), 0),
        "wrong shapes": lambda f, y: (f @ y).sum(),
        "NaN": lambda f, y: (f - y).square().mean() * float("nan"),
    }
    for p, (case, loss) in product((None, Parametrization.ntk(1)), broadcasting.items()):
        record(kind, f"{case}, {'μP' if p is None else 'NTP'}", outcome(lambda: limit(loss, p).fit(X, y, 1), never))
    expected = limit().fit(X, y, 4).losses
    for case, (loss, Y) in {
        "vector": (None, y[:, 0]),
        "vector, own loss": (lambda f, y: (f - y).square().mean(), y[:, 0]),
        "column, own loss": (lambda f, y: (f - y).square().mean(), y),
        "mse": (mse, y[:, 0]),
        "numpy": (None, y[:, 0].numpy()),
    }.items():
        record(kind, case, outcome(lambda: limit(loss).fit(X, Y, 4).losses, near(expected)))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    by_rows = limit(cross_entropy).fit(X, torch.nn.functional.one_hot(labels).double(), 3).outputs
    record(
        kind, "cross-entropy of labels", outcome(lambda: limit(cross_entropy).fit(X, labels, 3).outputs, near(by_rows))
    )
    tests = limit().fit(X, y, 4, test_x=X[:2] + 1).test_outputs
    for shift in (0.0, 1.0, -5.0):
        first = limit().fit(X, y, 2).losses.clone()
        record(kind, f"earlier losses, targets later {shift:+g}",
               outcome(lambda: limit().fit(X, y, 2).fit(X, y + shift, 2).losses[:2], near(first)))  # fmt: skip
    assert tests is not None
    for split in (1, 2, 3):

        def second(split=split):
            found = limit().fit(X, y, split).fit(X, y, 4 - split, test_x=X[:2] + 1).test_outputs
            return torch.zeros(0) if found is None else found[split:]

        record(kind, f"test outputs from step {split} on", outcome(second, near(tests[split:])))

        def lost(split=split):
            found = limit().fit(X, y, split, test_x=X[:2] + 1).fit(X, y, 4 - split).test_outputs
            return found[:split] if found is not None and len(found) == 4 else torch.zeros(0)

        record(kind, f"test outputs up to step {split}", outcome(lost, near(tests[:split])))
    for case, again in {
        "fewer inputs": lambda m: m.fit(X[:3], y[:3], 1),
        "more outputs": lambda m: m.fit(X, torch.cat([y, y], 1), 1),
        "other test inputs": lambda m: m.fit(X, y, 1, test_x=X[:3]),
        "NaN": lambda m: m.fit(X, y / 0 * 0, 1),
        "bool": lambda m: m.fit(X, y > 0, 1),
    }.items():
        record(kind, f"second fit: {case}", outcome(lambda: again(limit().fit(X, y, 1, test_x=X[:2])), never))


class Shaped(nn.Module):
    """Outputs of another shape."""

    def __init__(self, net, *shape):
        super().__init__()
        self.net, self.shape = net, shape

    def forward(self, x):
        return self.net(x).reshape(len(x), *self.shape)


class Call(nn.Module):
    """A linear layer, a function, a linear layer."""

    def __init__(self, function):
        super().__init__()
        self.first, self.function, self.last = nn.Linear(3, 4), function, nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def tied():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    return net


def frozen():
    net = dense(2)
    net[0].requires_grad_(False)
    return net


def dense(k):
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, k))


def language():
    net = nn.Sequential(nn.Embedding(5, 3), nn.Tanh(), nn.Linear(3, 5))
    net[2].weight = net[0].weight
    return net


def jacobian_kernel(net, x):
    parameters = [p for p in net.parameters() if p.requires_grad]
    rows = []
    for sample in x:
        out = net(sample[None]).flatten()
        grads = [torch.autograd.grad(o, parameters, retain_graph=True, materialize_grads=True) for o in out]
        rows.append(torch.stack([torch.cat([g.flatten() for g in gs]) for gs in grads]))
    J = torch.stack(rows)
    return torch.einsum("iop,jop->ij", J, J) / J.shape[1]


def test_networks_of_every_kind_in_empirical_kernels(record):
    kind, X, tokens = "empirical kernels", randn(4, 3), torch.randint(5, (4, 3), generator=seeded())
    torch.manual_seed(0)
    networks = {
        "(batch,)": (Shaped(dense(1)), X),
        "(batch, 1)": (dense(1), X),
        "(batch, a, b)": (Shaped(dense(6), 2, 3), X),
        "(batch, a, b, c)": (Shaped(dense(8), 2, 2, 2), X),
        "tied": (tied(), X),
        "frozen": (frozen(), X),
        "tokens": (language(), tokens),
        "tokens, int32": (language(), tokens.int()),
        "one token each": (language(), tokens[:, 0]),
        "bag of tokens": (nn.Sequential(nn.EmbeddingBag(5, 3), nn.Linear(3, 2)), tokens),
        "images": (nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)), randn(3, 1, 3, 3)),
        "batch norm that rests": (Call(nn.BatchNorm1d(4)).eval(), X),
        "dropout that rests": (Call(nn.Dropout()).eval(), X),
        "layer norm": (Call(nn.LayerNorm(4)), X),
        "one sample": (dense(2), X[:1]),
    }
    for name, (net, x) in networks.items():
        net = net.double()
        expected = jacobian_kernel(net, x).detach()
        for case, sample in {"": x, " of numpy": x.numpy()}.items():
            record(kind, name + case, outcome(lambda: EmpiricalNTK(net, block=3)(sample), near(expected)))
        for a, b in ((x[:0], x), (x, x[:0]), (x[:0], x[:0])):
            shape = (len(a), len(b))
            none = outcome(lambda: EmpiricalNTK(net)(a, b), lambda v: v.shape == shape and v.is_floating_point())
            record(kind, f"{name}, no samples", none)
    mixing = {
        "batch norm": Call(nn.BatchNorm1d(4)),
        "batch norm without statistics": Call(nn.BatchNorm1d(4, track_running_stats=False)).eval(),
        "batch norm of images": nn.Sequential(
            nn.Unflatten(1, (3, 1, 1)), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2)
        ),
        "dropout": Call(nn.Dropout(0.3)),
        "alpha dropout": Call(nn.AlphaDropout(0.3)),
        "dropout of functions": Call(lambda h: nn.functional.dropout(h, 0.3)),
        "random ReLU": Call(nn.RReLU()),
        "noise": Call(lambda h: h + torch.randn_like(h)),
        "batch mean": Call(lambda h: h - h.mean(0)),
        "softmax over the batch": Call(lambda h: h.softmax(0)),
        "centre": Call(mupi.layers.Centre(4)),
        "a lost axis": nn.Sequential(nn.Linear(3, 2), nn.Flatten(0)),
        "argmax": Call(lambda h: h.argmax(1, keepdim=True).expand(-1, 4)),
        "a tuple": nn.LSTM(3, 2),
        "nothing to train": dense(2).requires_grad_(False),
        "NaN": Call(lambda h: h * float("nan")),
    }
    for name, net in mixing.items():
        net = net.double()
        for x in (X, X[:1]):
            state = {key: value.clone() for key, value in net.state_dict().items() if isinstance(value, torch.Tensor)}
            record(kind, f"{name}, {len(x)}", outcome(lambda: EmpiricalNTK(net)(x), never))
            kept = all(torch.equal(value, net.state_dict()[key]) for key, value in state.items())
            record(kind, f"{name}: its statistics", "right" if kept else "silent")
        if isinstance(net, Call) and name != "argmax":
            record(kind, f"features, {name}", outcome(lambda: EmpiricalNNGP(net, net.last)(X), never))
    net = dense(2).double()
    for case, x in {
        "NaN": X / 0 * 0,
        "narrow": X[:, :2],
        "integers": X.long(),
        "float32": X.float(),
        "a number": X[0, 0],
        "text": np.array(["a"]),
    }.items():
        record(kind, f"inputs: {case}", outcome(lambda: EmpiricalNTK(net)(x), never))
        record(kind, f"features, inputs: {case}", outcome(lambda: EmpiricalNNGP(net, net[2])(x), never))
    for case, lr in {"NaN": float("nan"), "negative": -1.0, "infinite": float("inf"), "text": "1"}.items():
        record(kind, f"lr: {case}", outcome(lambda: EmpiricalNTK(net, {"0.bias": lr})(X), never))
    h = net[1](net[0](X)).detach()
    record(kind, "features", outcome(lambda: EmpiricalNNGP(net, net[2])(X).detach(), near(h @ h.T / 6)))
    shared = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double()
    twice = nn.Sequential(*[shared] * 2)
    record(kind, "a readout called twice", outcome(lambda: EmpiricalNNGP(twice, shared)(X), never))
    words = language().double()
    record(kind, "features at every place", outcome(lambda: EmpiricalNNGP(words, words[2])(tokens), never))
