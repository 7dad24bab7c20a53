"""Parts of a table to hold out, and mixtures of predictions for what was held out."""

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import nnls

MOST_ITERATIONS = 200


def parts(y: Float[np.ndarray, "n k"], count: int, random: np.random.RandomState) -> Int[np.ndarray, " n"]:
    """To which of ``count`` parts each row belongs, such that each part has its share of every class and of all values.

    Rows are sorted by their targets, equal ones at random, and dealt out in turn. So classes of few rows, or one, need
    no exception.

    Args:
        y: Targets, as numbers.
        count: Parts; at most as many as rows.
        random: Breaks ties.
    """
    keys = (random.permutation(len(y)), *y.T)
    part = np.empty(len(y), np.int64)
    part[np.lexsort(keys)] = np.arange(len(y)) % count
    return part


def mixture(
    likelihoods: Float[np.ndarray, "models n"], weight: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " models"]:
    """Weights of a mixture, those under which held-out rows are most probable (expectation maximization).

    Args:
        likelihoods: What each model gave to each row's true class.
        weight: What each row counts.
    """
    shares = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(MOST_ITERATIONS):
        joint = shares[:, None] * likelihoods
        new = (joint / np.maximum(joint.sum(0), 1e-300)) @ weight / weight.sum()
        if np.abs(new - shares).max() < 1e-4:
            break
        shares = new
    return shares


def average(
    predictions: Float[np.ndarray, "models n k"], y: Float[np.ndarray, "n k"], weight: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " models"]:
    """Weights of an average, positive and of sum 1, of least squared error on held-out rows.

    Args:
        predictions: Of each model.
        y: The rows' targets.
        weight: What each row counts.
    """
    root = np.sqrt(weight)[:, None]
    columns = (predictions * root).reshape(len(predictions), -1).T
    right = (y * root).ravel()
    # Of sum 1, as a row that weighs much more than all others.
    much = 1e3 * max(1.0, float(np.linalg.norm(columns)))
    found, _ = nnls(np.vstack([columns, np.full((1, len(predictions)), much)]), np.append(right, much))
    return found / found.sum()
