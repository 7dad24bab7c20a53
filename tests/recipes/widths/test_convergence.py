"""`mupi convergence`: what it measures and writes, on sweeps of a few seconds."""

import json
from dataclasses import replace

import pytest
import torch

from mupi.recipes.widths.convergence import ConvergenceConfig, batches, convergence, distance, spread_of
from mupi.recipes.widths.convergence_plots import plot_gaps, plot_losses
from mupi.recipes.widths.width_sweep import WidthSweep
from mupi.statistics import PowerLaw


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> ConvergenceConfig:
    return ConvergenceConfig(
        ranks=(2, 8), min_width=16, max_width=512, mu_max_width=128, seeds=3, steps=3, out=tmp_path_factory.mktemp("c")
    )


@pytest.fixture(scope="module")
def sweeps(config) -> list[WidthSweep]:
    return convergence(config)


def test_networks_of_growing_width_approach_their_limit_at_the_rate_one_half(sweeps):
    """At realistic ranks, on real images, with clipping; the intervals are wide at these widths."""
    assert [sweep.name for sweep in sweeps] == ["π-net, r = 2", "π-net, r = 8", "μ-net"]
    for sweep in sweeps:
        assert sweep.overall.slope == pytest.approx(-0.5, abs=0.17)
        assert len(sweep.laws) == 4, "the start and three steps"
    for sweep in sweeps[:2]:
        assert sweep.limit is not None
        (widest, *_), (narrowest, *_) = sweep.losses[-1], sweep.losses[0]
        gaps = [sum(abs(a - b) for a, b in zip(curve, sweep.limit, strict=True)) for curve in (widest, narrowest)]
        assert gaps[0] < gaps[1]
    assert sweeps[2].limit is None


def test_everything_is_written(config, sweeps):
    assert {p.stem for p in config.out.iterdir()} == {"convergence", "losses", "gaps", "report"}
    saved = json.loads((config.out / "convergence.json").read_text())
    assert saved["sweeps"][1]["widths"] == [16, 32, 64, 128, 256, 512]
    assert saved["sweeps"][0]["overall"]["slope"] == sweeps[0].overall.slope


def test_figures_show_every_width_the_limit_and_the_slopes(sweeps):
    panels = plot_losses(sweeps).axes
    labels = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in panels]
    assert labels[0] == [*(f"n = {n}" for n in (16, 32, 64, 128, 256, 512)), "limit"]
    assert "limit" not in labels[2]
    sizes, slopes = plot_gaps(sweeps).axes
    (text, *_) = (t.get_text() for t in sizes.get_legend().get_texts())
    assert f"{sweeps[0].overall.slope:+.3f} ± {sweeps[0].overall.half_width:.3f}" in text
    assert len(slopes.get_legend().get_texts()) == 3


def test_the_distance_is_a_root_mean_square_at_each_step():
    a, b = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)
    a[1] = 2.0
    assert distance(a, b) == [0.0, 2.0]


def test_all_networks_see_the_same_batches_of_one_size(config):
    config = replace(config, steps=7, batch_size=4)
    first, second = (list(batches(10, config)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert [len(batch) for batch in first] == [4] * 7
    assert len(torch.cat(first[:2]).unique()) == 8, "no image twice in one pass"


@pytest.mark.parametrize(
    "field, value", [("seeds", 1), ("steps", 0), ("max_width", 70), ("mu_max_width", 1), ("ranks", (10_000,))]
)
def test_values_that_make_no_sense_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"--{field.replace('_', '-')}"):
        ConvergenceConfig(**{field: value})


@pytest.mark.parametrize("seeds", [2, 4])
def test_the_interval_of_a_spread_over_few_networks_covers_the_rate(seeds: int):
    """Simulated networks f = 1 + ε/√n: 95 % of the intervals hold −1/2, also for two networks, equally far from
    their mean."""
    g, widths, draws = torch.Generator().manual_seed(1), (64, 128, 256, 512, 1024), 600
    inside = 0
    for _ in range(draws):
        f = [1 + torch.randn(seeds, 1, 3, 1, generator=g) / n**0.5 for n in widths]
        sizes = tuple(tuple(spread_of(at)) for at in f)
        law = PowerLaw("s.d. of f", "μ-net", widths, sizes, -0.5)
        inside += abs(law.slope + 0.5) <= law.half_width
    assert 0.92 <= inside / draws <= 0.98


def test_the_spread_is_the_unbiased_standard_deviation():
    f = torch.randn(2000, 2, 5, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 3.0])[:, None, None]
    assert spread_of(f) == pytest.approx([1.0, 3.0], rel=0.01)
