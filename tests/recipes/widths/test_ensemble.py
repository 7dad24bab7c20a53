"""`mupi recipe ensemble`: trained networks inside the bands that their kernels predict."""

import json
from dataclasses import replace
from math import inf

import pytest
import torch

from assertions import assert_close
from mupi import Erf
from mupi.architecture.zoo import perceptron
from mupi.kernels import KernelDynamics
from mupi.parametrization import Roles
from mupi.recipes.widths.ensemble import EnsembleConfig, ensemble, power_laws
from mupi.recipes.widths.trained_ensemble import Bands, Curve, Training, train_ensemble

SIGMAS = 1.5, 0.3


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> EnsembleConfig:
    return EnsembleConfig(
        min_width=16, max_width=256, seeds=24, steps=(0, 4, 80), grid=12, out=tmp_path_factory.mktemp("e")
    )


@pytest.fixture(scope="module")
def found(config) -> dict[int, list[Bands]]:
    return ensemble(config)


def test_networks_are_inside_the_predicted_bands_at_every_time(found):
    for bands in found[256]:
        # 2 standard deviations hold 95.4 % of all outputs; those of one network hang together.
        assert 0.85 < bands.covered <= 1
        assert min(bands.p_mean, bands.p_variance) > 1e-3
        assert bands.variance_ratio == pytest.approx(1, abs=0.25)


def test_each_network_approaches_its_own_limit_at_the_rate_one_half(config, found):
    laws = power_laws(config.steps, found)
    assert [law.part for law in laws] == ["4 steps", "80 steps"]
    for law in laws:
        assert law.slope == pytest.approx(-0.5, abs=0.15)


def test_bands_of_another_variance_are_noticed(found):
    bands = found[256][-1]
    assert replace(bands, covariance=2 * bands.covariance).p_variance < 1e-3
    assert replace(bands, mean=bands.mean + bands.std).p_mean < 1e-3
    assert replace(bands, mean=bands.mean + bands.std).inside < 0.2 <= bands.inside


def test_networks_side_by_side_learn_what_each_learns_alone():
    arch, curve = perceptron(2, 1, depth=2, activation=Erf()), Curve.of(4, 5)
    training = Training((0, 3, 7), lr=0.7, momentum=0.5)
    together = train_ensemble(arch, 16, (3, 4), SIGMAS, curve, training, torch.float64)
    net = arch.finite(
        16, parametrization=Roles.ntk(), fan_in_multiplier=True, input_scale=1.5, hidden_scale=1.5, output_scale=1.5,
        bias_scale=0.2, sigma_b=1.0, generator=torch.Generator().manual_seed(1_000_003 * 16 + 4), dtype=torch.float64,
    )  # fmt: skip
    optimizer = torch.optim.SGD(net.parameter_groups(0.7), momentum=0.5)
    alone = [net(curve.inputs)[:, 0].detach()]
    for _ in range(7):
        optimizer.zero_grad()
        ((net(curve.X)[:, 0] - curve.targets).square().mean() / 2).backward()
        optimizer.step()
        alone.append(net(curve.inputs)[:, 0].detach())
    assert_close(together[1], torch.stack([alone[t] for t in (0, 3, 7)]), rtol=1e-10)


def test_the_last_step_is_near_the_end_of_training():
    config = EnsembleConfig()
    curve = Curve.of(config.points, config.grid)
    dynamics = KernelDynamics(perceptron(2, 1, depth=1, activation=Erf()).ntk(*SIGMAS)).fit(curve.X, curve.targets)
    last = dynamics.descend(curve.new, config.rate * dynamics.largest_lr, config.steps[-1])
    assert_close(last, dynamics.flow(curve.new, inf), rtol=0.1, scale=1.0)


def test_everything_is_written(config, found):
    assert {p.stem for p in config.out.iterdir()} == {"ensemble", "bands", "approach", "report"}
    saved = json.loads((config.out / "ensemble.json").read_text())
    assert [of["width"] for of in saved["widths"]] == [16, 32, 64, 128, 256]
    assert saved["widths"][-1]["bands"][1]["p_mean"] == found[256][1].p_mean
    assert len(saved["laws"]) == 2


@pytest.mark.slow
def test_fifty_networks_of_width_4096_are_inside_the_bands(tmp_path):
    config = EnsembleConfig(min_width=64, max_width=4096, out=tmp_path)
    found = ensemble(config)
    for bands in found[4096]:
        assert min(bands.p_mean, bands.p_variance) > 0.01
        assert bands.covered > 0.9
        assert bands.variance_ratio == pytest.approx(1, abs=0.15)
    for law in power_laws(config.steps, found):
        assert law.slope == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": (1, 2)}, "`--steps` must be 0 and then increasing; got 1 2"),
        ({"steps": (0, 4, 4)}, "`--steps` must be 0 and then increasing; got 0 4 4"),
        ({"rate": 1.0}, "`--rate` must be between 0 and 1; got 1.0"),
        ({"momentum": 1.0}, "`--momentum` must be from 0 to below 1; got 1.0"),
        ({"seeds": 2}, "`--seeds` must be at least 3; got 2"),
        ({"sigma_w": 0.0}, "`--sigma-w` must be positive; got 0.0"),
        ({"max_width": 100}, "`--max-width` must be at least twice --min-width, 128; got 100"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match="must be") as raised:
        EnsembleConfig(**options)
    assert str(raised.value) == message
