"""What many tests run over."""

import torch

from mupi import GELU, Abs, Activation, Cos, Erf, Identity, LeakyReLU, Polynomial, Quadrature, ReLU, Sin, Tanh

CLOSED_FORM: dict[str, Activation] = {
    "relu": ReLU(),
    "leaky": LeakyReLU(0.1),
    "leaky-negative": LeakyReLU(-0.7),
    "abs": Abs(),
    "erf": Erf(),
    "gelu": GELU(),
    "sin": Sin(),
    "cos": Cos(),
    "identity": Identity(),
    "polynomial": Polynomial((0.3, -1.0, 0.5, 0.2)),
}
BY_QUADRATURE: dict[str, Activation] = {
    "tanh": Tanh(),
    "softplus": Quadrature(torch.nn.functional.softplus),
}
ACTIVATIONS = CLOSED_FORM | BY_QUADRATURE
SMOOTH = {name: φ for name, φ in ACTIVATIONS.items() if name not in ("relu", "leaky", "leaky-negative", "abs")}


def seeded(seed: int = 0) -> torch.Generator:
    """A generator that makes a test's draws its own."""
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Standard normal draws, the same in every dtype."""
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed)).to(dtype)
