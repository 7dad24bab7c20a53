"""`arch.nngp` and `arch.ntk`: what uses them, what they take, what they refuse, and operations of a user's own."""

import pytest
import torch

from architecture.test_kernel import NORM, READINGS, n
from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import Erf, KernelDynamics, KernelRegression, ReLU
from mupi.architecture import (
    Activate,
    Add,
    Attention,
    AveragePool,
    Center,
    Conv,
    Dense,
    Multiply,
    Normalize,
    Operation,
    Permute,
    Scale,
    Value,
    chain,
    describe,
    residual,
    zoo,
)
from mupi.architecture.kernel import Linear, matrices, register
from mupi.architecture.kernel.sides import Times


def test_kernel_methods_take_it():
    x, y = randn(12, 36), torch.arange(12) % 3
    arch = describe((4, 3, 3), chain(Permute((0, 1, 2)), zoo_block, AveragePool(), Dense(1)))
    assert KernelRegression(arch.ntk(), 1e-6).fit(x, y).score(x, y) == 1.0
    assert KernelDynamics(arch.nngp()).fit(x, y).flow(x, 1.0).shape == (12, 3)
    tokens = torch.randint(5, (12, 4), generator=seeded())
    text = zoo.gpt(5, 4, 1, 2).ntk(output="mean")
    KernelRegression(text, 1e-3).fit(tokens.double(), y)
    assert_close(text(tokens.double()), text(tokens), rtol=1e-5)
    assert_close(torch.as_tensor(text(tokens.numpy())), text(tokens))


def zoo_block(x: Value) -> Value:
    return chain(Conv(n, (3, 3), padding=(1, 1)), residual(Normalize(eps=1e-5), ReLU(), Conv(n, (1, 1))), ReLU())(x)


@pytest.mark.parametrize(
    ("arch", "x", "message"),
    [
        (zoo.perceptron(3, 1), torch.ones(2, 4), r"`arch\.nngp\(x1\)` must be of shape \(n, 3\); got shape \(2, 4\)"),
        (zoo.cnn((1, 2, 2), 1), torch.ones(2, 2), r"of shape \(n, 1, 2, 2\) or \(n, 4\); got"),
        (zoo.perceptron(3, 1), torch.ones(2, 3).long(), r"of a floating dtype; got torch\.int64; use x\.float"),
        (zoo.perceptron(3, 1), torch.full((2, 3), torch.nan), "must be finite"),
        (zoo.perceptron(3, 1), 1e25 * torch.ones(2, 3), "must be of a size whose mean square"),
        (zoo.gpt(5, 2, 1, 2), torch.tensor([[1, 5]]), "must be integers 0 to 4; got 5"),
        (zoo.gpt(5, 2, 1, 2), torch.tensor([[1, 0.5]]), "must be integers 0 to 4; got 0.5"),
        (zoo.gpt(5, 2, 1, 2), torch.tensor([[True, False]]), "must be integers; got torch.bool"),
    ],
)
def test_wrong_inputs_are_named(arch, x, message):
    k = arch.nngp(output=0 if arch.output.positions else None)
    with pytest.raises(ValueError, match=message):
        k(x)


def test_what_does_not_fit_into_memory_is_refused_before_it_starts(monkeypatch):
    monkeypatch.setattr(matrices, "available_memory", lambda device: 10**8)
    x = torch.zeros(1, 1, 100, 100)
    with pytest.raises(
        ValueError, match=r"`arch\.ntk\(x1, x2\)` must be small enough for the available memory, 0\.1 GB"
    ):
        zoo.cnn((1, 100, 100), 1, 1).ntk()(x)


def tied(x: Value) -> Value:
    return x.then(Dense(n), name="one").then(Dense(2 * n), weights="one")


