"""Duals from the tables of panels: a closed form beside what the rest of the function adds, with the error of it."""

from collections.abc import Callable

import torch
from torch import Tensor

from mupi.activations.activation import Pairs
from mupi.activations.mehler import mehler_sum, standardize
from mupi.activations.panel_tables import PanelTables

SMALL_SCALE = 1e-5
"""Below it, a quotient by a standard deviation that has a limit at 0 is taken at this one."""

WARN_ABOVE = 1e-3
"""The relative error of an expectation from which on more degrees are taken, and what stays is said."""

MORE = 4
"""How many times as many degrees are taken where the error would be said."""

Judge = Callable[[str, Tensor, Tensor], None]
"""Told what is computed, and the relative error at each standard deviation."""


def dual_by_panels(
    tables: PanelTables,
    exact: Callable[[Pairs, Pairs, Pairs], Pairs],
    pairs: tuple[Pairs, Pairs, Pairs],
    nodes: int,
    judge: Judge,
    *,
    slope: bool,
) -> Pairs:
    """E φφ or E φ'φ': the closed form's part and what the rest adds, with the bound of its error.

    Args:
        tables: The table of φ's coefficients at each pair's two scales.
        exact: The closed form of the dual of b, φ's part with the kinks.
        pairs: Variance of u, covariance, variance of v.
        nodes: How many degrees of the rest are kept.
        judge: Told the error before the sum is taken.
        slope: Whether it is the dual of φ' rather than of φ.
    """
    wide = tuple(t.double() for t in pairs)
    scale_u, q, scale_v = standardize(*wide)
    parallel = (q.abs() >= 1 - 1e-14) & (scale_u == scale_v)
    for degrees in (nodes, MORE * nodes):
        u, v = tables.table(scale_u, slope, degrees), tables.table(scale_v, slope, degrees)
        with torch.no_grad():
            error = u.bound(v) * torch.where(parallel, torch.zeros_like(q), q.abs() ** degrees)
            error = (error + u.rule + v.rule).nan_to_num(torch.inf)
        if not (error > WARN_ABOVE).any() or (u.rule > WARN_ABOVE).any() or (v.rule > WARN_ABOVE).any():
            break
    judge("φ'φ'" if slope else "φφ", error, torch.maximum(*torch.broadcast_tensors(scale_u, scale_v)))
    terms = [(u.rest, v.rest), (u.rest, v.near), (u.near, v.rest)]
    total = exact(*wide) + u.tail(v, q, degrees)
    for one, other in terms:
        total = total + mehler_sum(one.unbind(-1), q, other.unbind(-1))
    return total.to(pairs[1])


def curvature_by_panels(tables: PanelTables, pairs: tuple[Pairs, Pairs, Pairs], nodes: int, judge: Judge) -> Pairs:
    """E φφ'': the closed form's part and what the rest adds, which the last half of the degrees bounds."""
    wide = tuple(t.double() for t in pairs)
    scale_u, q, scale_v = standardize(*wide)
    divisor = scale_v.clamp_min(SMALL_SCALE)
    for degrees in (nodes, MORE * nodes):
        u, v = tables.table(scale_u, False, degrees), tables.table(scale_v, True, degrees)
        roots = torch.arange(1, degrees, dtype=torch.float64, device=q.device).sqrt()
        e_v, b_v = ((roots * c[..., 1:] / divisor[..., None]).unbind(-1) for c in (v.rest, v.near))
        e_u, b_u = (c[..., :-1].unbind(-1) for c in (u.rest, u.near))
        terms = [(e_u, e_v), (e_u, b_v), (b_u, e_v)]
        total, half = (
            sum((mehler_sum(one[:d], q, other[:d]) for one, other in terms), 0 * q) for d in (degrees - 1, degrees // 2)
        )
        with torch.no_grad():
            # Beside E φ'φ' b, this is multiplied by g: see `exact_input_gradient`.
            slopes = (tables.table(scale_u, True, nodes).size * v.size).sqrt()
            error = (total - half).abs() * scale_v / (scale_u * slopes).clamp_min(1e-300)
            error = torch.where(scale_u > SMALL_SCALE, error, torch.zeros_like(error)) + u.rule + v.rule
        if not (error > WARN_ABOVE).any():
            break
    judge("φφ''", error.nan_to_num(torch.inf), torch.maximum(*torch.broadcast_tensors(scale_u, scale_v)))
    return (tables.near.dual_02(*wide) + total).to(pairs[1])
