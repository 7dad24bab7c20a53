"""From outputs of a regression on classes to probabilities that are calibrated on rows that were left out."""

import math

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

SHARPNESS = (-4.0, 6.0)
"""Where log β is looked for."""


def log_probabilities(
    f: Float[np.ndarray, "n k"], prior: Float[np.ndarray, " k"], sharpness: float
) -> Float[np.ndarray, "n k"]:
    """log p(c | x) = log prior_c + β f_c(x) − log Σ: the prior where nothing is known, f = 0.

    Args:
        f: Outputs, around 0.
        prior: Shares of the classes, each above 0.
        sharpness: β, the inverse of a temperature.
    """
    return np.asarray(log_softmax(np.log(prior) + sharpness * f, axis=1))


def log_loss(logs: Float[np.ndarray, "n k"], y: Float[np.ndarray, "n k"], weight: Float[np.ndarray, " n"]) -> float:
    """The weighted mean of −Σ_c y_c log p(c).

    Args:
        logs: log p.
        y: Classes, one-hot, or shares.
        weight: Of each row.
    """
    return float(-(weight @ (y * logs).sum(1)) / weight.sum())


def calibrate(
    f: Float[np.ndarray, "n k"],
    prior: Float[np.ndarray, " k"],
    y: Float[np.ndarray, "n k"],
    weight: Float[np.ndarray, " n"],
) -> tuple[float, float]:
    """The sharpness β of least log loss (temperature scaling, Guo et al. 2017), and that loss.

    Args:
        f: Outputs for rows that they were not fitted to.
        prior: Shares of the classes.
        y: Classes of these rows.
        weight: Of each row.
    """
    # Before any search, outputs of any size are of size one.
    size = float(np.sqrt(np.square(f).mean())) or 1.0

    def loss(log_sharpness: float) -> float:
        return log_loss(log_probabilities(f, prior, math.exp(log_sharpness) / size), y, weight)

    found = minimize_scalar(loss, bounds=SHARPNESS, method="bounded")
    return math.exp(float(found.x)) / size, float(found.fun)
