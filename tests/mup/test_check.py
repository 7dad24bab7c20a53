"""`check` passes what is right, and finds and names what is wrong: planted faults at small size."""

import json
import re

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

import mupi
from architecture import traced_modules as modules
from mupi.mup import check_scaling, parametrize
from mupi.mup.check_result import CheckVerdict

WIDTHS = (16, 32, 64)
TOKENS = torch.randint(0, 11, (8, 6), generator=torch.Generator().manual_seed(0))
NEXT = TOKENS.roll(-1, 1)
X = torch.randn(16, 7, generator=torch.Generator().manual_seed(1))
Y = torch.arange(16) % 3


def language(out, y):
    return cross_entropy(out.flatten(0, 1), y.flatten())


def layers(width):
    return nn.Sequential(
        nn.Linear(7, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3, bias=False)
    )


class Transformer(nn.Module):
    """A causal block on tokens; q·k times a scale, and the readout perhaps the embedding."""

    def __init__(self, width, scale=None, tied=False):
        super().__init__()
        self.embed, self.norm = nn.Embedding(11, width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.scale, self.tied = scale, tied
        self.head = None if tied else nn.Linear(width, 11, bias=False)

    def forward(self, x):
        x = self.embed(x)
        y = self.norm(x)
        q, k, v = (w(y).unflatten(-1, (2, -1)).transpose(1, 2) for w in (self.query, self.key, self.value))
        scale = None if self.scale is None else self.scale / q.shape[-1]
        y = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
        x = self.norm(x + self.out(y.transpose(1, 2).flatten(2)))
        return x @ self.embed.weight.T * (16 / x.shape[-1]) if self.tied else self.head(x)


def in_mup(make_model, x=TOKENS):
    return parametrize(make_model, 16, 16, x)


@pytest.mark.parametrize("optimizer, lr", [(torch.optim.SGD, 0.1), (torch.optim.AdamW, 1e-2)])
def test_a_perceptron_in_mup_passes(optimizer, lr):
    result = in_mup(layers, X).check(X, Y, optimizer=optimizer, lr=lr, widths=WIDTHS, seeds=2)
    assert result.passed and result.verdict is CheckVerdict.LEARNS
    assert result.explain().splitlines()[0] == "learns features at every layer"
    assert result.prediction is not None and result.prediction.learns
    assert {c.law.part for c in result.compared if c.law.quantity == "|Δh|"} == {"0", "2"}


@pytest.mark.parametrize("tied", [False, True])
def test_a_transformer_in_mup_passes(tied):
    p = in_mup(lambda n: Transformer(n, scale=4, tied=tied))
    result = p.check(
        TOKENS, NEXT, language, optimizer=torch.optim.AdamW, lr=1e-2, widths=WIDTHS, seeds=2, weight_decay=0.1
    )
    assert result.passed, result.explain()


def test_attention_by_the_root_of_d_is_found():
    with pytest.warns(UserWarning, match="attention"):
        p = in_mup(Transformer)
    result = p.check(TOKENS, NEXT, language, optimizer=torch.optim.AdamW, lr=1e-2, widths=(16, 32), seeds=1)
    assert not result.passed and result.verdict is CheckVerdict.UNSTABLE
    (cause,) = result.causes
    assert cause.kind == "attention" and cause.part == "attention_1"
    assert re.fullmatch(r"test_check\.py:\d+", cause.where)
    assert "change by n^(1/2)" in str(cause) and "1/d" in cause.remedy
    assert "unstable: |Δq·k| of attention_1 (predicted n^+0.5)" in result.explain()


def test_a_readout_whose_1_over_n_is_forgotten_is_found():
    """The rates are μP's; the readout's initial values are those of a hidden weight."""

    def make_model(width):
        p = in_mup(layers, X).at(width)
        made[id(p.model)] = p
        with torch.no_grad():
            p.model[4].weight.mul_((width / 16) ** 0.5)
        return p.model

    made = {}
    result = check_scaling(
        make_model, X, Y, widths=WIDTHS, seeds=2, arch=mupi.trace(layers, X),
        make_optimizer=lambda model, width: made[id(model)].optimizer(torch.optim.AdamW, lr=1e-2),
    )  # fmt: skip
    assert not result.passed and result.verdict is CheckVerdict.UNSTABLE
    (cause,) = result.causes
    assert (cause.kind, cause.part) == ("start", "4.weight")
    assert "n^(-1/2)" in cause.what and "its 1/n is forgotten" in cause.remedy


def test_an_epsilon_that_hides_gradients_is_found():
    """One ε at all widths, larger than the gradients of hidden layers, which shrink as 1/n."""

    def make_optimizer(model, width):
        groups = made[id(model)].parameter_groups(torch.optim.AdamW, lr=1e-2)
        return torch.optim.AdamW([{**group, "eps": epsilon} for group in groups])

    def make_model(width):
        p = in_mup(layers, X).at(width)
        made[id(p.model)] = p
        return p.model

    made, epsilon = {}, 1e-2
    arguments = dict(arch=mupi.trace(layers, X), widths=WIDTHS, seeds=2, make_optimizer=make_optimizer)
    result = check_scaling(make_model, X, Y, **arguments)
    assert not result.passed
    assert {cause.part for cause in result.causes if cause.kind == "epsilon"} >= {"0.weight", "2.weight"}
    assert "Adam's ε = 0.01" in str(result.causes[0])
    assert "2.weight" in {c.law.part for c in result.differing}
    epsilon = 1e-12
    assert check_scaling(make_model, X, Y, **arguments).passed


def test_decay_that_is_coupled_to_the_rate_is_found():
    """`torch.optim.AdamW` multiplies decay by the rate: with a rate of 1/n wide layers would not decay at all."""

    def make_optimizer(model, width):
        groups = made[id(model)].parameter_groups(torch.optim.AdamW, lr=1e-2)
        return torch.optim.AdamW([{**group, "weight_decay": 0.1} for group in groups])

    def make_model(width):
        p = in_mup(layers, X).at(width)
        made[id(p.model)] = p
        return p.model

    made, arch = {}, mupi.trace(layers, X)
    result = check_scaling(make_model, X, Y, widths=WIDTHS, seeds=2, arch=arch, make_optimizer=make_optimizer)
    assert not result.passed
    assert {(cause.kind, cause.part) for cause in result.causes} == {("decay", "2.weight"), ("decay", "4.weight")}
    assert "lr·weight_decay is 0.001 at width 16 and 0.00025 at width 64" in str(result.causes[0])


def test_a_tied_embedding_at_the_rate_of_a_readout_is_found():
    def make_optimizer(model, width):
        groups = made[id(model)].parameter_groups(torch.optim.AdamW, lr=1e-2)
        for group in groups:
            if any(p is model.embed.weight for p in group["params"]):
                group["lr"] *= 16 / width
                group["weight_decay"] *= width / 16
        return torch.optim.AdamW(groups)

    def make_model(width):
        p = in_mup(lambda n: Transformer(n, scale=4, tied=True)).at(width)
        made[id(p.model)] = p
        return p.model

    made = {}
    arch = mupi.trace(lambda n: Transformer(n, scale=4, tied=True), TOKENS)
    arguments = dict(widths=WIDTHS, seeds=2, arch=arch, make_optimizer=make_optimizer)
    result = check_scaling(make_model, TOKENS, NEXT, language, **arguments)
    assert not result.passed
    found = [cause for cause in result.causes if cause.part == "embed.weight"]
    assert [cause.kind for cause in found] == ["tied"]
    assert "n^-1" in found[0].what and "the rate of an embedding" in found[0].remedy


def test_the_standard_parametrization_is_unstable_by_name():
    """One rate for all under Adam: hidden weights and readout step too far."""
    result = check_scaling(
        layers, X, Y, widths=(16, 32, 64), seeds=1,
        make_optimizer=lambda model, width: torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0),
    )  # fmt: skip
    assert result.verdict is CheckVerdict.UNSTABLE
    assert {(c.kind, c.part) for c in result.causes} == {
        ("start", "4.weight"),
        ("rate", "2.weight"),
        ("rate", "4.weight"),
    }


