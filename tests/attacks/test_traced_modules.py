"""Modules of all kinds: the description computes what the module does, or the module is refused in a line."""

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

trace = pytest.importorskip("mupi.architecture.trace").trace


class Between(nn.Module):
    """A weight, a function, and a weight."""

    def __init__(self, width, f, d_in=5):
        super().__init__()
        self.first, self.last, self.f = nn.Linear(d_in, width), nn.Linear(width, 3), f

    def forward(self, x):
        return self.last(self.f(self.first(x)))


def outcome(make_model, axes, tokens=False, width=12):
    """What came of tracing a module, and of computing with the description."""
    from oracles.interpreter import interpret

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, *axes, generator=generator)
    x = torch.randint(0, 7, (2, *axes), generator=generator) if tokens else x
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = trace(make_model, x)
    except ValueError as error:
        return "traceback" if "\n" in str(error) else "refused"
    except Exception:
        return "traceback"
    module, x = make_model(width).double().eval(), x if tokens else x.double()
    with torch.no_grad():
        for p in module.parameters():
            scale = max(1, p[0].numel() if p.ndim else 1) ** -0.5
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * scale)
        expected, found = module(x), interpret(net, dict(module.named_parameters()), x, width)
    same = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-10, atol=1e-10)
    return "right" if same else "silent"


def unbiased(x):
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + 1e-5)


def by_hand(x):
    y = x - x.mean(-1, keepdim=True)
    return y / torch.sqrt(y.pow(2).mean(-1, keepdim=True) + 1e-5)


def set_part(x):
    x[:, 0] = 0.0
    return x


def changed_view(x):
    x.view(-1).relu_()
    return x


COORDINATES = {
    "gelu by hand": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3)))),
    "gelu by erf": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "sigmoid by hand": lambda x: 1 / (1 + torch.exp(-x)),
    "clamp": lambda x: x.clamp(-1, 1),
    "clamp above": lambda x: x.clamp(max=1.0),
    "maximum": lambda x: torch.maximum(torch.tensor(0.5), x),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "1 − x": lambda x: 1 - x,
    "scaled relu": lambda x: math.sqrt(2) * F.relu(x),
    "x − relu": lambda x: x - F.relu(x),
    "relu, squared": lambda x: F.relu(x) ** 2,
    "divided by √n": lambda x: x / math.sqrt(x.shape[-1]),
    "relu of n^-½ x": lambda x: F.relu(x * x.shape[-1] ** -0.5),
    "1/x": lambda x: 1 / x,
    "√x": lambda x: x.sqrt(),
    "n + 1": lambda x: x / (x.shape[-1] + 1),
    "random": lambda x: x + torch.randn_like(x),
    "a jump": F.hardshrink,
    "elu(2x)": lambda x: F.elu(2 * x, 0.5),
    "in place": lambda x: x.relu_().add_(1),
    "in place through a view": changed_view,
    "a part set": set_part,
    "detach": lambda x: x.detach(),
    "item": lambda x: x * float(x.sum()),
    "control flow": lambda x: x if x.sum() > 0 else -x,
}

WIDTH = {
    "rmsnorm": lambda x: x * (x * x).mean(-1, keepdim=True).add(1e-6).rsqrt(),
    "rmsnorm of relu": lambda x: F.relu(x) / F.relu(x).pow(2).mean(-1, keepdim=True).add(1e-6).sqrt(),
    "layernorm": by_hand,
    "layernorm, n − 1": unbiased,
    "centered": lambda x: x - x.mean(-1, keepdim=True),
    "softmax": lambda x: x.softmax(-1),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "mean": lambda x: x * x.mean(-1, keepdim=True),
    "another's moment": lambda x: F.relu(x) * x.pow(2).mean(-1, keepdim=True).rsqrt(),
    "sum": lambda x: x * x.sum(-1, keepdim=True),
    "sort": lambda x: x.sort(-1)[0],
    "flip": lambda x: x.flip(-1),
    "roll": lambda x: x.roll(1, -1),
    "cumsum": lambda x: x.cumsum(-1),
    "swapped halves": lambda x: torch.cat(x.chunk(2, -1)[::-1], -1),
    "halves added": lambda x: torch.cat([x.chunk(2, -1)[0] + x.chunk(2, -1)[1]] * 2, -1),
    "every other": lambda x: x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2),
    "shuffled": lambda x: x.unflatten(-1, (4, -1)).transpose(-1, -2).flatten(-2),
    "a ramp": lambda x: x * torch.arange(x.shape[-1]),
    "batch mean": lambda x: x - x.mean(0),
    "batch order": lambda x: x.flip(0),
    "another sample": lambda x: x + x[[1, 0] + list(range(2, len(x)))],
}