def again(x: Value) -> Value:
    """One weight that reads data, then a layer."""
    return x.then(Dense(n), name="one").then(Dense(n), weights="one")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            chain(Dense(n), residual(Dense(n), ReLU()), ReLU(), Dense(1)),
            r"`ReLU\(\)`.*φ of a value that is not Gaussian.*program",
        ),
        (chain(Dense(n), Center(), Dense(1)), r"`Center\(\)`.*depends on the other samples"),
        (chain(Dense(n), Scale(1.0, -0.5), Dense(1)), r"a factor n\^-0\.5"),
        (chain(Dense(n), Dense(4), ReLU(), Dense(1)), "reads a layer of finitely many channels"),
        (chain(tied, Dense(1)), r"its weights are those of `Dense\(n\)` \(one\), which uses them otherwise"),
        (chain(again, Dense(1)), r"its weights are those of `Dense\(n\)` \(one\), which uses them otherwise"),
        (chain(Dense(n), ReLU(), lambda h: Multiply()(h, Activate(Erf())(Dense(n)(h))), Dense(1)), None),
        (
            chain(Dense(n), lambda h: Multiply()(Normalize()(h), Activate(Erf())(h)), Dense(1)),
            "made of the same weights",
        ),
        (
            chain(Dense(n), lambda h: Add()(Activate(ReLU())(h), Activate(Erf())(Normalize()(h))), Dense(1)),
            "another function",
        ),
        (chain(ReLU()), "ends? with a readout"),
    ],
)
def test_what_has_no_kernel_is_refused_by_name(network, message):
    arch = describe((4,), network)
    for read in READINGS.values():
        if message is None:
            read(arch)
        else:
            with pytest.raises(ValueError, match=message):
                read(arch)


@pytest.mark.parametrize(("exponent", "message"), [(-0.5, "no Gaussian process.*1/d"), (0.0, r"grow as d\^0\.5")])
def test_attention_whose_logits_stay_random_is_refused(exponent, message):
    def block(x: Value) -> Value:
        return Attention(1, exponent=exponent)(Dense(n)(x), Dense(n)(x), Dense(n)(x))

    with pytest.raises(ValueError, match=message):
        describe((4, 3), chain(Dense(n), block, AveragePool(), Dense(1))).nngp()
    with pytest.raises(ValueError, match="logits do not vanish"):
        describe((4, 3), chain(Dense(n), lambda x: Attention()(x, x, x), AveragePool(), Dense(1))).nngp()


class Mix(Operation):
    """½ x + 2 y: an operation of a user's own."""

    reads = 2

    def shape(self, *inputs):
        return inputs[0]

    def __str__(self):
        return "Mix"


def test_an_operation_of_a_users_own_has_a_kernel_when_it_has_a_rule():
    arch = describe((4,), chain(Dense(n), lambda h: Mix()(h, Dense(n)(h)), ReLU(), Dense(1)))
    with pytest.raises(ValueError, match=r"`Mix` has no rule; register one with .*kernel\.forms\.register\(Mix\)"):
        arch.nngp()
    register(Mix)(lambda operation, shapes, out: Linear(((0, Times(0.5)), (1, Times(2.0)))))
    plain = describe((4,), chain(Dense(n), lambda h: Add()(Scale(0.5)(h), Scale(2.0)(Dense(n)(h))), ReLU(), Dense(1)))
    x = randn(3, 4)
    assert_close(arch.ntk()(x), plain.ntk()(x))


def test_a_deep_network_needs_no_deep_stack():
    arch = describe((3,), chain(Dense(n), *(residual(NORM, ReLU(), Dense(n), scale=0.05) for _ in range(60)), Dense(1)))
    assert torch.isfinite(arch.ntk()(randn(2, 3))).all()


def test_a_kernel_of_tokens_has_the_default_dtype_or_that_of_the_numbers_they_are_given_as():
    k, tokens = zoo.gpt(4, 3, depth=1, heads=2).ntk(output=0), torch.tensor([[0, 1, 2], [3, 3, 1]])
    single, double = k(tokens), k(tokens.double())
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert_close(single.double(), double, rtol=1e-6)
    torch.set_default_dtype(torch.float64)
    try:
        assert_equal(k(tokens), double)
    finally:
        torch.set_default_dtype(torch.float32)