def test_nothing_grows_is_no_pass():
    """Standard parametrization with rates 1/n under SGD: a kernel regime."""
    result = check_scaling(
        layers, X, Y, widths=(16, 64, 256), seeds=2,
        make_optimizer=lambda model, width: torch.optim.SGD(model.parameters(), lr=16 / width),
    )  # fmt: skip
    assert result.verdict is CheckVerdict.LAZY and not result.passed
    assert result.explain().startswith("lazy layers: 0 (its own update moves it by n^-1.5), 2 (")
    assert {c.part for c in result.causes if c.kind == "rate"} == {"0.weight", "2.weight"}


def test_what_is_not_trained_is_not_lazy():
    def make_model(width):
        model = layers(width)
        model[0].requires_grad_(False)
        return model

    result = in_mup(make_model, X).check(X, Y, optimizer=torch.optim.AdamW, lr=1e-2, widths=WIDTHS, seeds=2)
    assert result.passed, result.explain()
    (zero,) = (c for c in result.compared if (c.law.quantity, c.law.part) == ("|Δh|", "0"))
    assert zero.law.zero and zero.predicted == "zero"


def test_a_readout_that_starts_at_zero_passes():
    def make_model(width):
        model = layers(width)
        nn.init.zeros_(model[4].weight)
        return model

    result = in_mup(make_model, X).check(X, Y, optimizer=torch.optim.AdamW, lr=1e-2, widths=WIDTHS, seeds=2)
    assert result.passed, result.explain()


