"""Real networks against the predicted exponents, and the commands that show it."""

import json
import math
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cases import randn, seeded
from mupi.activations import Tanh
from mupi.cli import main
from mupi.commands.abc_verdict import AbcConfig, abc
from mupi.commands.chosen import ByHand, Chosen, Every, MuP, Standard
from mupi.commands.coordcheck import CoordCheckConfig, check, coordcheck, protocol
from mupi.commands.train.activation_names import ACTIVATIONS
from mupi.data import load_digits
from mupi.nets import MLP, parameter_groups, with_multipliers
from mupi.optim import SGD
from mupi.parametrization import Parametrization
from mupi.parametrization.coordinate_check import WidthVerdict, coordinate_check, module_outputs
from mupi.parametrization.plane_sections import Verdict, classify, sections
from mupi.recipes.widths.lr_sweep import LrSweep
from mupi.recipes.widths.lr_transfer import LrTransferConfig, lr_transfer
from mupi.statistics import PowerLaw, trend

STABLE = {
    "SP, lr η/n": lambda depth: Parametrization.standard(depth, c=1),
    "NTP": Parametrization.ntk,
    "μP": Parametrization.mup,
}


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """32 digits of norm about 1, as `coordcheck` takes them."""
    data = load_digits().take(32, torch.Generator().manual_seed(0))
    return data.train_x.double() / 8, data.train_y


def exponents(p: Parametrization, config: CoordCheckConfig, digits: tuple[torch.Tensor, torch.Tensor]) -> dict:
    """Measured and predicted ones."""
    result = check(p, config, *digits, n_classes=10)
    return {(law.quantity, law.part): (law.slope, law.predicted) for law in result.laws}


def assert_as_predicted(p: Parametrization, config: CoordCheckConfig, digits, tolerance: float = 0.1) -> None:
    for (quantity, part), (slope, predicted) in exponents(p, config, digits).items():
        assert abs(slope - predicted) <= tolerance, f"{quantity} of {part}: {slope:.3f}, predicted {predicted}"


SMALL = CoordCheckConfig(min_width=64, max_width=512, seeds=3)
LARGE = CoordCheckConfig(min_width=64, max_width=2048, seeds=5)


@pytest.mark.parametrize("make", STABLE.values(), ids=STABLE)
def test_measured_exponents_are_the_predicted_ones(make, digits):
    assert_as_predicted(make(2), SMALL, digits)


def test_measured_exponents_of_mean_field_are_the_predicted_ones(digits):
    assert_as_predicted(Parametrization.mean_field(), SMALL, digits)


