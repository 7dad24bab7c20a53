"""What tracing leaves alone, what it costs, what users add to it, and what it refuses."""

import pickle
import re
import resource
import time
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mupi
from architecture import traced_modules as modules
from mupi.architecture import Operation
from mupi.architecture.trace import translates
from oracles.interpreter import at


def test_a_factory_of_more_than_1e9_parameters_takes_seconds_and_no_memory_for_them():
    mupi.trace(modules.perceptron, torch.zeros(1, 7))  # torch.export's own modules
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    net = mupi.trace(lambda n: modules.Gpt(n, 50257, 1024, 2), torch.zeros(1, 256, dtype=torch.long))
    assert sum(prod(at(size, 13440) for size in p.axes) for p in net.parameters) > 5e9
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500e3  # kB; weights would be 15 GB


def test_random_states_and_what_the_user_has_stay_as_they_are():
    class Seeded(nn.Module):
        def __init__(self, width, shared):
            super().__init__()
            torch.manual_seed(0)
            np.random.seed(0)
            self.shared, self.out = shared, nn.Linear(4, width)
            self.read = nn.Linear(width, 2)
            nn.init.normal_(self.out.weight)

        def forward(self, x):
            return self.read(self.out(self.shared(x)))

    shared = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5)).train()
    state = {name: p.clone() for name, p in shared.state_dict().items()}
    tensor, x = shared[0].weight, torch.randn(2, 5)
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    batch = x.clone()
    mupi.trace(lambda n: Seeded(n, shared), x)
    assert torch.equal(torch.random.get_rng_state(), states[0]) and (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(x, batch)
    assert shared[0].weight is tensor and shared.training and shared[1].training
    assert all(torch.equal(p, state[name]) for name, p in shared.state_dict().items())


def test_arrays_are_taken_and_descriptions_are_data():
    net = mupi.trace(modules.perceptron, np.zeros((1, 7), dtype=np.float32))
    assert net == mupi.trace(modules.perceptron, torch.zeros(5, 7)) == pickle.loads(pickle.dumps(net))
    assert pickle.loads(pickle.dumps(net)).parameters == net.parameters


def test_dropout_is_read_from_a_module_in_training():
    net = mupi.trace(lambda n: nn.Sequential(nn.Linear(3, n), nn.Dropout(0.3), nn.Linear(n, 2)), torch.zeros(1, 3))
    assert [str(node.operation) for node in net][2] == "Dropout(0.3)"


def test_an_operation_from_outside_is_translated_by_a_rule_of_its_own():
    @torch.library.custom_op("mupi_tests::twice_cosine", mutates_args=())
    def twice_cosine(x: torch.Tensor) -> torch.Tensor:
        return 2 * torch.cos(x)

    twice_cosine.register_fake(torch.empty_like)

    @dataclass(frozen=True)
    class TwiceCosine(Operation):
        def shape(self, *inputs):
            return inputs[0]

    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.a, self.b = nn.Linear(3, width), nn.Linear(width, 2)

        def forward(self, x):
            return self.b(twice_cosine(self.a(x)))

    x = torch.zeros(1, 3)
    with pytest.raises(ValueError, match=r"`mupi_tests.twice_cosine \(test_trace_limits.py:\d+\)`.*no rule; register"):
        mupi.trace(Net, x)
    translates(torch.ops.mupi_tests.twice_cosine)(lambda step, x: step.apply(TwiceCosine(), x))
    assert [str(node.operation) for node in mupi.trace(Net, x)][2] == "TwiceCosine()"


def between(f, make=None, axes=(5,)):
    """A network of two weights with something between, perhaps a module."""

    class Between(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.first, self.last = nn.Linear(axes[-1], width), nn.Linear(width, 2)
            self.part = None if make is None else make(width)

        def forward(self, x):
            x = self.first(x)
            return self.last(f(x) if self.part is None else f(self.part, x))

    return Between, torch.zeros(2, *axes)


def convolved(f, make=None):
    class Convolved(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.first, self.last = nn.Conv2d(3, width, 3), nn.Linear(width, 2)
            self.part = None if make is None else make(width)

        def forward(self, x):
            x = self.first(x)
            return self.last((f(x) if self.part is None else f(self.part, x)).mean((2, 3)))

    return Convolved, torch.zeros(2, 3, 8, 8)


def call(part, x):
    return part(x)


def first(part, x):
    return part(x)[0]


def hidden(size):
    return lambda n: nn.Sequential(nn.Linear(5, size(n)), nn.Linear(size(n), 2))


class Two(nn.Linear):
    def __init__(self, width):
        super().__init__(5, width)

    def forward(self, x):
        return super().forward(x), x


def chunked(x):
    a, _ = x.chunk(2, -1)
    return torch.cat([a, a], -1)


class Leftover(nn.Sequential):
    def forward(self, x):
        return self[0](x)


def heads_that_grow(x):
    q = x.unflatten(-1, (-1, 64)).transpose(1, 2)
    return F.scaled_dot_product_attention(q, q, q).transpose(1, 2).flatten(2)


def changed_view(x):
    x.view(-1, 2, x.shape[-1] // 2)[:, 0].zero_()
    return x


def changed_half(x):
    y = x.view(x.shape)
    y.relu_()
    return x


X = torch.zeros(2, 5)

REFUSED = {
    "batch norm": (*between(call, nn.BatchNorm1d), r"batch_norm \(part, .*py:\d+\).*samples of the batch.*LayerNorm"),
    "group norm": (*convolved(call, lambda n: nn.GroupNorm(2, n)), r"group_norm \(part, .*groups of channels"),
    "max pool": (*convolved(lambda x: F.max_pool2d(x, 2)), r"max_pool2d \(.*:\d+\).*maximum over positions"),
    "groups": (*convolved(call, lambda n: nn.Conv2d(n, n, 3, groups=n)), r"conv2d \(part, .*grouped.*groups=1"),
    "lstm": (*between(first, lambda n: nn.LSTM(n, n, batch_first=True), (4, 5)), r"lstm \(part, .*recurrent"),
    "softmax of the width": (*between(lambda x: x.softmax(-1)), r"softmax \(.*:\d+\).*a softmax of a value"),
    "unbiased variance": (*between(lambda x: x / x.var(-1, keepdim=True).sqrt()), r"var \(.*unbiased=False"),
    "control flow": (*between(lambda x: x if x.sum() > 0 else -x), r"`trace.*limits.py:\d+` .*numbers of a tensor"),
    "dropout for ever": (*between(lambda x: F.dropout(x, 0.1)), r"dropout \(.*training=self.training"),
    "a jump": (*between(F.hardshrink), r"no activation: .*jumps"),
    "detach": (*between(lambda x: x.detach()), r"detach \(.*leave .detach\(\) out"),
    "a fixed table": (*between(lambda x: x * torch.arange(x.shape[-1])), r"mul \(.*a value and a fixed tensor"),
    "heads that grow": (*between(heads_that_grow, axes=(4, 5)), r"attention \(.*n/64 heads.*keep the number of heads"),
    "n + 1": (hidden(lambda n: n + 1), X, r"linear \(0, .*6721 at width 6720"),
    "root of n": (hidden(lambda n: int(n**0.5)), X, r"linear \(0, .*81 at width"),
    "a finite norm": (lambda n: nn.Sequential(nn.LayerNorm(5), hidden(int)(n)), X, r"layer_norm \(0, "),
    "no width": (lambda n: nn.Linear(5, 2), X, r"weights that grow with the width"),
    "unused": (lambda n: Leftover(nn.Linear(5, n), nn.Linear(n, 2)), X, r"all of its parameters; got 1.bias, 1.weight"),
    "two results": (Two, X, r"returns one tensor; got a tuple"),
    "a module": (nn.Linear(5, 2), X, r"a function of the width.*pass lambda n"),
    "nothing": (lambda n: None, X, "builds a module; got a NoneType"),
    "an error": (lambda n: nn.Linear(5, n // 0), X, r"ZeroDivisionError at width 6720 \(test_trace_limits.py:\d+"),
    "no batch": (modules.perceptron, torch.zeros(7), r"`trace\(x=...\)` must .* axis the batch; got shape \(7,\)"),
    "integers": (modules.perceptron, torch.zeros(2, 7, dtype=torch.long), r"linear \(0, .*weight that reads integers"),
    "another size": (modules.perceptron, torch.zeros(2, 8), r"line that torch.export can follow.*it was given shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(name):
    make_model, x, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as error:
        mupi.trace(make_model, x)
    assert "\n" not in str(error.value)


def test_a_change_seen_through_a_view_is_right_or_refused():
    with pytest.raises(ValueError, match="change in place of a tensor that is also seen through a view"):
        mupi.trace(*between(changed_half))


@pytest.mark.parametrize("widths", [(64,), (64, 64), (64, -1), (66, 78)])
def test_widths_that_say_nothing_are_refused(widths):
    with pytest.raises(ValueError, match=r"`trace\(widths=...\)` must be "):
        mupi.trace(modules.perceptron, torch.zeros(1, 7), widths=widths)


def test_the_page_about_your_own_network_runs_and_shows_what_it_prints(capsys):
    page = (Path(__file__).parents[2] / "docs" / "your-own-network.md").read_text(encoding="utf-8")
    blocks, shared = re.findall(r"```(python)?\n(.*?)```", page, re.DOTALL), {"__name__": "your_own_network"}
    for language, block in blocks:
        if language:
            exec(compile(block, "model.py", "exec"), shared)
        else:
            assert capsys.readouterr().out.strip() == block.strip()
