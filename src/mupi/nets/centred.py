"""The activation and the features that convolutional and attention networks take where none are given."""

from mupi.activations import NormalizedPolynomial
from mupi.features import Hermite

CENTRED = NormalizedPolynomial.with_weights(0.0, 0.25, 0.5)
"""Kernel |b||g|(q/4 + q²/2). Without a constant part, which is what averages over positions mostly see of ReLU's kernel
(1/2π + q/4 + q²/4π + …), and with a strong quadratic one; `Hermite(2)` is exact for it."""

LEAN = Hermite(2, subspace=16, renew_every=2**20, window=1024)
"""Every position is an input, so directions are renewed after more of them, and fewer are kept."""
