"""NumPy's arrays and numbers do what the tensors and Python's numbers of the same values do."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

import mupi
from assertions import assert_equal
from mupi.arrays import as_tensor, takes_numpy

X = np.random.default_rng(0).normal(size=(6, 8))


def generator():
    return torch.Generator().manual_seed(0)


NETS = {
    "PiMLP": lambda i, f: mupi.PiMLP(i(8), i(2), rank=i(4), depth=i(2), input_scale=f(2.0), generator=generator()),
    "PiCNN": lambda i, f: mupi.PiCNN(
        (i(2), i(2), i(2)), i(3), rank=i(4), pools=(i(1), i(2)), input_stride=i(1), generator=generator()
    ),
    "PiResNet": lambda i, f: mupi.PiResNet((i(2), i(2), i(2)), i(3), i(4), (i(1),), generator=generator()),
    "PiTransformer": lambda i, f: mupi.PiTransformer(
        mupi.Patches((i(2), i(2), i(2)), i(1)), i(2), rank=i(4), depth=i(1), heads=i(2), generator=generator()
    ),
    "MLP": lambda i, f: mupi.MLP(i(8), i(2), i(5), i(2), generator=generator()),
    "LinearMuLimit": lambda i, f: mupi.LinearMuLimit(i(8), i(2), sigma_u=f(2.0)),
}
KERNELS = {
    "NNGP": lambda i, f: mupi.NNGP(i(2), mupi.LeakyReLU(f(0.5)), f(1.5), f(0.5)),
    "NTK": lambda i, f: mupi.NTK(i(2), mupi.Polynomial((f(1.0), f(0.5))), f(1.5), f(0.5)),
}


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_a_network_of_numpy_sizes_on_numpy_inputs(make):
    plain, numpy = make(int, float), make(np.int64, np.float32)
    x = torch.from_numpy(X).float()
    # The output of a π-network is 0 at the start; its junctions are not.
    for ours, theirs in zip((*numpy.hidden(X), numpy(X)), (*plain.hidden(x), plain(x)), strict=True):
        assert_equal(ours, theirs)
    for ours, theirs in zip(numpy.state_dict().values(), plain.state_dict().values(), strict=True):
        assert_equal(ours, theirs)


@pytest.mark.parametrize("make", KERNELS.values(), ids=KERNELS)
def test_a_kernel_of_numpy_arrays_is_computed_in_their_dtype(make):
    assert_equal(make(np.int32, np.float64)(X), make(int, float)(torch.from_numpy(X)))
    assert make(int, float)(X.astype(np.float32), X[:2].astype(np.float32)).dtype == torch.float32


@pytest.mark.parametrize(
    "array",
    [X[::-1], X.T, X.astype(">f8"), X.astype(np.float16), X[:0], X[0, 0], np.broadcast_to(X[0], (3, 8)), X > 0],
    ids=["reversed", "transposed", "big-endian", "half", "empty", "number", "read-only", "bool"],
)
def test_every_kind_of_array_becomes_the_tensor_of_its_numbers(array):
    tensor = as_tensor("x", array)
    assert tensor.shape == np.shape(array)
    assert np.array_equal(tensor.numpy(), array)


def test_what_is_no_number_is_refused_by_the_argument_s_name():
    net = NETS["PiMLP"](int, float)
    with pytest.raises(ValueError, match=r"`PiMLP\.forward\(x=\.\.\.\)` must be numbers; got an array of dtype <U1"):
        net(np.array([["a"]]))
    with pytest.raises(ValueError, match=r"`NNGP\(x2=\.\.\.\)` must be numbers"):
        KERNELS["NNGP"](int, float)(X, np.array([[None]]))


def test_what_is_not_numpys_passes_as_it_came():
    seen = []

    @takes_numpy
    def function(*args, **kwargs):
        seen.extend([*args, *kwargs.values()])

    given = [torch.zeros(2), [1, 2.0], {"a": (1,)}, "text", None]
    function(*given[:3], x=given[3], y=given[4])
    assert all(ours is theirs for ours, theirs in zip(seen, given, strict=True))


class Sizes(NamedTuple):
    rank: object
    depth: object


def test_numbers_inside_of_containers_become_pythons_and_containers_stay_what_they_are():
    @takes_numpy
    def function(value):
        return value

    given = {"a": [np.int64(2), (np.float32(0.5), "x")], "b": Sizes(np.int64(3), 4)}
    converted = function(given)
    assert converted == {"a": [2, (0.5, "x")], "b": Sizes(3, 4)}
    assert type(converted["b"]) is Sizes and type(converted["b"].rank) is int
    assert type(given["b"].rank) is np.int64, "what was passed stays as it is"