POSITIONS = {  # of (batch, 3, 4, n)
    "mean of one": lambda x: x.mean(2),
    "mean of the first": lambda x: x.mean(1),
    "mean of both": lambda x: x.mean((1, 2)),
    "select the second": lambda x: x[:, :, 1],
    "transposed": lambda x: x.transpose(1, 2),
    "with its transpose": lambda x: x[:, :3, :3] + x[:, :3, :3].transpose(1, 2),
    "merged": lambda x: x.flatten(1, 2),
    "merged the other way": lambda x: x.transpose(1, 2).flatten(1, 2),
    "cut anew": lambda x: x.reshape(x.shape[0], 2, 6, -1).transpose(1, 2),
    "cut": lambda x: x.reshape(x.shape[0], 3, 2, 2, -1).transpose(1, 2).flatten(2, 3),
    "with the batch": lambda x: F.relu(x.flatten(0, 2)).view(x.shape),
    "the batch last": lambda x: F.relu(x.permute(3, 2, 1, 0)).permute(3, 2, 1, 0),
    "put together": lambda x: torch.cat([x, F.relu(x)], 2),
    "rows from columns": lambda x: x + x.mean(1)[:, None],
    "rows to columns": lambda x: x[:, :, :3] + x.mean(2)[:, None],
    "every other": lambda x: x[:, :, ::2],
    "from the end": lambda x: x[:, -2:, :-1],
    "outer sum": lambda x: x.mean(2)[:, :, None] + x.mean(1)[:, None],
    "outer product": lambda x: x.mean(2)[:, :, None] * F.relu(x.mean(1))[:, None],
    "sums": lambda x: x.sum((1, 2)) / 12,
}


@pytest.mark.parametrize("kind", ["coordinates", "the width", "positions"])
def test_functions_between_two_weights(kind, record):
    functions, axes = {
        "coordinates": (COORDINATES, (5,)), "the width": (WIDTH, (5,)), "positions": (POSITIONS, (3, 4, 5)),
    }[kind]  # fmt: skip
    for name, f in functions.items():
        record(f"tracing: {kind}", name, outcome(lambda n, f=f: Between(n, f), axes))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1, 3), (0, 1, 3, 2), (0, 3, 2, 1)])
def test_flattened_in_each_order(order, record):
    class Flat(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.first, self.last = nn.Linear(5, width), nn.Linear(12 * width, 3)

        def forward(self, x):
            return self.last(self.first(x).permute(order).flatten(1))

    record("tracing: flattened", str(order), outcome(Flat, (3, 4, 5)))


def heads(x, h=4):
    return x.unflatten(-1, (h, -1)).transpose(1, 2)


def interleaved(x):
    return x.unflatten(-1, (-1, 4)).permute(0, 3, 1, 2)


def back(x):
    return x.transpose(1, 2).flatten(2)


def sdpa(q, k, v, **options):
    return back(F.scaled_dot_product_attention(heads(q), heads(k), heads(v), **options))


LOWER = torch.ones(6, 6, dtype=torch.bool).tril()

ATTENTION = {
    "1/√d": sdpa,
    "1/d": lambda q, k, v: sdpa(q, k, v, scale=4 / q.shape[-1]),
    "constant": lambda q, k, v: sdpa(q, k, v, scale=0.1),
    "causal": lambda q, k, v: sdpa(q, k, v, is_causal=True),
    "boolean mask": lambda q, k, v: sdpa(q, k, v, attn_mask=torch.ones(6, 6, dtype=torch.bool).tril()),
    "upper mask": lambda q, k, v: sdpa(q, k, v, attn_mask=torch.ones(6, 6, dtype=torch.bool).triu()),
    "window": lambda q, k, v: sdpa(q, k, v, attn_mask=torch.ones(6, 6, dtype=torch.bool).tril().triu(-1)),
    "added mask": lambda q, k, v: sdpa(q, k, v, attn_mask=torch.full((6, 6), -torch.inf).triu(1)),
    "added bias": lambda q, k, v: sdpa(q, k, v, attn_mask=torch.arange(36.0).view(6, 6)),
    "masked, then scaled": lambda q, k, v: (
        (q @ k.mT).masked_fill(torch.ones(6, 6).triu(1) == 1, -torch.inf) / 8
    ).softmax(-1) @ v,
    "keys first": lambda q, k, v: ((k @ q.mT).mT / 8).softmax(-1) @ v,
    "over queries": lambda q, k, v: (q @ k.mT / 8).softmax(-2) @ v,
    "over queries, transposed": lambda q, k, v: (q @ k.mT / 8).softmax(-2).mT @ v,
    "no softmax": lambda q, k, v: q @ k.mT @ v,
    "two softmaxes": lambda q, k, v: (q @ k.mT).softmax(-1).softmax(-1) @ v,
    "scaled after": lambda q, k, v: ((q @ k.mT).softmax(-1) * 2) @ v,
    "interleaved heads": lambda q, k, v: back(
        F.scaled_dot_product_attention(interleaved(q), interleaved(k), interleaved(v))
    ),
    "heads meet": lambda q, k, v: back(F.scaled_dot_product_attention(heads(q), heads(k).flip(1), heads(v))),
    "other heads": lambda q, k, v: back(
        F.scaled_dot_product_attention(heads(q), heads(k), v.unflatten(-1, (-1, 4)).permute(0, 3, 1, 2))
    ),
    "heads left apart": lambda q, k, v: F.scaled_dot_product_attention(heads(q), heads(k), heads(v)).permute(
        0, 2, 3, 1
    ).flatten(2),
    "one query": lambda q, k, v: sdpa(q[:, :1], k, v)[:, 0],
    "one key": lambda q, k, v: sdpa(q, k[:, :1], v[:, :1]),
    "fewer queries": lambda q, k, v: sdpa(q[:, 1:4], k, v),
    "values of others": lambda q, k, v: sdpa(q[:, :3], k[:, :3], v[:, 3:]),
    "einsum": lambda q, k, v: torch.einsum("bqk,bkd->bqd", (torch.einsum("bqd,bkd->bqk", q, k) / 5).softmax(-1), v),
    "scaled queries": lambda q, k, v: sdpa(0.5 * q, F.relu(k), 2 * v),
}  # fmt: skip


class Attending(nn.Module):
    def __init__(self, width, f):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(5, width) for _ in range(3))
        self.out, self.f = nn.Linear(width, 3), f

    def forward(self, x):
        return self.out(self.f(self.q(x), self.k(x), self.v(x)))


