"""Trying a line out on a few numbers when it is written, so that a bad one is refused where it stands.

A probe of a vector has 8 rows for each of 4 radii: the same draws and their negatives, scaled. A product with a
Gaussian matrix is probed by new draws of the same radii. So how a line grows along the radii is how its Z grows with
the Gaussians in it; moments exist if that is more slowly than exp(z²): the Master Theorem's 'controlled' functions.
"""

import random
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mupi.checks import fail
from mupi.programs.line import CapturedError

RADII = (1.0, 6.0, 12.0, 24.0)
ROWS = 8

SHUFFLED = [5, 0, 7, 2, 19, 11, 1, 26]
"""Rows that are tried again."""


def draws(columns: int, seed: int) -> Float[Tensor, "rows k"]:
    """Gaussian rows at all radii."""
    z = torch.randn(ROWS // 2, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([radius * torch.cat([z, -z]) for radius in RADII])


def image(x: Float[Tensor, "rows k"], sigma: float, seed: int) -> Float[Tensor, "rows k"]:
    """For W @ x: draws of the size that x has at radius 1."""
    return sigma * x[:ROWS].square().mean(0).sqrt() * draws(x.shape[1], seed)


def average(x: Float[Tensor, "rows ..."]) -> Float[Tensor, "..."]:
    """A number of about the size of a moment; only its shape and order of magnitude mean anything."""
    return plausible(x[:ROWS].mean(0))


def plausible(scalar: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The same shape, and numbers that do no harm: the real ones are not known yet."""
    return scalar.nan_to_num(1.0).clamp(-10, 10)


def check_coordinatewise(
    line: str, f: Callable[..., Tensor], args: list, is_vector: list[bool], whole: Float[Tensor, "rows k"]
) -> None:
    """Raise unless each row of f(x, …) is a function of the same row of the vectors among ``args`` only.

    Some rows, in another order, must have the values that they had among all, and no random numbers may be drawn.
    """
    before = _random_states()
    try:
        part = f(*(x[SHUFFLED] if vector else x for x, vector in zip(args, is_vector, strict=True)))
    except CapturedError:
        raise
    except Exception as error:
        got = f"one that fails for {len(SHUFFLED)} rows of the {len(whole)}: {first_sentence(error)}"
        hint = "make a tensor with a number for each coordinate a vector of the program"
        fail(line, "a function of coordinates, of any number of rows", got, hint)
    same = part.shape == (len(SHUFFLED), *whole.shape[1:]) and torch.allclose(part, whole[SHUFFLED], equal_nan=True)
    if not same or before != _random_states():
        hint = "for averages use mean(x) or mean(x, y), and give scalars to f as arguments"
        fail(line, "a function of coordinates, the same for each", "one that mixes them, or a random one", hint)


def first_sentence(error: Exception) -> str:
    """Of what an error says."""
    said = " ".join(str(error).split()).split(". ")[0]
    return said if isinstance(error, ValueError | RuntimeError) and said else f"{type(error).__name__}: {said}"


def _random_states() -> tuple:
    """Of the generators that functions use if they are given none."""
    _, keys, *place = np.random.get_state(legacy=True)
    return torch.get_rng_state().numpy().tobytes(), np.asarray(keys).tobytes(), tuple(place), random.getstate()


def check_growth(line: str, probe: Float[Tensor, "rows k"]) -> None:
    """Raise if a line is not finite, or grows so fast that it has no moments."""
    levels = probe.reshape(len(RADII), ROWS, -1).abs().amax((1, 2)).tolist()
    if not torch.isfinite(probe[:ROWS]).all():
        fail(line, "finite", "NaN or infinity for Gaussian arguments", "restrict the argument, or clamp it")
    sizes = [torch.tensor(level).log1p().item() for level in levels if level < float("inf")]
    grown = len(sizes) < 2 or (sizes[-1] > 40 and sizes[-1] / sizes[-2] > 3.7)
    if grown:
        what = f"about {', '.join(f'{level:.1e}' for level in levels)} at {', '.join(f'{r:g}' for r in RADII)} s.d."
        fail(line, "of moments: to grow more slowly than exp(z²)", what, "its average has no limit")
