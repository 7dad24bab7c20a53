"""`parametrize`: initial values, roles, and what stays as it is."""

import copy
import pickle
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from networks import GPT, TOKENS, VECTORS, ResNet, mlp
from torch import nn

import mupi


def seeded(make, *args, seed=0):
    torch.manual_seed(seed)
    return make(*args)


def roles(p):
    return {row.name: row.role for row in p.plan}


@pytest.mark.parametrize("example", [None, VECTORS])
def test_at_the_base_width_it_is_the_users_model_bit_for_bit(example):
    p = seeded(mupi.parametrize, mlp, 32, 32, example)
    after = torch.rand(())
    mine = seeded(mlp, 32)
    assert torch.rand(()) == after  # the global generator too
    assert all(torch.equal(a, b) for a, b in zip(p.model.parameters(), mine.parameters(), strict=True))
    groups = p.parameter_groups(torch.optim.AdamW, lr=1e-3)
    assert {(g["lr"], g["eps"], g["weight_decay"]) for g in groups} == {(1e-3, 1e-8, 0.01)}


def test_initial_values_are_the_users_draws_times_one_number_each():
    p = seeded(mupi.parametrize, mlp, 512, 32)
    after = torch.rand(())
    mine = seeded(mlp, 512)
    assert torch.rand(()) == after
    factors = {row.name: row.initial.factor for row in p.plan}
    for (name, ours), theirs in zip(p.model.named_parameters(), mine.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs * factors[name], rtol=1e-6, atol=0)
    # nn.Linear draws weights and biases by 1/√fan_in: a bias is brought back, a readout goes on to 1/n.
    expected = {"0.weight": 1, "0.bias": 1, "2.weight": 1, "2.bias": 4, "4.weight": 1 / 4}
    assert {name: factors[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert all(torch.equal(mine.get_parameter(n), p.model.get_parameter(n)) for n in ("0.weight", "0.bias", "2.weight"))


def drawn(draw):
    def make(n):
        net = mlp(n, bias=False)
        for p in net.parameters():
            draw(p)
        return net

    return make


LAWS = {
    "normal of one size": (lambda p: nn.init.normal_(p, std=0.02), (1, 1 / 4, 1 / 16)),
    "zeros": (nn.init.zeros_, (1, 1, 1)),
    "ones": (nn.init.ones_, (1, 1 / 4, 1 / 16)),
    "orthogonal": (nn.init.orthogonal_, (4, 1, 1 / 4)),
    "Kaiming": (nn.init.kaiming_normal_, (1, 1, 1 / 4)),
    "in μP already": (
        lambda p: nn.init.normal_(p, std=1 if p.shape[1] == 8 else p.shape[1] ** -(0.5 if p.shape[0] > 3 else 1)),
        (1, 1, 1),
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_the_users_own_law_is_taken_into_account_exactly(name):
    draw, factors = LAWS[name]
    p = seeded(mupi.parametrize, drawn(draw), 512, 32)
    assert [row.initial.factor for row in p.plan] == pytest.approx(factors, rel=1e-12)


def test_what_goes_by_no_power_is_measured_and_said_so():
    p = seeded(mupi.parametrize, drawn(lambda w: nn.init.normal_(w, std=1 / (1 + w.shape[0] ** 0.3))), 512, 32)
    row = p.plan[1]
    assert row.initial.law is None and 0 < row.initial.error < 0.05
    target = row.initial.base / 4
    assert float(p.model.get_parameter(row.name).square().mean().sqrt().detach()) == pytest.approx(target, rel=0.02)
    assert "measured ±" in p.explain()


def test_a_parameter_that_is_zero_at_one_width_only_is_refused():
    make = drawn(lambda w: nn.init.constant_(w, float(w.shape[0] == 32)))
    with pytest.raises(ValueError, match="zero at both widths or at none"):
        mupi.parametrize(make, 64, 32)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "example"), [(GPT, TOKENS), (ResNet, VECTORS)])
def test_shapes_and_kinds_find_the_roles_of_the_graph(make, example):
    by_graph, by_shapes = (seeded(mupi.parametrize, make, 64, 32, x) for x in (example, None))
    assert by_graph.architecture is not None and by_shapes.architecture is None
    assert [row.fans for row in by_graph.plan] == [row.fans for row in by_shapes.plan]
    assert "not looked for: no example was given" in " ".join(by_shapes.explain().split())


class Odd(nn.Module):
    """Several inputs, two outputs, and modules that the graph has no rules for."""

    def __init__(self, n):
        super().__init__()
        self.conv = nn.Conv2d(3, n, 3)
        self.norm = nn.BatchNorm2d(n)
        self.depthwise = nn.Conv2d(n, n, 3, groups=n)
        self.up = nn.ConvTranspose2d(n, 2 * n, 2)
        self.bag = nn.EmbeddingBag(5, n)
        self.rnn = nn.LSTM(n, n, 1)
        self.attention = nn.MultiheadAttention(n, 2)
        self.slope = nn.PReLU(n)
        self.last = nn.ConvTranspose2d(2 * n, 3, 2)

    def forward(self, x, i):
        return self.last(self.up(self.depthwise(self.norm(self.conv(x)).relu()))), self.bag(i)


def test_modules_that_cannot_be_traced_go_by_kinds():
    with pytest.warns(UserWarning, match="MultiheadAttention"):
        p = mupi.parametrize(Odd, 32, 16, (torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, dtype=torch.long)))
    assert "one tensor" in p.reason
    weights = {name.removesuffix(".weight"): role for name, role in roles(p).items() if name.endswith("weight")}
    assert weights == {
        "conv": "input", "norm": "vector", "depthwise": "input", "up": "hidden", "bag": "input",
        "attention.in_proj_weight": "hidden", "attention.out_proj": "hidden", "slope": "vector", "last": "readout",
    }  # fmt: skip
    assert roles(p)["rnn.weight_ih_l0"] == roles(p)["rnn.weight_hh_l0"] == "hidden"
    vectors = [name for name, role in roles(p).items() if role == "vector"]
    assert {"rnn.bias_ih_l0", "attention.in_proj_bias", "conv.bias", "up.bias"} <= set(vectors)
    assert roles(p)["last.bias"] == "finite"
    assert {row.fans.out_ratio for row in p.plan if row.role == "hidden"} == {Fraction(2)}


class Bare(nn.Module):
    def __init__(self, n, initial=torch.zeros):
        super().__init__()
        self.first, self.last = nn.Linear(8, n), nn.Linear(n, 3)
        self.token = nn.Parameter(initial(n))

    def forward(self, x, _=None):
        return self.last(self.first(x) + self.token)


def test_a_bare_parameter_is_refused_by_name_unless_its_role_is_given_or_the_graph_read():
    with pytest.raises(ValueError, match=r"given for `token` of shape \(16,\).*pass roles="):
        mupi.parametrize(Bare, 32, 16)
    assert roles(mupi.parametrize(Bare, 32, 16, roles={"tok*": "vector"}))["token"] == "vector"
    assert roles(mupi.parametrize(Bare, 32, 16, VECTORS))["token"] == "vector"
    assert roles(mupi.parametrize(lambda n: Bare(n, torch.ones), 32, 16))["token"] == "vector"
    overridden = mupi.parametrize(Bare, 32, 16, roles={"token": "readout"})
    assert overridden.plan[0].fans.in_ratio == 2 and overridden.plan[0].fans.out_ratio == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mupi.parametrize(mlp(8), 16, 8), "with_multipliers"),
        (lambda: mupi.parametrize(mlp, 0, 8), r"width=...\)` must be an integer ≥ 1"),
        (lambda: mupi.parametrize(lambda n: n, 16, 8), "builds a module"),
        (lambda: mupi.parametrize(mlp, 16, 8, roles={"0.weight": "first"}), "one of input, hidden"),
        (lambda: mupi.parametrize(mlp, 16, 8, roles={"nothing": "input"}), "names of parameters"),
        (lambda: mupi.parametrize(mlp, 16, 8, roles={"0.weight": "hidden"}), "as many growing axes"),
        (lambda: mupi.parametrize(lambda n: nn.Linear(8, 8), 16, 8), "weights that grow with the width"),
        (lambda: mupi.parametrize(lambda n: ResNet(n, n), 4, 3), "the same parameters at every width"),
        (lambda: mupi.parametrize(lambda n: nn.LazyLinear(n), 4, 3), "known shapes"),
        (lambda: mupi.parametrize(lambda n: mlp(n).to("meta"), 4, 3), "draws initial values"),
        (lambda: mupi.parametrize(lambda n: nn.Embedding(n, n), 4, 3), "the same rows"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_widths_that_are_not_proportional_go_by_the_actual_sizes():
    class Gated(nn.Module):
        def __init__(self, n):
            super().__init__()
            inner = -(-8 * n // 3 // 32) * 32
            self.first, self.last = nn.Linear(8, n), nn.Linear(n, 3)
            self.up, self.down = nn.Linear(n, inner, bias=False), nn.Linear(inner, n, bias=False)

        def forward(self, x):
            x = self.first(x)
            return self.last(x + self.down(self.up(x).relu()))

    for example in (None, VECTORS):
        p = mupi.parametrize(Gated, 96, 32, example)
        fans = {row.name: (row.fans.in_ratio, row.fans.out_ratio) for row in p.plan}
        assert fans["up.weight"] == (3, Fraction(256, 96)) and fans["down.weight"] == (Fraction(256, 96), 3)
        (down,) = (row for row in p.plan if row.name == "down.weight")
        assert down.initial.factor == 1  # drawn by 1/√fan_in as it is
        rates = {id(q): g["lr"] for g in p.parameter_groups(torch.optim.SGD, lr=1.0) for q in g["params"]}
        assert rates[id(p.model.up.weight)] == pytest.approx(256 / 96 / 3)


def test_class_keys_copies_and_checkpoints_are_those_of_the_users_module(tmp_path):
    p = seeded(mupi.parametrize, GPT, 64, 32)
    assert type(p.model) is GPT and list(p.model.state_dict()) == list(GPT(64).state_dict())
    other = GPT(64)
    other.load_state_dict(p.model.state_dict())
    i = torch.randint(11, (2, 6))
    out = p.model(i)
    for twin in (other, copy.deepcopy(p.model)):
        assert torch.equal(twin(i), out)
    torch.save(p.model.state_dict(), tmp_path / "checkpoint.pt")
    again = mupi.parametrize(GPT, 64, 32)
    again.model.load_state_dict(torch.load(tmp_path / "checkpoint.pt"))
    assert torch.equal(again.model(i), out)
    perceptron = mupi.parametrize(mlp, 64, 32).model
    restored = pickle.loads(pickle.dumps(perceptron))
    assert torch.equal(restored(VECTORS), perceptron(VECTORS))


def test_other_widths_of_the_same_plan():
    p = mupi.parametrize(mlp, 64, 32)
    assert p.at(128).width == 128 and p.at(128).architecture is p.architecture
    stds = [seeded(p.at, n).model[4].weight.std().detach() for n in (256, 512)]
    assert all(a / b == pytest.approx(2, rel=0.06) for a, b in pairwise(stds))