def test_attention_of_all_kinds(record):
    for name, f in ATTENTION.items():
        record("tracing: attention", name, outcome(lambda n, f=f: Attending(n, f), (6, 5)))


FUSED = {
    "view": lambda y: y.unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4).unbind(0),
    "parts in heads": lambda y: y.unflatten(-1, (4, 3, -1)).permute(3, 0, 2, 1, 4).unbind(0),
    "chunks of heads": lambda y: heads(y).chunk(3, -1),
    "split": lambda y: [heads(t) for t in y.split(y.shape[-1] // 3, -1)],
    "slices": lambda y: [heads(y[..., i * y.shape[-1] // 3 : (i + 1) * y.shape[-1] // 3]) for i in range(3)],
    "fastest": lambda y: y.unflatten(-1, (4, -1, 3)).permute(4, 0, 2, 1, 3).unbind(0),
    "overlapping": lambda y: [heads(y[..., i * y.shape[-1] // 6 : (i + 2) * y.shape[-1] // 6]) for i in range(3)],
    "after a function": lambda y: [heads(t) for t in F.relu(2 * y).chunk(3, -1)],
}  # fmt: skip


class Fused(nn.Module):
    def __init__(self, width, f):
        super().__init__()
        self.qkv, self.out, self.f = nn.Linear(5, 3 * width), nn.Linear(width, 3), f

    def forward(self, x):
        return self.out(back(F.scaled_dot_product_attention(*self.f(self.qkv(x)))))


def test_fused_weights(record):
    for name, f in FUSED.items():
        record("tracing: fused weights", name, outcome(lambda n, f=f: Fused(n, f), (6, 5)))


class Weights(nn.Module):
    """Parameters that no module of torch's holds."""

    def __init__(self, width, f):
        super().__init__()
        self.n, self.f = width, f
        self.w, self.b = nn.Parameter(torch.randn(5, width)), nn.Parameter(torch.randn(width))
        self.u = nn.Parameter(torch.randn(width, 3))

    def forward(self, x):
        return self.f(self, x)


PARAMETERS = {
    "@": lambda s, x: F.relu(x @ s.w + s.b) @ s.u,
    "einsum": lambda s, x: torch.einsum("bn,no->bo", torch.einsum("bd,dn->bn", x, s.w) + s.b, s.u),
    "scaled": lambda s, x: F.linear(F.linear(x, s.w.T / 5**0.5, s.b).relu(), s.u.t() * s.n**-0.5),
    "addmm": lambda s, x: torch.addmm(s.b, x, s.w).relu() @ s.u,
    "from the left": lambda s, x: (s.u.T @ (s.w.T @ x.T + s.b[:, None])).T,
    "gain": lambda s, x: F.relu((x @ s.w) * s.b) @ s.u,
    "twice": lambda s, x: (F.relu(x @ s.w + s.b) + torch.tanh(x @ s.w)) @ s.u,
    "transposed too": lambda s, x: (x @ s.w + s.b) @ s.w.T @ s.w @ s.u,
    "function of a weight": lambda s, x: (x @ s.w.relu() + s.b) @ s.u,
    "one for each sample": lambda s, x: (x @ s.w * s.b[: len(x)].mean() + s.b) @ s.u,
    "unused": lambda s, x: x @ s.w @ s.u,
    "rows": lambda s, x: (x[:, :3] @ s.w[:3] + x[:, 3:] @ s.w[3:] + s.b) @ s.u,
    "rows twice": lambda s, x: (x[:, :3] @ s.w[:3] + x[:, 2:] @ s.w[2:] + s.b) @ s.u,
}


def test_parameters_without_modules(record):
    for name, f in PARAMETERS.items():
        record("tracing: parameters", name, outcome(lambda n, f=f: Weights(n, f), (5,)))


class Tokens(nn.Module):
    def __init__(self, width, f):
        super().__init__()
        self.tokens, self.places, self.out = nn.Embedding(7, width), nn.Embedding(16, width), nn.Linear(width, 3)
        self.f, self.n = f, width

    def forward(self, i):
        return self.out(self.tokens(i) + self.f(self, i))


TOKENS = {
    "range": lambda s, i: s.places(torch.arange(i.shape[1])),
    "expanded": lambda s, i: s.places(torch.arange(i.shape[1])[None].expand(len(i), -1)),
    "weight": lambda s, i: s.places.weight[: i.shape[1]],
    "offset": lambda s, i: s.places(torch.arange(i.shape[1]) + 2),
    "backwards": lambda s, i: s.places(torch.arange(i.shape[1]).flip(0)),
    "counted": lambda s, i: s.places(torch.cumsum(torch.ones_like(i), 1)),
    "tokens again": lambda s, i: s.places(i) * math.sqrt(s.n),
    "of the sample": lambda s, i: s.places(torch.arange(len(i)))[:, None],
    "waves": lambda s, i: torch.sin(torch.arange(6)[:, None] * torch.arange(s.n)) + s.places.weight[:6],
    "one-hot": lambda s, i: F.one_hot(i, 16).float() @ s.places.weight,
    "others": lambda s, i: s.places((i + 1) % 7),
}


def test_tokens_and_positions(record):
    for name, f in TOKENS.items():
        record("tracing: tokens", name, outcome(lambda n, f=f: Tokens(n, f), (6,), tokens=True))


IMAGES = {
    "stride and padding": lambda n: nn.Conv2d(n, n, (3, 2), stride=(2, 1), padding=(0, 2)),
    "circular": lambda n: nn.Conv2d(n, n, 3, padding=(2, 1), padding_mode="circular"),
    "same": lambda n: nn.Conv2d(n, n, 3, padding="same"),
    "same, even": lambda n: nn.Conv2d(n, n, 2, padding="same"),
    "reflected": lambda n: nn.Conv2d(n, n, 3, padding=1, padding_mode="reflect"),
    "replicated": lambda n: nn.Conv2d(n, n, 3, padding=1, padding_mode="replicate"),
    "dilated": lambda n: nn.Conv2d(n, n, 3, dilation=2),
    "grouped": lambda n: nn.Conv2d(n, n, 3, groups=2),
    "transposed": lambda n: nn.ConvTranspose2d(n, n, 3),
    "average": lambda n: nn.AvgPool2d(3, 2),
    "average, padded": lambda n: nn.AvgPool2d(3, 2, 1),
    "average, rounded up": lambda n: nn.AvgPool2d(3, 2, ceil_mode=True),
    "adaptive": lambda n: nn.AdaptiveAvgPool2d((3, 2)),
    "adaptive, uneven": lambda n: nn.AdaptiveAvgPool2d(4),
    "max": lambda n: nn.MaxPool2d(2),
    "batch norm": lambda n: nn.BatchNorm2d(n),
    "group norm": lambda n: nn.GroupNorm(1, n),
    "instance norm": lambda n: nn.InstanceNorm2d(n),
    "layer norm of all": lambda n: nn.LayerNorm([n, 6, 6]),
    "zeros around": lambda n: nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(n, n, 3)),
    "zeros on one side": lambda n: nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(n, n, 3)),
    "ones around": lambda n: nn.Sequential(nn.ConstantPad2d(1, 1.0), nn.Conv2d(n, n, 3)),
    "upsampled": lambda n: nn.Upsample(scale_factor=2),
    "dropped channels": lambda n: nn.Dropout2d(0.5),
    "pixels shuffled": lambda n: nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)),
}


class Convolved(nn.Module):
    def __init__(self, width, make):
        super().__init__()
        self.first, self.part, self.last = nn.Conv2d(3, width, 3), make(width), nn.Linear(width, 3)

    def forward(self, x):
        return self.last(F.relu(self.part(self.first(x))).mean((2, 3)))


def test_layers_of_images(record):
    for name, make in IMAGES.items():
        record("tracing: images", name, outcome(lambda n, make=make: Convolved(n, make), (3, 8, 8)))
