"""Entries of text tables: numbers, words, and what stands for none."""

import re
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
"""In small letters: what stands for an entry that there is not."""

INTEGER = re.compile(r"[+-]?[0-9]+")


def without_missing(entries: Iterable[str]) -> np.ndarray:
    """Entries as an array of objects: without space around them, None for one that is missing."""
    stripped = (entry.strip() for entry in entries)
    found = [None if entry.lower() in MISSING else entry for entry in stripped]
    words = np.empty(len(found), object)
    words[:] = found
    return words


def as_numbers(words: np.ndarray) -> Float[np.ndarray, " n"] | None:
    """Words as float64, NaN for None; None if one is no number."""
    try:
        # What Python writes 1_000 as is a name in a table.
        return np.array([np.nan if w is None else float(w if "_" not in w else "no number") for w in words], np.float64)
    except ValueError:
        return None


def as_words(values: np.ndarray) -> np.ndarray:
    """Numbers as a table of words would have them: whole ones without a point, None for NaN."""
    found = np.empty(len(values), object)
    found[:] = [None if v != v else str(int(v)) if v == int(v) else repr(float(v)) for v in values.tolist()]
    return found


def are_integers(words: np.ndarray) -> bool:
    """Whether all words are written as whole numbers."""
    return all(word is not None and INTEGER.fullmatch(word) for word in words)
