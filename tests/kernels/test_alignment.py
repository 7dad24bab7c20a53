import pytest
import torch

from assertions import assert_close
from cases import randn
from mupi.kernels import centered_alignment


def test_it_is_the_cosine_of_the_centered_kernels():
    x, y = randn(7, 3), randn(7, 4, seed=1)
    h = torch.eye(7, dtype=torch.float64) - 1 / 7
    a, b = h @ x @ x.T @ h, h @ y @ y.T @ h
    expected = torch.trace(a @ b) / torch.trace(a @ a).sqrt() / torch.trace(b @ b).sqrt()
    assert_close(centered_alignment(x @ x.T, y @ y.T), expected)


def test_scale_rotation_and_shift_of_the_features_change_nothing():
    x = randn(6, 3)
    turned = 2.5 * x @ torch.linalg.qr(randn(3, 3, seed=2)).Q + randn(3, seed=3)
    assert_close(centered_alignment(x @ x.T, turned @ turned.T), torch.ones((), dtype=torch.float64))


def test_kernels_of_orthogonal_centered_features_have_none():
    x = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    kernels = [v.outer(v) for v in x.T]
    assert_close(centered_alignment(*kernels), torch.zeros((), dtype=torch.float64), scale=1.0)


@pytest.mark.parametrize(
    "k1, k2, word",
    [
        (torch.eye(3), torch.eye(2), "one size"),
        (torch.ones(2, 3), torch.ones(2, 3), "square"),
        (torch.ones(2, 2), torch.eye(2), "constant"),
        (torch.full((2, 2), torch.nan), torch.eye(2), "k1"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_kernels_are_refused(k1, k2, word):
    with pytest.raises(ValueError, match=word):
        centered_alignment(k1, k2)
