"""`PiConv2d`: its definition by loops, an ordinary convolution of features, pooling before the product."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d

import mupi
from assertions import assert_close
from cases import randn, seeded
from mupi import Atoms, Hermite, InputConv2d, PiConv2d, Polynomial, RandomFeatures, ReLU
from oracles import exact_layer

QUADRATIC = Polynomial((0.2, 1.0, 0.3))
FEATURES = {"atoms": Atoms(), "hermite": Hermite(2), "subspace": Hermite(3, subspace=2), "random": RandomFeatures(16)}


def layer(features, seed=0, **options):
    options = dict(activation=QUADRATIC, dtype=torch.float64, generator=seeded(seed)) | options
    return PiConv2d(3, 2, features=features, **options)


def train(net, g, steps=3):
    optimizer = mupi.SGD(net.parameters(), lr=0.1, clip=0.5, momentum=0.5, weight_decay=0.01)
    for _ in range(steps):
        (net(g) - 1).square().mean().backward()
        optimizer.step()
    return net.eval()


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_definition_by_loops_over_offsets_positions_and_atoms(kernel_size, pool):
    net, g = layer(Atoms(), kernel_size=kernel_size, pool=pool, scale=1.5, bias_scale=0.5), randn(2, 4, 6, 3)
    train(net, g, 2)
    atoms = net.weight.expansion()
    out = torch.zeros(2, 4 // pool, 6 // pool, 2, dtype=torch.float64) + 0.5 * net.bias.detach()
    for j, (down, right) in enumerate(net.offsets):
        a = atoms.a[:, 2 * j : 2 * j + 2]
        part = exact_layer.dense_layer(QUADRATIC, atoms.c, a, atoms.b, g.reshape(-1, 3)).reshape(2, 4, 6, 2)
        part = avg_pool2d(part.movedim(-1, 1), pool).movedim(1, -1)
        for p in range(4 // pool):
            for q in range(6 // pool):
                if 0 <= p + down < 4 // pool and 0 <= q + right < 6 // pool:
                    out[:, p, q] += part[:, p + down, q + right]
    assert_close(net(g), 1.5 * out, rtol=1e-11)


def test_with_finite_features_it_is_an_ordinary_convolution_of_them():
    net, g = layer(RandomFeatures(16), bias=False), randn(2, 4, 6, 3)
    psi = QUADRATIC(g @ net.weight.omega.T).movedim(-1, 1) / 4
    kernel = torch.zeros(2, 16, 3, 3, dtype=torch.float64)
    for j, (down, right) in enumerate(net.offsets):
        kernel[:, :, 1 + down, 1 + right] = net.weight.weight.detach()[:, 2 * j : 2 * j + 2].T
    assert_close(net(g).movedim(-1, 1), conv2d(psi, kernel, padding=1))


@pytest.mark.parametrize("pool", [1, 2])
def test_a_polynomial_trains_alike_in_the_limit_and_at_constant_memory(pool):
    g, held = randn(2, 4, 4, 3), randn(2, 4, 4, 3, seed=1)
    nets = [train(layer(features, pool=pool), g) for features in (Atoms(), Hermite(2))]
    assert_close(nets[1](held), nets[0](held), rtol=1e-10)


@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize("name", ["hermite", "random"])
def test_pooling_before_the_product_is_pooling_after_it(name, factored):
    g, nets = randn(2, 4, 4, 3), [layer(FEATURES[name], pool=2) for _ in range(2)]
    nets[1].weight.pooled = lambda g, pool: pool(nets[1].weight(g))
    if factored:
        mupi.factor_gradients(nets[0])
    assert_close(train(nets[0], g)(g), train(nets[1], g)(g), rtol=1e-11)


@pytest.mark.parametrize("pool", [1, 2])
def test_the_last_atoms_are_the_positions_before_pooling(pool):
    # All that training added: the weight is the sum of its initial and its last atoms, without momentum and decay.
    net, g = layer(Hermite(2), pool=pool), randn(2, 4, 4, 3)
    optimizer = mupi.SGD(net.parameters(), lr=0.1, clip=0.5)
    for _ in range(2):
        (net(g) - 1).square().mean().backward()
        optimizer.step()
    atoms = net.weight.sample_atoms()
    assert len(atoms) == 9 * 3 + 2 * 32
    held = randn(5, 3, seed=1)
    expected = net.weight.kernel(held, atoms.b) @ (atoms.c[:, None] * atoms.a)
    assert_close(net.weight.eval()(held), expected, rtol=1e-10)


@pytest.mark.parametrize("name", FEATURES)
def test_gradients_are_right(name):
    net = layer(FEATURES[name], pool=2).eval()
    assert torch.autograd.gradcheck(net, (randn(1, 4, 4, 3).requires_grad_(),))


def test_it_commutes_with_shifts_away_from_the_border():
    net, g = layer(Hermite(2)), torch.zeros(1, 8, 8, 3, dtype=torch.float64)
    g[:, 2:5, 2:5] = randn(1, 3, 3, 3)
    plain = net(0 * g)
    change = net(g) - plain
    moved = net(g.roll((1, 1), (1, 2))) - plain
    assert_close(moved, change.roll((1, 1), (1, 2)))


def test_a_function_transform_takes_it():
    net, g = layer(Hermite(2), pool=2).eval(), randn(3, 4, 4, 3)
    assert_close(torch.func.vmap(net)(g), net(g))


def test_bad_arguments_are_named():
    for options, message in [
        (dict(kernel_size=2), r"kernel_size=\.\.\.\)` must be odd; got 2"),
        (dict(pool=0), "pool"),
        (dict(scale=-1.0), "scale"),
        (dict(initial=mupi.Expansion(randn(2), randn(2, 2), randn(2, 3))), "ranks 3 → 18; got ranks 3 → 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            layer(Atoms(), **options)
    with pytest.raises(ValueError, match=r"height, width, rank_in"):
        layer(Atoms())(randn(4, 3))
    with pytest.raises(ValueError, match=r"divides the positions \(3, 4\)"):
        layer(Hermite(2), pool=2, activation=ReLU())(randn(1, 3, 4, 3))


GRIDS = [
    dict(kernel_size=(2, 3), stride=(2, 1), padding=(1, 0)),
    dict(kernel_size=(3, 1), stride=2, padding=(1, 0)),
    dict(kernel_size=1, stride=2),
    dict(kernel_size=(1, 2), stride=(3, 1), padding=0),
    dict(kernel_size=2, stride=2, padding=0),
    dict(kernel_size=(2, 1), padding=(3, 2)),
    dict(kernel_size=3, stride=2, padding_mode="circular"),
    dict(kernel_size=(4, 3), padding=(2, 1), padding_mode="circular"),
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("first", [False, True], ids=["hidden", "input"])
def test_any_kernel_stride_and_padding_are_those_of_an_ordinary_convolution(grid, first):
    x = randn(2, 5, 6, 3)
    if first:
        net = InputConv2d(3, 2, **grid, dtype=torch.float64, generator=seeded())
        out, read, kernel = net(x.movedim(-1, 1)), x.movedim(-1, 1), net.weight.detach()
    else:
        net = layer(RandomFeatures(16), bias=False, **grid)
        out, read = net(x), QUADRATIC(x @ net.weight.omega.T).movedim(-1, 1) / 4
        rows, columns = net.grid.size
        kernel = torch.zeros(2, 16, rows, columns, dtype=torch.float64)
        for j, (down, right) in enumerate(net.offsets):
            block = net.weight.weight.detach()[:, 2 * j : 2 * j + 2].T
            kernel[:, :, net.grid.padding[0] + down, net.grid.padding[1] + right] = block
    padding = grid.get("padding", tuple(k // 2 for k in net.grid.size))
    if grid.get("padding_mode"):
        down, right = (padding, padding) if isinstance(padding, int) else padding
        read, padding = torch.nn.functional.pad(read, (right, right, down, down), mode="circular"), 0
    assert_close(out.movedim(-1, 1), conv2d(read, kernel, stride=grid.get("stride", 1), padding=padding))


def test_a_state_dict_of_another_grid_is_refused():
    saved = layer(Hermite(2), kernel_size=2, padding=0, stride=2).state_dict()
    for other in (dict(padding=1, stride=2), dict(padding=0), dict(padding=0, stride=2, padding_mode="circular")):
        with pytest.raises(ValueError, match="as in the state dict"):
            layer(Hermite(2), kernel_size=2, **other).load_state_dict(saved)
