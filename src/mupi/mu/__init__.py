"""The μ-limit of training: a network that learns features, as wide as it gets, step by step of its optimizer."""

from mupi.mu.mu_limit import MuLimit
from mupi.mu.optimizers import SGD, Adam

__all__ = ["SGD", "Adam", "MuLimit"]
