# Torch functions of lines are lines, which torch's annotations do not know.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false, reportOperatorIssue=false
"""Word-sized programs: what a network computes, in a few lines, and what it comes to at infinite width."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mupi.programs.matrices import outer
from mupi.programs.program import Program
from mupi.programs.vectors import Scalar, Vector, apply, mean

CORRELATED = [[1.0, 0.5], [0.5, 1.0]]
"""Covariance of two inputs."""


@dataclass(frozen=True)
class Demo:
    """A program and what to look at.

    Attributes:
        about: What it shows, in one line.
        write: Writes the lines; returns the scalars to look at, by label.
        exact: Whether all its expectations have closed forms.
    """

    about: str
    write: Callable[[Program], dict[str, Scalar]]
    exact: bool = True


def forward(p: Program) -> dict[str, Scalar]:
    """Two hidden layers on two inputs: the NNGP kernel."""
    h1 = p.vector("h1", CORRELATED)
    h2 = (p.matrix("W2", 1.5) @ torch.tanh(h1)).named("h2")
    h3 = (p.matrix("W3", 1.5) @ torch.tanh(h2)).named("h3")
    return {"E h2 h2'": mean(h2, h2), "E h3 h3'": mean(h3, h3)}


def backward(p: Program) -> dict[str, Scalar]:
    """Forward and backward: the gradients of two inputs, as for the NTK. Here gradient independence holds."""
    h1, v = p.vector("h1", CORRELATED), p.vector("v")
    W = p.matrix("W")
    h2 = (W @ torch.relu(h1)).named("h2")
    d2 = (v * torch.heaviside(h2, torch.tensor(0.5, dtype=torch.float64))).named("d2")
    d1 = (W.T @ d2).named("d1")
    return {"E d2 d2'": mean(d2, d2), "E d1 d1'": mean(d1, d1), "E relu(h1) d1'": mean(torch.relu(h1), d1)}


def dependence(p: Program) -> dict[str, Scalar]:
    """Gradient independence fails: the readout averages. Ż makes the difference; a copy of W has none."""
    x, W, copy = p.vector("x"), p.matrix("W"), p.matrix("copy")
    h = (W @ x).named("h")
    gradient = (h + 1.0).named("gradient")  # of mean(h²/2 + h)
    dx, assumed = (W.T @ gradient).named("dx"), (copy.T @ gradient).named("assumed")
    truth, wrong = mean(x, dx), mean(x, assumed)
    return {
        "E x dx": truth,
        "with an independent copy": wrong,
        "E dx²": mean(dx, dx),
        "copy: E dx²": mean(assumed, assumed),
    }


def sgd(p: Program) -> dict[str, Scalar]:
    """One step of SGD in μP on the first of two inputs: features move, and f with them."""
    h1, v, W = p.vector("h1", CORRELATED), p.vector("v"), p.matrix("W")
    z1 = torch.tanh(h1).named("z1")
    h2 = (W @ z1).named("h2")
    z2 = torch.tanh(h2).named("z2")
    d2 = (v * (1.0 - z2[0] ** 2)).named("d2")
    changed = W + outer(d2, z1[0])  # target above f = 0: χ = −1, η = 1
    new_h2 = (changed @ z1).named("new_h2")
    f = mean(v + z2[0], torch.tanh(new_h2))
    return {"E Δh2 Δh2'": mean(new_h2 - h2, new_h2 - h2), "f": f}


def rnn(p: Program) -> dict[str, Scalar]:
    """A recurrent network of two layers, three steps, the same weights at each."""
    W1, W2, V = p.matrix("W1", 1.2), p.matrix("W2", 1.2), p.matrix("V", 0.8)
    inputs = p.vector("inputs", torch.eye(3) + 0.5)
    s1, s2 = torch.tanh(inputs[0]), torch.tanh(V @ torch.tanh(inputs[0]))
    for t in (1, 2):
        s1 = torch.tanh(W1 @ s1 + inputs[t]).named(f"s1_{t}")
        s2 = torch.tanh(W2 @ s2 + V @ s1).named(f"s2_{t}")
    return {"E s1²": mean(s1, s1), "E s2²": mean(s2, s2)}


def attention(p: Program) -> dict[str, Scalar]:
    """A transformer block on two tokens: logits qᵀk/n are 0 at the start, but not after a step on the query weights."""
    x = p.vector("x", CORRELATED)
    Q, K, V = p.matrix("Q"), p.matrix("K"), p.matrix("V")
    k, v = (K @ x).named("k"), (V @ x).named("v")
    start = mean(Q @ x, k)
    stepped = Q + outer(k[1], x[0])  # raises the logit of token 1 for the query of token 0
    q = (stepped @ x).named("q")
    logits = mean(q, k)
    weights = apply(lambda a: torch.softmax(a, 1), logits, name="softmax")
    out = torch.tanh(x + v @ weights.T).named("out")
    return {"logits at the start": start, "logits": logits, "attention": weights, "E out out'": mean(out, out)}


def layer_norm(p: Program) -> dict[str, Scalar]:
    """LayerNorm: averages over coordinates enter a nonlinearity."""
    h = p.vector("h", 2.0, mean=0.5)
    μ, second = mean(h).named("μ"), mean(h, h)
    normal = ((h - μ) / torch.sqrt(second - μ**2)).named("normal")
    out = p.matrix("W") @ torch.relu(normal)
    return {"E normal²": mean(normal, normal), "E out²": mean(out, out)}


def autoencoder(p: Program) -> dict[str, Scalar]:
    """Tied weights: x is rebuilt by Wᵀ from what W made of it, only thanks to Ż."""
    x, W = p.vector("x"), p.matrix("W", 1.3)
    code = torch.tanh(W @ x).named("code")
    rebuilt = (W.T @ code).named("rebuilt")
    return {"E x rebuilt": mean(x, rebuilt), "E (x − rebuilt)²": mean(x - rebuilt, x - rebuilt)}


def resnet(p: Program) -> dict[str, Scalar]:
    """Three residual blocks: x + V tanh(W x)."""
    x = p.vector("x")
    for block in range(3):
        inner = torch.tanh(p.matrix(f"W{block}") @ x)
        x = (x + p.matrix(f"V{block}") @ inner).named(f"x{block + 1}")
    return {"E x²": mean(x, x)}


def message_passing(p: Program) -> dict[str, Scalar]:
    """Approximate message passing: the Onsager term takes Ż away, and what is left is Gaussian."""
    W, x = p.matrix("W"), p.vector("x")

    def symmetric(v: Vector) -> Vector:
        return (W @ v + W.T @ v) / 2**0.5

    z = torch.tanh(x)
    u = symmetric(z).named("u")
    z2 = torch.tanh(u).named("z2")
    slope = mean(1.0 - z2**2)
    corrected = (symmetric(z2) - slope * z).named("corrected")
    return {"E z corrected": mean(z, corrected), "E corrected²": mean(corrected, corrected), "E z2²": mean(z2, z2)}


def marchenko_pastur(p: Program) -> dict[str, Scalar]:
    """Moments of WᵀW: the Catalan numbers 1, 2, 5, 14."""
    W, x = p.matrix("W"), p.vector("x")
    v, moments = x, {}
    for k in range(1, 5):
        v = W.T @ (W @ v)
        moments[f"tr (WᵀW)^{k}/n"] = mean(x, v)
    return moments


def semicircle(p: Program) -> dict[str, Scalar]:
    """Moments of (W + Wᵀ)/√2: 0, 1, 0, 2, 0, 5."""
    W, x = p.matrix("W"), p.vector("x")
    v, moments = x, {}
    for k in range(1, 7):
        v = (W @ v + W.T @ v) / 2**0.5
        moments[f"tr A^{k}/n"] = mean(x, v)
    return moments


def free(p: Program) -> dict[str, Scalar]:
    """Freeness: tr ABAB/n = 0 for centred A, B of independent matrices, where commuting ones have tr A²/n · tr B²/n."""
    x = p.vector("x")
    W, V = p.matrix("W"), p.matrix("V")

    def a(v: Vector) -> Vector:
        return W.T @ (W @ v) - v

    def b(v: Vector) -> Vector:
        return V.T @ (V @ v) - v

    return {"tr ABAB/n": mean(x, a(b(a(b(x))))), "tr A²B²/n": mean(x, a(a(b(b(x)))))}


DEMOS: dict[str, Demo] = {
    name.replace("_", "-"): Demo((f.__doc__ or "").strip(), f, exact)
    for name, f, exact in (
        ("forward", forward, True),
        ("backward", backward, True),
        ("dependence", dependence, True),
        ("sgd", sgd, False),
        ("rnn", rnn, True),
        ("attention", attention, True),
        ("layer_norm", layer_norm, True),
        ("autoencoder", autoencoder, True),
        ("resnet", resnet, True),
        ("message_passing", message_passing, True),
        ("marchenko_pastur", marchenko_pastur, True),
        ("semicircle", semicircle, True),
        ("free", free, True),
    )
}
"""By the name on the command line."""
