"""`Attention`, `InputConv2d` and `normalize` against their definitions."""

import pytest
import torch
from torch.nn.functional import conv2d

from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import Attention, InputConv2d, normalize


def attention(**options):
    return Attention(4, 2, 3, generator=seeded(), dtype=torch.float64, **options)


@pytest.mark.parametrize("causal", [False, True])
def test_the_definition_by_loops(causal):
    net, g = attention(causal=causal, scale=0.5), randn(2, 5, 4)
    out = torch.zeros_like(g)
    for head in range(2):
        columns = slice(3 * head, 3 * head + 3)
        q, k, v = (g @ layer.weight[:, columns] for layer in (net.query, net.key, net.value))
        for p in range(5):
            seen = range(p + 1) if causal else range(5)
            logits = torch.stack([(q[:, p] * k[:, s]).sum(-1) for s in seen], -1) * 4 / 3**0.5
            weights = logits.softmax(-1)
            assert_close(net.weights(g)[:, head, p, : len(weights[0])], weights)
            out[:, p] += 0.5 * torch.einsum("bs,bsv->bv", weights, v[:, : len(weights[0])]) @ net.out.weight[columns]
    assert_close(net(g), out)


def test_a_causal_position_does_not_see_later_ones():
    net, g = attention(causal=True), randn(1, 5, 4)
    other = g.clone()
    other[:, 3:] = randn(1, 2, 4, seed=1)
    assert_close(net(other)[:, :3], net(g)[:, :3])


def test_gradients_are_right():
    assert torch.autograd.gradcheck(attention(causal=True), (randn(1, 3, 4).requires_grad_(),))


def test_the_first_layer_is_a_convolution_whose_filters_have_norm_1():
    net, x = (
        InputConv2d(2, 3, 5, 2, scale=2.0, bias_scale=0.5, generator=seeded(), dtype=torch.float64),
        randn(2, 2, 6, 8),
    )
    assert_close(net.weight.flatten(1).norm(dim=1), torch.ones(3, dtype=torch.float64))
    with torch.no_grad():
        net.bias.copy_(randn(3))
    expected = 2 * (conv2d(x, net.weight, stride=2, padding=2) + 0.5 * net.bias[:, None, None])
    assert_close(net(x), expected.permute(0, 2, 3, 1))
    assert net(x).shape == (2, 3, 4, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normalized_vectors_have_norm_1_and_zero_stays_zero(dtype):
    g = randn(3, 4, dtype=dtype)
    assert_close(normalize(g).norm(dim=1), torch.ones(3, dtype=dtype))
    zero = torch.zeros(1, 4, dtype=dtype, requires_grad=True)
    normalize(zero).sum().backward()
    assert_equal(normalize(zero), torch.zeros(1, 4, dtype=dtype))
    assert torch.isfinite(zero.grad).all()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="heads"):
        Attention(4, 0, 3)
    with pytest.raises(ValueError, match=r"positions, r"):
        attention()(randn(4))
    with pytest.raises(ValueError, match="odd"):
        InputConv2d(2, 3, 4)
    with pytest.raises(ValueError, match=r"\(batch, 2, height, width\)"):
        InputConv2d(2, 3)(randn(1, 3, 4, 4, dtype=torch.float32))
