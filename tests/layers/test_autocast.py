"""In autocast products are of the lower precision; norms, features and sums, which suffer from it, are not."""

import pytest
import torch

import mupi
from cases import randn, seeded


@pytest.mark.parametrize("features", [mupi.Hermite(2), mupi.Hermite(2, subspace=4), mupi.RandomFeatures(40)], ids=str)
def test_junctions_and_gradients_are_those_of_float32_to_bfloat16s_rounding(features):
    net = mupi.PiCNN((3, 8, 8), 5, 8, pools=(2, 1), input_stride=1, subtract_mean=True, features=features,
                     readout_std=0.5, generator=seeded(), dtype=torch.float32)  # fmt: skip
    x = randn(16, 3, 8, 8, seed=1, dtype=torch.float32)

    def outcome():
        net.zero_grad()
        hidden = net.hidden(x)
        out = net(x)
        out.square().sum().backward()
        return [*hidden, out], [p.grad.clone() for p in net.parameters()]

    values, gradients = outcome()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low_values, low_gradients = outcome()
    rounding = 2**-8  # that of three layers in a row adds up: at most 2.4 of them in values, 7.2 in gradients
    for low, value in zip(low_values, values, strict=True):
        assert low.dtype == torch.float32
        assert 0 < (low - value).norm() < 4 * rounding * value.norm()
    low, whole = (torch.cat([part.flatten() for part in parts]) for parts in (low_gradients, gradients))
    assert (low - whole).norm() < 8 * rounding * whole.norm()
