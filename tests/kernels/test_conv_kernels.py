"""Kernels of convolutional networks: against the definition by loops, a finite network, and perceptrons."""

import pytest
import torch
from torch import nn

from assertions import assert_close, fitted_slope, root_mean_square
from cases import randn, seeded
from mupi import NNGP, NTK, Erf, KernelRegression, ReLU
from mupi.kernels import ConvNNGP, ConvNTK, EmpiricalNTK

SHAPE = (2, 3, 4)
σ_W, σ_B = 1.3, 0.4


class FiniteConv(nn.Module):
    """A convolutional network of n channels in NTK parametrization, as `ConvKernel` defines it."""

    def __init__(self, n, depth, pooling, activation, seed):
        super().__init__()
        generator, (d, height, width) = seeded(seed), SHAPE

        def normal(*shape):
            return nn.Parameter(torch.randn(*shape, dtype=torch.float64, generator=generator))

        sizes = [d, *[n] * depth]
        self.weights = nn.ParameterList([normal(b, a, 3, 3) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        self.biases = nn.ParameterList([normal(n) for _ in range(depth)])
        inputs = n if pooling else n * height * width
        self.readout, self.bias = normal(1, inputs), normal(1)
        self.pooling, self.activation = pooling, activation

    def forward(self, x):
        φ = x.reshape(-1, *SHAPE)
        for w, b in zip(self.weights, self.biases, strict=True):
            h = σ_W * nn.functional.conv2d(φ, w, padding=1) / (w.shape[1] * 9) ** 0.5 + σ_B * b[:, None, None]
            φ = self.activation(h)
        φ = φ.mean((2, 3)) if self.pooling else φ.flatten(1)
        return σ_W * φ @ self.readout.T / φ.shape[1] ** 0.5 + σ_B * self.bias


def by_loops(kernel, x1, x2):
    """NNGP and NTK of two images, position by position."""
    (d, height, width), φ, reach = SHAPE, kernel.φ, range(-1, 2)
    places = [(i, j) for i in range(height) for j in range(width)]

    def table(a, b, entry):
        return {(p, q): entry(a, b, p, q) for p in places for q in places}

    def moved(values, p, q):
        """Σ_o values(p + o, q + o)/k²."""
        total = torch.zeros((), dtype=torch.float64)
        for down in reach:
            for right in reach:
                pair = ((p[0] + down, p[1] + right), (q[0] + down, q[1] + right))
                total = total + values.get(pair, 0.0)
        return total / 9

    images = [x1.reshape(SHAPE), x2.reshape(SHAPE)]
    pairs = [(0, 0), (0, 1), (1, 1)]
    moments = {
        (a, b): table(a, b, lambda a, b, p, q: images[a][:, p[0], p[1]] @ images[b][:, q[0], q[1]] / d)
        for a, b in pairs
    }
    tangent = None
    for layer in range(kernel.depth):
        k = {
            key: {(p, q): σ_W**2 * moved(moments[key], p, q) + σ_B**2 for p in places for q in places} for key in pairs
        }
        slope = {}
        if layer == 0:
            tangent = dict(k[0, 1])
        else:
            tangent = {(p, q): k[0, 1][p, q] + σ_W**2 * moved(tangent, p, q) for p in places for q in places}
        for a, b in pairs:
            new = {}
            for p in places:
                for q in places:
                    arguments = [t[None] for t in (k[a, a][p, p], k[a, b][p, q], k[b, b][q, q])]
                    new[p, q] = φ.dual_00(*arguments)[0]
                    if (a, b) == (0, 1):
                        slope[p, q] = φ.dual_11(*arguments)[0]
            moments[a, b] = new
        tangent = {pair: tangent[pair] * slope[pair] for pair in tangent}
    seen = [(p, q) for p in places for q in places if kernel.pooling or p == q]
    nngp = σ_W**2 * sum(moments[0, 1][pair] for pair in seen) / len(seen) + σ_B**2
    return nngp, nngp + σ_W**2 * sum(tangent[pair] for pair in seen) / len(seen)


@pytest.mark.parametrize("pooling", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("activation", [ReLU(), Erf()], ids=str)
def test_both_kernels_are_their_definition(pooling, depth, activation):
    x1, x2 = randn(2, 24), randn(3, 24, seed=1)
    arguments = (SHAPE, depth, activation, pooling, 3, σ_W, σ_B)
    kernel = ConvNNGP(*arguments)
    nngp, ntk = kernel(x1, x2), ConvNTK(*arguments)(x1, x2)
    expected = by_loops(kernel, x1[1], x2[2])
    assert_close(nngp[1, 2], expected[0], rtol=1e-11)
    assert_close(ntk[1, 2], expected[1], rtol=1e-11)


@pytest.mark.parametrize("pooling", [False, True])
def test_finite_networks_have_the_tangent_kernel_as_their_limit(pooling):
    x = randn(3, 24)
    limit = ConvNTK(SHAPE, 2, Erf(), pooling, 3, σ_W, σ_B)(x)
    widths = (8, 32, 128)

    def gap(n, seed):
        return float((EmpiricalNTK(FiniteConv(n, 2, pooling, Erf(), seed))(x) - limit).norm() / limit.norm())

    errors = [root_mean_square([gap(n, seed) for seed in range(10)]) for n in widths]
    assert fitted_slope(widths, errors) == pytest.approx(-0.5, abs=0.12)
    assert errors[-1] < 0.15


@pytest.mark.parametrize(("conv", "dense"), [(ConvNNGP, NNGP), (ConvNTK, NTK)])
@pytest.mark.parametrize("pooling", [False, True])
def test_an_image_of_one_pixel_makes_a_perceptron(conv, dense, pooling):
    x1, x2 = randn(4, 6), randn(5, 6, seed=1)
    kernel = conv((6, 1, 1), 2, ReLU(), pooling, 1, σ_W, σ_B)
    assert_close(kernel(x1, x2), dense(2, ReLU(), σ_W, σ_B)(x1, x2), rtol=1e-11)


@pytest.mark.parametrize("kernel", [ConvNNGP, ConvNTK])
@pytest.mark.parametrize("pooling", [False, True])
def test_blocks_symmetry_and_diagonal(kernel, pooling, monkeypatch):
    x, k = randn(7, 24), kernel(SHAPE, 2, ReLU(), pooling)
    whole = k(x)
    monkeypatch.setattr("mupi.architecture.kernel.matrices.BLOCK_ENTRIES", 600)
    assert_close(k(x), whole)
    assert_close(k(x, x[:3].clone()), whole[:, :3])
    assert_close(k.diagonal(x), whole.diagonal())
    assert_close(whole, whole.T.contiguous())
    assert float(torch.linalg.eigvalsh(whole).min()) > 0


def test_an_average_over_positions_does_not_see_where_an_object_is():
    image = torch.zeros(1, 1, 7, 7, dtype=torch.float64)
    image[..., 2:4, 2:4] = randn(2, 2)
    moved = image.roll((1, 1), (2, 3))
    x = torch.cat([image, moved]).flatten(1)
    k = ConvNTK((1, 7, 7), 1, ReLU(), True)(x)
    assert_close(k[0, 0], k[0, 1], rtol=1e-12)
    without = ConvNTK((1, 7, 7), 1, ReLU(), False)(x)
    assert without[0, 1] < 0.9 * without[0, 0]


def test_kernel_regression_takes_it():
    x, y = randn(12, 24), torch.arange(12) % 3
    regression = KernelRegression(ConvNTK(SHAPE, 2, ReLU(), True), 1e-6).fit(x, y)
    assert regression.score(x, y) == 1.0


def test_bad_arguments_are_named():
    for arguments, message in [
        (dict(image_shape=(2, 0, 3)), "image_shape"),
        (dict(depth=0), "depth"),
        (dict(kernel_size=4), r"kernel_size=\.\.\.\)` must be odd; got 4"),
        (dict(sigma_w=-1.0), "sigma_w"),
    ]:
        with pytest.raises(ValueError, match=message):
            ConvNNGP(**(dict(image_shape=SHAPE, depth=1, activation=ReLU()) | arguments))
    with pytest.raises(ValueError, match=r"of width 24"):
        ConvNNGP(SHAPE, 1, ReLU())(randn(2, 23))
