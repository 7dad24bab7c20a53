"""NNGP and NTK in one pass, equal to one by one bit for bit; and what a pass makes: a triangle, if symmetric."""

import pickle

import pytest
import torch

import mupi
from assertions import assert_close
from cases import randn
from mupi.architecture import zoo
from mupi.architecture.kernel import matrices

CASES = {
    "perceptron": (zoo.perceptron(6, 1, 3), (6,), 90),
    "perceptron of erf": (zoo.perceptron(6, 1, 2, mupi.Erf()), (6,), 20),
    "perceptron of gelu": (zoo.perceptron(6, 1, 2, mupi.GELU()), (6,), 9),
    "cnn": (zoo.cnn((2, 8, 8), 1, 3, mupi.ReLU(), average=False), (128,), 20),
    "cnn with an average": (zoo.cnn((2, 6, 6), 1, 3, mupi.ReLU(), average=True), (72,), 5),
    "transformer": (zoo.gpt(11, 5, 1, 2, mupi.ReLU()), (5,), 4),
}


def inputs(name, dtype, seed=0):
    """Of a case."""
    arch, axes, n = CASES[name]
    if arch.input.integers:
        return torch.randint(11, (n, *axes), generator=torch.Generator().manual_seed(seed))
    return randn(n, *axes, seed=seed, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_one_pass_is_two_passes_bit_for_bit(name, dtype):
    arch, x, y = CASES[name][0], inputs(name, dtype), inputs(name, dtype, 1)
    settings = {"sigma_w": 1.3, "sigma_b": 0.2}
    output = "mean" if arch.output.positions else None
    both = arch.kernels("ntk", "nngp", **settings, output=output)
    alone = arch.nngp(**settings, output=output), arch.ntk(**settings, output=output)
    for args in ((x,), (x, y)):
        ntk, nngp = together = both(*args)
        assert together.ntk is ntk and together.nngp is nngp
        assert torch.equal(nngp, alone[0](*args)) and torch.equal(ntk, alone[1](*args))
        assert torch.equal(nngp, both.nngp(*args)) and torch.equal(ntk, both.ntk(*args))
    assert all(map(torch.equal, both.diagonal(x), (alone[1].diagonal(x), alone[0].diagonal(x))))


@pytest.mark.parametrize("name", [name for name in CASES if name != "transformer"])
def test_gradients_of_one_pass_are_those_of_two(name):
    arch = CASES[name][0]
    x = inputs(name, torch.float64)[:3].requires_grad_()
    together = arch.kernels()(x)
    one_by_one = arch.nngp()(x), arch.ntk()(x)
    for one, other in zip(together, one_by_one, strict=True):
        assert_close(*(torch.autograd.grad(k.sin().sum(), x, retain_graph=True)[0] for k in (one, other)))


def test_an_output_at_each_position_and_rates():
    arch, x = CASES["transformer"][0], inputs("transformer", torch.float64)
    options = {"weight_lr": {"readout": 0.5}, "bias_lr": 0.3, "output": "each"}
    both = arch.kernels(**options)
    nngp, ntk = both(x)
    assert nngp.shape == (20, 20)
    assert torch.equal(ntk, arch.ntk(**options)(x)) and torch.equal(nngp, arch.nngp(output="each")(x))


def test_kernels_are_pickled_and_refuse_other_kinds():
    both = CASES["perceptron"][0].kernels()
    x = inputs("perceptron", torch.float64)
    again = pickle.loads(pickle.dumps(both))
    assert again == both and torch.equal(again(x).ntk, both(x).ntk)
    for kinds in (("nngp", "nngp"), ("ntk", "cntk")):
        with pytest.raises(ValueError, match=r'kernels\(kinds=.*"nngp", "ntk" or both'):
            CASES["perceptron"][0].kernels(*kinds)


@pytest.mark.parametrize("name", ["perceptron", "cnn", "cnn with an average"])
@pytest.mark.parametrize("entries", [40, 2**17])
def test_a_symmetric_kernel_is_the_full_one(name, entries, monkeypatch):
    monkeypatch.setattr(matrices, "BLOCK_ENTRIES", entries)
    monkeypatch.setattr(matrices, "SYMMETRIC_ROWS", 7)
    both, x = CASES[name][0].kernels(), inputs(name, torch.float32)
    x = x[: 5 if entries == 40 and name != "perceptron" else None]
    for half, full, wide in zip(both(x), both(x, x.clone()), both(x.double()), strict=True):
        assert torch.equal(half, half.T)
        assert_close(half, full, rtol=4e-6)
        assert_close(half, wide, rtol=4e-6)


@pytest.mark.parametrize("name", ["perceptron", "cnn", "cnn with an average"])
def test_a_symmetric_kernel_makes_half_of_the_pairs(name, monkeypatch):
    made = []

    def counted(self, pairs, _of=matrices.Matrices._of_pairs):
        made.append(pairs.sizes)
        return _of(self, pairs)

    monkeypatch.setattr(matrices.Matrices, "_of_pairs", counted)
    monkeypatch.setattr(matrices, "BLOCK_ENTRIES", 1)
    monkeypatch.setattr(matrices, "SYMMETRIC_ROWS", 1)
    x = inputs(name, torch.float32)[:5]
    CASES[name][0].ntk()(x)
    assert sum(n * m for n, m in made) == 10  # those of an input with itself are known


def test_steps_hold_no_layers_that_are_done():
    depths = (5, 10)
    held = [zoo.perceptron(6, 1, depth).ntk().compiled.pairs[0] for depth in depths]
    # One more quantity a layer: the variances of the left inputs, which are views of what is known of each input.
    assert held[1].most_alive - held[0].most_alive == depths[1] - depths[0]
