"""What the papers solve by hand, recovered in closed form from programs that `mupi.gradients` wrote."""

import numpy as np
import torch
from torch.nn.functional import softplus

import mupi
from assertions import assert_close
from cases import randn
from mupi.programs import Program, apply, gradients, mean
from mupi.recipes.word2vec.cbow import CBOW
from mupi.recipes.word2vec.embedding_start import UnitVectors
from mupi.recipes.word2vec.passage import Passage

# Torch functions of lines are lines, which torch's annotations do not know.
# pyright: reportArgumentType=false

X, Y = randn(4, 3), randn(4, 2, seed=1)


def squared_distance(f, y):
    return apply(lambda f: (f - y).square().sum() / len(y), f)


def test_the_linear_mu_limit():
    p = Program()
    one = torch.eye(3, dtype=torch.float64)
    U, V = p.vector("U", 1.2**2 * one), p.vector("V", 0.7**2 * one[:2, :2])
    outputs = []
    for _ in range(5):
        outputs.append(mean(U @ X.T, V))
        dU, dV = gradients(squared_distance(outputs[-1], Y), [U, V])
        U, V = U - 0.1 * dU, V - 0.1 * dV
    values = p.limit()
    net = mupi.LinearMuLimit(3, 2, 1.2, 0.7, dtype=torch.float64)
    optimizer = mupi.SGD(net.parameters(), lr=0.1)
    for f in outputs:
        assert_close(values[f], net(X).detach(), rtol=1e-12, scale=1.0)
        assert float(values.error(f).max()) == 0
        (net(X) - Y).square().sum(1).mean().backward()
        optimizer.step()


def test_the_tangent_kernel():
    σ, φ, x = 1.2, mupi.ReLU(), X[:2]
    p = Program()
    h1, W, v = p.vector("h1", σ**2 * x @ x.T / 3), p.matrix("W", σ), p.vector("v")
    z1 = apply(φ, h1)
    h2 = W @ z1
    z2 = apply(φ, h2)
    # Each output depends on its own column, so that the columns of this gradient are the outputs' own.
    d1, d2 = gradients(apply(torch.sum, σ * mean(z2, v)), [h1, h2])
    below, moments, above = mean(d1, d1), mean(d2, d2), mean(z2, z2)
    hidden = mean(z1, z1)
    values = p.limit()
    kernel = σ**2 * (values[above] + values[moments] * values[hidden] + values[below] * (x @ x.T / 3))
    assert_close(kernel, mupi.NTK(2, φ, σ)(x), rtol=1e-10)


def test_a_step_of_mean_field():
    """f = E V φ(⟨U, x⟩), U − η ∂, V − η ∂ (Mei, Montanari & Nguyen 2018), for a cubic φ: by Gauss–Hermite, exactly."""
    φ, η, y = mupi.Polynomial([0.0, 1.0, 0.3, 0.2]), 0.3, 0.7
    p = Program()
    h, V = p.vector("h"), p.vector("V", 1.0, mean=0.5)
    outputs = []
    for _ in range(3):
        outputs.append(mean(apply(φ, h), V)[0, 0])
        dh, dV = gradients(apply(lambda f: (f - y) ** 2, outputs[-1]), [h, V])
        h, V = h - η * dh, V - η * dV
    values = p.limit()
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    u, v = (torch.from_numpy(a).flatten() for a in np.meshgrid(nodes, nodes + 0.5))
    w = torch.from_numpy(np.outer(weights, weights).ravel()) / (2 * np.pi)
    for f in outputs:
        now = (w * v * φ(u)).sum()
        assert_close(values[f], now, rtol=1e-9)
        χ = 2 * (now - y)
        u, v = u - η * χ * v * φ.derivative()(u), v - η * χ * φ(u)


def test_the_first_steps_of_cbow():
    words, radius = torch.tensor([0, 3, 1, 4, 0, 2]), torch.tensor([1, 2, 1, 1, 2, 1])
    negatives = torch.tensor([[2, 4], [1, 3], [0, 2], [4, 2], [1, 3], [3, 0]])
    η, size = 0.3, 5
    net = CBOW(size, UnitVectors(), negatives=2, dtype=torch.float64)
    net.train(Passage(words, radius, negatives, size, 1, 2), lr=η)
    p = Program()
    U, N = p.vector("U", torch.eye(size)), p.vector("N", torch.zeros(size, size))
    for t, center in enumerate(words.tolist()):
        r = int(radius[t])
        context = torch.cat([words[max(t - r, 0) : t], words[t + 1 : t + 1 + r]])
        averages = torch.zeros(size, 1, dtype=torch.float64).index_add_(
            0, context, torch.full((len(context), 1), 1 / len(context), dtype=torch.float64)
        )
        others = torch.zeros(size, dtype=torch.float64)
        for v in negatives[t].tolist():
            others[v] += v != center

        def loss(scores, center=center, others=others):
            return softplus(-scores[0, center]) + (others * softplus(scores[0])).sum()

        dU, dN = gradients(apply(loss, mean(U @ averages, N)), [U, N])
        U, N = U - η * dU, N - η * dN
    between, outputs = mean(U, N), mean(N, N)
    values = p.limit()
    n = net.output_vectors()
    assert float(n.abs().max()) > 0.01
    assert_close(values[between], net.vectors() @ n.T, rtol=1e-10, scale=1.0)
    assert_close(values[outputs], n @ n.T, rtol=1e-10, scale=1.0)
