import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from mupi.recipes.mu_limit.feature_kernels import FeatureKernelsConfig, feature_kernels

OUT = Path("runs/feature-kernels")
SIZES = {"images": 4, "steps": 3, "samples": 600, "widths": (8, 512)}


def test_kernels_in_training_are_a_gif_with_a_picture_of_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    kernels = feature_kernels(FeatureKernelsConfig(**SIZES))
    assert list(kernels) == ["n = ∞", "n = 8", "n = 512"]
    assert all(k.shape == (3, 4, 4) and torch.allclose(k, k.mT, atol=1e-6) for k in kernels.values())
    with Image.open(OUT / "feature_kernels.gif") as moving:
        assert moving.n_frames == 3 and moving.format == "GIF"
    assert (OUT / "feature_kernels.png").read_bytes().startswith(b"\x89PNG")
    gaps = json.loads((OUT / "feature_kernels.json").read_text())["relative_gaps"]
    assert gaps["n = 512"] < 0.2 and gaps["n = 512"] < gaps["n = 8"]


def test_widths_that_are_the_same_are_refused():
    with pytest.raises(ValueError, match="`--widths` must be at least one width, all different"):
        FeatureKernelsConfig(widths=(64, 64))