AT_EVERY_DEPTH = {f"{name}, L = {depth}": make(depth) for name, make in STABLE.items() for depth in (1, 2, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("name", [*AT_EVERY_DEPTH, "MFP"])
def test_measured_exponents_are_the_predicted_ones_at_every_depth(name: str, activation: str, digits):
    """Widths 2⁶ … 2¹¹."""
    p = AT_EVERY_DEPTH.get(name, Parametrization.mean_field())
    assert_as_predicted(p, replace(LARGE, activation=ACTIVATIONS[activation]), digits)


@pytest.mark.parametrize("p", [Parametrization.mup(2), Parametrization.ntk(2)], ids=["μP", "NTP"])
def test_adam_with_its_own_rates_moves_everything_as_sgd_is_predicted_to(p: Parametrization, digits):
    def make_model(width: int) -> MLP:
        return MLP(64, 10, width, 2, parametrization=p, activation=Tanh(), input_std=1.0, dtype=torch.float64)

    def make_optimizer(net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(net.parameter_groups(0.05, rates=p.adam_rates), eps=1e-14)

    widths = [64, 128, 256, 512]
    predicted = p.scalings()
    result = coordinate_check(
        make_model, widths, *digits, make_optimizer=make_optimizer, predicted=predicted, tolerance=0.15
    )
    assert result.passed, [(law.quantity, law.part, law.slope, law.predicted) for law in result.laws]


@pytest.mark.parametrize(
    ("p", "exponent"),
    [(Parametrization.ntk(2), -1), (Parametrization.standard(1, c=1), -2), (Parametrization.mup(2), 0)],
    ids=["NTP", "SP, lr η/n, L = 1", "μP"],
)
def test_the_feature_kernel_changes_as_predicted(p: Parametrization, exponent: int, digits):
    """1/n in the kernel regime, 1/n² where features themselves are all but fixed, Θ(1) in μP."""
    x, y = digits
    widths, sizes = (64, 128, 256, 512), []
    for n in widths:
        changes = []
        for seed in range(5):
            start = dict(sigma_w=1.6, input_std=1.0, readout_std=0.4, generator=seeded(seed), dtype=torch.float64)
            net = MLP(64, 10, n, p.depth, parametrization=p, activation=Tanh(), **start)
            before = net.feature_kernel(x, x).detach()
            optimizer = SGD(net.parameter_groups(4.0))
            for _ in range(4):
                cross_entropy(net(x), y).backward()
                optimizer.step()
            change = net.feature_kernel(x, x).detach() - before
            changes.append(float(change.square().mean().sqrt()))
        sizes.append(tuple(changes))
    law = PowerLaw("|ΔK|", "feature kernel", widths, tuple(sizes), float(p.scalings().feature_kernel_change))
    assert law.predicted == exponent
    assert law.agrees(0.15), f"{law.slope:.3f} ± {law.half_width:.3f}"


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_sp_grows_as_predicted_to_first_order(activation, digits):
    p = Parametrization.standard(2)
    steps, lr, predicted = protocol(p, SMALL)
    assert (steps, predicted.output_change) == (1, 1)
    assert lr == pytest.approx(4 / 512)
    measured = exponents(p, replace(SMALL, activation=ACTIVATIONS[activation], seeds=5), digits)
    assert measured["|Δf|", "f"][0] == pytest.approx(1, abs=0.15)
    assert measured["|Δh|", "layer 2"][0] == pytest.approx(0.5, abs=0.15)


def test_sp_at_an_ordinary_learning_rate_blows_up_with_width(digits):
    """And with rate η/n does not: the same rate at the smallest width."""
    x, y = digits

    def slope(p: Parametrization) -> float:
        def make_model(width: int) -> nn.Module:
            layers = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            return with_multipliers(layers.append(nn.Linear(width, 10)).double(), p, sigma_w=2**0.5, input_std=1.0)

        lr = 1.0 * 64 ** float(p.c)
        result = coordinate_check(
            make_model,
            [64, 128, 256, 512],
            x,
            y,
            make_optimizer=lambda net: torch.optim.SGD(parameter_groups(net, lr)),
            seeds=2,
        )
        assert result.verdict is (WidthVerdict.VANISHES if p.stable else WidthVerdict.GROWS)
        assert not result.passed
        (law,) = (law for law in result.laws if law.quantity == "|Δf|")
        assert trend(law, 0.1) == "grows" or p.stable
        return law.slope

    assert slope(Parametrization.standard(2)) > 1
    assert slope(Parametrization.standard(2, c=1)) < 0.1


def test_a_readout_smaller_than_its_update_moves_features_only_from_the_second_step_on(digits):
    """The exponents at one step and at more are other ones, and both are measured."""
    p = Parametrization((-Fraction(1, 2), 0, Fraction(1, 2)), (Fraction(1, 2), Fraction(1, 2), Fraction(3, 2)), 0)
    assert p.scalings(1).hidden_change == (-1, -1)
    assert p.scalings(2).hidden_change == (0, 0)
    for steps in (1, 2):
        assert_as_predicted(p, replace(SMALL, steps=steps), digits)


def test_the_check_works_on_a_users_own_modules():
    """Any module with parameters is a layer; used twice, it is two; what works in place does no harm."""

    class Residual(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.encode = nn.Linear(6, width)
            self.block = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(width, width))
            self.scale = nn.LayerNorm(width)
            self.read = nn.Linear(width, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.encode(x)
            for _ in range(2):
                h = h + self.block(h.clone())
            return self.read(self.scale(h)) / 2

    state = torch.get_rng_state()
    result = coordinate_check(
        Residual,
        [16, 32],
        randn(8, 6).float(),
        torch.arange(8) % 2,
        make_optimizer=lambda net: torch.optim.Adam(net.parameters(), lr=1e-3),
        seeds=2,
    )
    assert torch.equal(torch.get_rng_state(), state)
    parts = [law.part for law in result.laws if law.quantity in ("|Δh|", "|Δf|")]
    assert parts == ["encode", "block.1", "block.1 call 2", "scale", "read", "f"]
    assert all(law.predicted is None and math.isfinite(law.slope) for law in result.laws)
    assert result.table().row_count == len(result.laws) == 12
    assert json.loads(json.dumps(result.to_json()))["laws"][0]["widths"] == [16, 32]


def run(make_model, widths=(32, 128, 512), lr=0.1, seeds=3, x=None, optimizer=torch.optim.SGD):
    """A check of one rate for all parameters on 16 inputs of 6 numbers, two classes."""
    x = randn(16, 6).float() if x is None else x
    y = torch.arange(len(x)) % 2
    return coordinate_check(
        make_model, widths, x, y, make_optimizer=lambda net: optimizer(net.parameters(), lr), seeds=seeds
    )


def two_layers(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 2))


def in_mup(width: int, zero_readout: bool = False) -> nn.Module:
    """With rates that a plain optimiser's one rate gives: readout's divided by n, features' times n."""
    net = MLP(6, 2, width, 1, parametrization=Parametrization.mup(1), activation=Tanh(), input_std=1.0)
    if zero_readout:
        nn.init.zeros_(net.readout.weight)
    return net


def test_the_verdict_is_one_of_three():
    """μP learns; NTK parametrization's features freeze; standard parametrization at one rate blows up."""

    def in_ntp(width: int) -> nn.Module:
        return MLP(6, 2, width, 1, parametrization=Parametrization.ntk(1), activation=Tanh(), input_std=1.0)

    learns, vanishes, grows = run(in_mup), run(in_ntp), run(two_layers)
    assert learns.verdict is WidthVerdict.LEARNS and learns.passed
    assert vanishes.verdict is WidthVerdict.VANISHES and not vanishes.passed
    assert [law.part for law in vanishes.vanishing] == ["layers.0"]
    assert re.fullmatch(r"changes vanish with width: \|Δh\| of layers\.0 \(n\^-0\.\d\d\)", vanishes.explain())
    assert grows.verdict is WidthVerdict.GROWS and not grows.passed
    assert "|Δf| of f" in grows.explain()
    assert grows.to_json()["verdict"] == "grows"


def test_a_readout_that_starts_at_zero_is_no_failure():
    def make(width: int) -> nn.Module:
        return in_mup(width, zero_readout=True)

    assert run(make).verdict is WidthVerdict.LEARNS
    predicted = Parametrization.mup(1).scalings()
    result = coordinate_check(
        make,
        (32, 128, 512),
        randn(16, 6).float(),
        torch.arange(16) % 2,
        make_optimizer=lambda net: torch.optim.SGD(net.parameters(), 0.1),
        predicted=predicted,
    )
    (law,) = (law for law in result.laws if law.quantity == "|f|")
    assert law.zero and result.passed


def test_modules_that_return_tuples_and_dicts_are_seen():
    """A GRU and an attention, whose features freeze under SGD and blow up under Adam; a model that returns a dict."""

    class Model(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.gru = nn.GRU(3, width, batch_first=True)
            self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
            self.read = nn.Linear(width, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h, _ = self.gru(x.reshape(len(x), 2, 3))
            h, _ = self.attention(h, h, h)
            return self.read(h[:, 0])

    frozen = run(Model, widths=(16, 64, 256), lr=0.5)
    assert {law.part for law in frozen.laws} == {"gru[0]", "gru[1]", "attention[0]", "attention[1]", "f"}
    assert frozen.verdict is WidthVerdict.VANISHES and "gru[0]" in {law.part for law in frozen.vanishing}
    unstable = run(Model, widths=(16, 64, 256), lr=0.01, optimizer=torch.optim.Adam)
    assert unstable.verdict is WidthVerdict.GROWS
    assert {"attention[0]", "f"} <= {law.part for law in unstable.growing}

    class Dictionary(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.net = two_layers(width)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": self.net(x)}

    plain = run(two_layers)
    wrapped = coordinate_check(
        Dictionary,
        (32, 128, 512),
        randn(16, 6).float(),
        torch.arange(16) % 2,
        make_optimizer=lambda net: torch.optim.SGD(net.parameters(), 0.1),
        loss=lambda out, y: cross_entropy(out["logits"], y),
        seeds=3,
    )
    assert [law.part for law in wrapped.laws] == ["net.0", "f['logits']"] * 2
    assert [law.slope for law in wrapped.laws] == [law.slope for law in plain.laws]


@pytest.mark.parametrize("shaped", [nn.Identity(), nn.Unflatten(0, (4, 4)), nn.Flatten(0)], ids=str)
def test_a_readout_whose_output_is_reshaped_counts_once(shaped):
    def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(out.reshape(16, 2), y)

    def make(width: int) -> nn.Module:
        return two_layers(width).append(shaped)

    data = randn(16, 6).float(), torch.arange(16) % 2
    result = coordinate_check(make, (32, 64), *data, make_optimizer=lambda net: SGD(net.parameters()), loss=loss)
    assert [law.part for law in result.laws] == ["0", "f"] * 2


def test_a_frozen_layer_does_not_count_as_one_that_stops_learning():
    def make(width: int) -> nn.Module:
        net = MLP(6, 2, width, 2, parametrization=Parametrization.mup(2), activation=Tanh(), input_std=1.0)
        net.layers[0].requires_grad_(False)
        return net

    result = run(make)
    assert "layers.0" not in {law.part for law in result.laws}
    assert result.verdict is WidthVerdict.LEARNS


def test_parameters_of_the_model_itself_are_layers_too():
    """A matrix that no module has, transposed first, positions that are added, a token that is joined."""

    class Functional(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.u, self.w = nn.Parameter(torch.randn(width, 6)), nn.Parameter(torch.randn(width, width))
            self.token, self.shift = nn.Parameter(torch.zeros(1, width)), nn.Parameter(torch.zeros(width))
            self.fixed = nn.Parameter(torch.ones(width), requires_grad=False)
            self.read = nn.Linear(width, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.cat([torch.tanh(x @ self.u.T + self.shift), self.token]) * self.fixed
            return self.read((h @ (2 * self.w).mT)[:-1])

    values = module_outputs(Functional(8), randn(16, 6).float())
    assert {part: tuple(value.shape) for part, value in values.items()} == {
        "u": (16, 8), "shift": (16, 8), "token": (17, 8), "w": (17, 8), "f": (16, 2)
    }  # fmt: skip
    result = run(Functional)
    assert {law.part for law in result.laws} == {"u", "shift", "token", "w", "f"}
    # Entries of order one make n × n matrices too large: plain SGD blows up, which modules' outputs alone hid.
    assert {"w", "f"} <= {law.part for law in result.growing}


def test_numpy_inputs_take_the_dtype_of_the_model():
    x = randn(16, 6)
    assert run(two_layers, x=x.numpy()).to_json() == run(two_layers, x=x.float()).to_json()


def test_checks_that_would_say_nothing_are_refused():
    with pytest.raises(ValueError, match="of models whose passes are equal; got two different outputs of f; leave out"):
        run(lambda n: two_layers(n).append(nn.Dropout(0.5)))

    with pytest.raises(ValueError, match="of models made of modules .* got Linear, of which only the output"):
        run(lambda n: nn.Linear(6, 2))
    with pytest.raises(ValueError, match=r"`coordinate_check\(widths=...\)` must be an integer ≥ 1; got 0"):
        run(two_layers, widths=(0, 8))


def test_wrong_checks_are_refused():
    def run(**changes: object) -> None:
        arguments = dict(make_model=lambda n: nn.Sequential(nn.Linear(6, n), nn.Linear(n, 2)), widths=[8, 16])
        arguments |= dict(x=torch.ones(4, 6), y=torch.zeros(4, dtype=torch.long))
        arguments |= dict(make_optimizer=lambda net: torch.optim.SGD(net.parameters(), lr=0.1))
        coordinate_check(**(arguments | changes))

    with pytest.raises(ValueError, match=r"`coordinate_check\(widths=...\)` must be at least two different widths"):
        run(widths=[8, 8])
    with pytest.raises(ValueError, match=r"`coordinate_check\(steps=...\)`"):
        run(steps=0)
    with pytest.raises(ValueError, match="for a model of the layers 0, f; got 4 layers"):
        run(predicted=Parametrization.mup(3).scalings())


def test_power_laws_are_fitted_exactly_and_with_an_honest_interval():
    widths = (8, 16, 32, 64)
    exact = PowerLaw("|h|", "f", widths, tuple((3 * n**-0.5,) * 2 for n in widths), -0.5)
    assert exact.slope == pytest.approx(-0.5)
    assert exact.half_width < 1e-6
    assert exact.agrees(0.1) and trend(exact, 0.1) == "vanishes"
    assert exact.line(-0.5) == pytest.approx([3 * n**-0.5 for n in widths])
    equal = PowerLaw("|h|", "f", (3, 5, 7), ((0.1,), (0.7,), (1.3,)))
    assert all(gap == pytest.approx(0, abs=1e-15) and gap >= 0 for gaps in equal.spread for gap in gaps)
    noise = randn(200, 4, 6) * 0.3
    inside = 0
    for draw in noise.tolist():
        sizes = tuple(tuple(math.exp(e) for e in at) for at in draw)
        law = PowerLaw("|h|", "f", widths, sizes)
        inside += abs(law.slope) <= law.half_width
    assert 0.9 < inside / 200 <= 0.99


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (((1.0,), (math.inf,)), "not finite from width 16 on"),
        (((math.nan,), (1.0,)), "not finite from width 8 on"),
        (((0.0,), (0.0,)), "exactly zero"),
        (((1.0,), (1.0,)), "keeps its size"),
        (((1.0,), (2.0,)), "grows"),
    ],
)
def test_trends_in_words(sizes, words: str):
    law = PowerLaw("|Δh|", "layer 1", (8, 16), sizes, 0.0)
    assert trend(law, 0.1) == words
    assert law.agrees(0.1) == (words == "keeps its size")
    json.dumps(law.to_json(), allow_nan=False)


def test_the_command_writes_a_figure_and_a_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "made" / "here"
    shallow = (Standard(depth=1), MuP(depth=1))
    checks = coordcheck(CoordCheckConfig(parametrizations=shallow, max_width=256, seeds=3, out=out))
    assert list(checks) == ["SP", "μP"]
    assert checks["μP"].passed
    saved = json.loads((out / "coordcheck.json").read_text())
    assert saved["checks"]["μP"]["passed"]
    assert [law["predicted"] for law in saved["checks"]["μP"]["laws"]] == [0.0, -0.5, 0.0, 0.0]
    assert (out / "coordcheck.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "μP: L = 1, tanh, 3 steps at η = 4" in printed and "✓ keeps its size" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(max_width=64), "at least twice --min-width, 128; got 64"),
        (dict(seeds=0), "`--seeds` must be an integer ≥ 1"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_computed(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        CoordCheckConfig(**arguments)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("by-hand --a 0 1/2", "must be given all that it needs; got no --b"),
        ("by-hand --a 0 1/2 --b 0", "as long as a, 2; got 1"),
        ("mup --c 1", "`--c` must be left out unless beside standard or by-hand; got it beside mup"),
        ("mean-field --depth 2", "`--depth` must be left out, as there is none; got it beside mean-field"),
        ("--depth 0", "`--depth` must be an integer ≥ 1"),
        ("standard --c 1e300", "`--c` must be of exponents from −16 to 16; got 1e+300"),
        ("by-hand --a 0 17 --b 0 0", "`--a` must be of exponents from −16 to 16; got 17"),
        ("--mup", "`--mup` must be written otherwise now: mup, without dashes, in front"),
        ("mup mup", "`mupi abc` must be followed by different words; got mup mup"),
        ("sp", "`mupi abc` must be followed by one of all, standard, ntk, mean-field, mup, by-hand; got 'sp'"),
    ],
)
def test_parametrizations_that_there_are_not_are_refused_in_a_line(line: str, message: str, capsys):
    assert main(["abc", *line.split()]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_abc_explains_one_and_compares_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    abc(AbcConfig(parametrizations=(Standard(depth=3),)))
    one = capsys.readouterr().out
    assert "SP, L = 3: Unstable: training blows up with width" in one and "a_4: 0 → 1/2" in one and "n^(1/2)" in one
    abc(AbcConfig(map=tmp_path / "map.png", parametrizations=(Every(depth=1),)))
    all_of_them = capsys.readouterr().out
    assert "MFP: Maximal update parametrization" in all_of_them and "NTP: Kernel regime" in all_of_them
    assert (tmp_path / "map.png").stat().st_size > 10_000
    assert Chosen(parametrizations=(ByHand(a=("0", "1/2"), b=("0", "0")),)).by_name() == {
        "by hand": Parametrization.ntk(1)
    }


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_map_has_mup_at_the_corner_of_the_two_faces(depth: int):
    """Kernel regime on the edge from SP to μP, feature learning on the other face, μP where they meet."""
    plane, face = sections(depth)
    assert plane.at(*plane.where(Parametrization.mup(depth))).is_mup
    assert plane.at(*plane.where(Parametrization.mup(depth))) == face.at(*face.where(Parametrization.mup(depth)))
    for section in (plane, face):
        for verdicts in section.verdicts(Fraction(1, 8))[2]:
            assert set(verdicts) <= set(Verdict)
    x, y, verdicts = plane.verdicts(Fraction(1, 8))
    found = {(u, v): verdicts[j][i] for i, u in enumerate(x) for j, v in enumerate(y)}
    nontrivial = {at: v for at, v in found.items() if v in (Verdict.KERNEL, Verdict.FEATURES)}
    half = Fraction(1, 2)
    assert [at for at, v in nontrivial.items() if v is Verdict.FEATURES] == [(half, Fraction(0))]
    assert all(2 * a + c == 1 and 0 <= a <= half for a, c in nontrivial)
    assert classify(face.at(Fraction(2), Fraction(0))) is Verdict.FEATURES
    assert classify(face.at(half, Fraction(1))) is Verdict.KERNEL
    assert classify(face.at(half, Fraction(1, 2))) is Verdict.UNSTABLE


@pytest.mark.slow
def test_learning_rates_transfer_in_mup_and_drift_in_sp(tmp_path: Path):
    """On all digits, widths 64 to 1024. Narrow networks still gain from width, so μP's exponent is not quite 0."""
    sweeps = lr_transfer(LrTransferConfig(out=tmp_path))
    assert sweeps["SP"].drift < -0.5
    assert abs(sweeps["μP"].drift) < 0.5 * abs(sweeps["SP"].drift)


def test_the_sweep_writes_a_figure_and_a_json(tmp_path: Path):
    config = LrTransferConfig(
        parametrizations=(MuP(),), widths=(16, 32), log2_lr=(-4, -2), seeds=1, epochs=1, train_size=64, out=tmp_path
    )
    sweeps = lr_transfer(config)
    saved = json.loads((tmp_path / "lr_transfer.json").read_text())
    assert list(saved["sweeps"]) == ["μP"]
    assert saved["sweeps"]["μP"]["drift"] == sweeps["μP"].drift
    assert (tmp_path / "lr_transfer.png").stat().st_size > 10_000


def test_the_best_learning_rate_is_the_vertex_of_a_parabola():
    lrs = tuple(2.0**k for k in range(5))
    losses = tuple((math.exp((k - 2.3) ** 2),) for k in range(5))
    sweep = LrSweep((8, 16), lrs, (losses, (*losses[:2], *((math.inf,) for _ in range(3)))))
    assert sweep.best_lr(0) == pytest.approx(2**2.3)
    assert sweep.best_lr(1) == 2.0


def test_wrong_sweeps_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="`--widths` must be at least two different widths"):
        LrTransferConfig(widths=(8, 8))
    with pytest.raises(ValueError, match="`--log2-lr` must be two exponents"):
        LrTransferConfig(log2_lr=(0, 1))
    with pytest.raises(FloatingPointError, match="diverges at every learning rate; lower --log2-lr"):
        lr_transfer(LrTransferConfig(widths=(8, 16), log2_lr=(8, 10), seeds=1, epochs=1, train_size=64, out=tmp_path))