def test_without_a_graph_there_is_no_prediction_and_it_is_said():
    class Recurrent(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.gru, self.read = nn.GRU(7, width, batch_first=True), nn.Linear(width, 3)

        def forward(self, x):
            return self.read(self.gru(x.unsqueeze(1))[0][:, 0])

    result = check_scaling(
        Recurrent, X, Y, widths=(16, 32), seeds=1,
        make_optimizer=lambda model, width: torch.optim.SGD(model.parameters(), lr=0.1),
    )  # fmt: skip
    assert result.prediction is None and "recurrent" in result.reason and not result.passed
    assert "no prediction: " in result.explain() and all(c.predicted == "" for c in result.compared)
    assert {c.law.part for c in result.compared} == {"gru[0]", "gru[1]", "f"}


def test_a_result_is_a_table_json_and_a_figure():
    result = in_mup(layers, X).check(X, Y, optimizer=torch.optim.SGD, lr=0.1, widths=(16, 32), seeds=2, steps=1)
    assert result.table().row_count == len(result.compared)
    read = json.loads(json.dumps(result.to_json()))
    assert read["verdict"] == result.verdict and len(read["laws"]) == len(result.compared)
    assert len(result.figure().axes) == 2


def test_wrong_arguments_are_refused():
    p = in_mup(layers, X)
    for changes, message in (
        (dict(widths=(16, 16)), "at least two different widths"),
        (dict(steps=0), r"`check\(steps=...\)` must be an integer ≥ 1"),
        (dict(optimizer=torch.optim.LBFGS), "one of rates by group"),
    ):
        with pytest.raises(ValueError, match=message):
            p.check(X, Y, **(dict(lr=0.1, widths=(16, 32)) | changes))


def test_a_module_that_is_another_at_another_width_is_refused():
    """Traced once, it must do the same at the widths of the check."""

    def make_model(width):
        return layers(width) if width > 100 else nn.Sequential(*layers(width)[:3], nn.Tanh(), layers(width)[4])

    with pytest.raises(ValueError, match="of modules that do what the traced graph does; got outputs that differ"):
        check_scaling(
            make_model, X, Y, widths=(16, 32), arch=mupi.trace(layers, X),
            make_optimizer=lambda model, width: torch.optim.SGD(model.parameters(), lr=0.1),
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("optimizer, lr", [(torch.optim.SGD, 0.1), (torch.optim.AdamW, 3e-3)])
@pytest.mark.parametrize("name", ["cnn", "resnet", "vit", "gpt", "gated", "swiglu", "tied"])
def test_measured_exponents_of_any_graph_are_the_predicted_ones(name, optimizer, lr):
    """At widths to 1024 (convolutions 256)."""
    images, classes = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(2)), torch.arange(16) % 10
    make_model, x, y, loss, widths = {
        "cnn": (modules.Cnn, images, classes, cross_entropy, (32, 64, 128, 256)),
        "resnet": (modules.PreActResNet, images, classes, cross_entropy, (32, 64, 128, 256)),
        "vit": (lambda n: modules.MupVit(n, 2, 16, 4), images, classes, cross_entropy, (64, 128, 256, 512)),
        "gpt": (lambda n: modules.MupGpt(n, 11, 6, 2, 4), TOKENS, NEXT, language, (64, 128, 256, 512)),
        "gated": (lambda n: modules.MupGpt(n, 11, 6, 1, 4, True), TOKENS, NEXT, language, (64, 128, 256, 512)),
        "swiglu": (modules.SwiGlu, X[:, :6], Y, cross_entropy, (64, 128, 256, 512, 1024)),
        "tied": (lambda n: Transformer(n, 4, True), TOKENS, NEXT, language, (64, 128, 256, 512, 1024)),
    }[name]
    p = parametrize(make_model, 2 * widths[0], widths[0], x)
    result = p.check(x, y, loss, optimizer=optimizer, lr=lr, widths=widths)
    assert result.passed, result.explain()


MUON = dict(optimizer=torch.optim.Muon, lr=0.05, rest=torch.optim.AdamW, rest_lr=1e-2)


@pytest.mark.parametrize("adjust", [None, "match_rms_adamw"])
def test_muon_with_adamw_passes_with_each_of_its_factors(adjust):
    options = {} if adjust is None else {"adjust_lr_fn": adjust}
    result = in_mup(layers, X).check(X, Y, widths=WIDTHS, seeds=2, **MUON, **options)
    assert result.passed, result.explain()
    assert result.prediction is not None and result.prediction.learns


def test_a_transformer_passes_with_muon():
    p = in_mup(lambda n: Transformer(n, scale=4))
    result = p.check(TOKENS, NEXT, language, widths=WIDTHS, seeds=2, weight_decay=0.1, **MUON)
    assert result.passed, result.explain()
    assert result.prediction is not None and result.prediction.learns


@pytest.mark.parametrize(
    ("times", "adjust", "kind"),
    [(lambda n: 16 / n, "original", "lazy"), (lambda n: 1.0, "match_rms_adamw", "unstable")],
    ids=["Adam's rates", "a factor that was not undone"],
)
def test_muon_at_other_rates_is_found(times, adjust, kind):
    """Hidden matrices at Adam's rates stand still; by torch's other factor, √n, they move too far at one rate."""

    def make_model(width):
        p = in_mup(layers, X).at(width)
        made[id(p.model)] = p
        return p.model

    def make_optimizer(model, width):
        both = made[id(model)].optimizer(**MUON, adjust_lr_fn=adjust)
        hidden = both.param_groups[0]
        hidden["weight_decay"] *= hidden["lr"] / (0.05 * times(width))
        hidden["lr"] = 0.05 * times(width)
        return both

    made = {}
    result = check_scaling(
        make_model, X, Y, arch=mupi.trace(layers, X), widths=WIDTHS, seeds=2, make_optimizer=make_optimizer
    )
    assert not result.passed and kind in result.verdict.value, result.explain()
    assert [(cause.kind, cause.part) for cause in result.causes] == [("rate", "2.weight")]
