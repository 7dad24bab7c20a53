"""E f(u) g(v) of correlated Gaussians by nested panels, for functions that are smooth between given places."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(14)


def expectation(f: Function, g: Function, s_u: float, q: float, s_v: float, breaks: Sequence[float] = ()) -> float:
    """E f(s_u x) g(s_v y) for standard normals of correlation q.

    y = qx + √(1 − q²) z, and the panels of z move with x. There are edges at the breaks, at powers of 4 around each of
    them and around 0, and at every half unit.
    """
    widths = 4.0 ** np.arange(-2, 4)
    around = np.concatenate([[0.0], widths, -widths])
    places = np.unique(np.concatenate([around, *(b + around for b in breaks)]))
    x, weight = _rule(np.concatenate([places / s_u, places / s_v, -places / s_v])[None], 12.0)
    x, weight = x[0], weight[0]
    values = f(torch.from_numpy(s_u * x)).numpy() * weight
    root = np.sqrt((1 - q) * (1 + q))
    if root < 1e-12:
        return float(values @ g(torch.from_numpy(np.sign(q) * s_v * x)).numpy())
    seen = np.abs(values) > 1e-13 * np.abs(values).max()
    x, values = x[seen], values[seen]
    total = 0.0
    for i in range(0, len(x), 128):
        mean = q * x[i : i + 128, None]
        z, weight = _rule((places / s_v - mean) / root, 9.0)
        inner = g(torch.from_numpy(s_v * (mean + root * z))).numpy()
        total += float(values[i : i + 128] @ (weight * inner).sum(1))
    return total


def _rule(places: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for each row of edges, the Gaussian density among them."""
    grid = np.broadcast_to(np.arange(-radius, radius + 0.25, 0.5), (len(places), int(4 * radius) + 1))
    edges = np.sort(np.concatenate([grid, np.clip(places, -radius, radius)], 1), 1)
    half = np.diff(edges, axis=1)[..., None] / 2
    nodes = (edges[:, :-1, None] + half * (1 + NODES)).reshape(len(places), -1)
    weights = (half * WEIGHTS).reshape(len(places), -1) * np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
    return nodes, weights
