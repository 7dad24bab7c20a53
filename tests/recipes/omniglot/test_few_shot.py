import pytest
import torch
from sklearn.decomposition import PCA

from assertions import assert_close
from cases import randn
from mupi.recipes.omniglot.few_shot_records import Accuracy, Progress
from mupi.recipes.omniglot.plots import (
    plot_classes,
    plot_few_shot_curves,
    plot_width,
    principal_components,
    titled,
)
from mupi.training.records import columns


def test_components_from_inner_products_are_pca_of_the_points_up_to_sign():
    points = randn(20, 5)
    expected = torch.from_numpy(PCA(2).fit_transform(points.numpy()))
    ours = principal_components(points @ points.T)
    signs = (ours * expected).sum(0).sign()
    assert_close(ours * signs, expected, rtol=1e-9)


def test_accuracy_has_the_interval_of_its_tasks():
    shares = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64)
    accuracy = Accuracy.of(shares)
    assert accuracy.mean == pytest.approx(0.5)
    assert accuracy.half_width == pytest.approx(1.96 * float(shares.std()) / 2)
    assert str(accuracy) == "50.00 ± 25.30 %"


def test_curves_show_training_and_validation_accuracy_in_percent():
    progress = [Progress(10, 1.0, 0.5, 0.4, 1.0), Progress(20, 0.9, 0.6, 0.5, 2.0)]
    (axes,) = plot_few_shot_curves({"a": columns(progress)}).axes
    assert [line.get_xydata().tolist() for line in axes.get_lines()] == [[[10, 50], [20, 60]], [[10, 40], [20, 50]]]


def test_width_shows_the_means_and_each_limit_as_a_line():
    (axes,) = plot_width({8: [0.6, 0.7], 2: [0.5]}, {"limit": [0.66, 0.68]}).axes
    finite, limit = axes.get_lines()[0], axes.get_lines()[-1]
    assert finite.get_xydata().tolist() == [[2, 50], [8, pytest.approx(65)]]
    assert limit.get_ydata() == pytest.approx([67, 67])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(labels) == ["finite width", "limit"]


def test_models_are_called_as_in_the_text():
    assert titled({"model": "pi-limit", "width": None}) == "π-limit"
    assert titled({"model": "mu-net", "width": 2048, "linear": True}) == "μ-net, n = 2,048"
    assert titled({"model": "ntk", "linear": True}) == "NTK, linear"


def test_classes_have_a_panel_for_each_kernel():
    points = randn(6, 3)
    figure = plot_classes({"before": points @ points.T, "after": points @ points.T}, torch.arange(6) // 2)
    assert [axes.get_title() for axes in figure.axes] == ["before", "after"]
    assert all(sum(len(points.get_offsets()) for points in axes.collections) == 6 for axes in figure.axes)
