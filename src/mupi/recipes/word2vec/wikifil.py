"""The normalisation behind text8 and fil9: from a dump of Wikipedia to words of a-z (Mahoney's wikifil.pl)."""

import re
import string
from collections.abc import Iterable, Iterator

from mupi.checks import fail

# Applied in this order to what lies inside <text> … </text>, piece by piece, each piece ending in ">".
RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.ASCII | (re.IGNORECASE if ignore_case else 0)), replacement)
    for pattern, replacement, ignore_case in (
        (r"<.*>", "", False),  # tags of the dump
        (r"&amp;", "&", False),
        (r"&lt;", "<", False),
        (r"&gt;", ">", False),
        (r"<ref[^<]*</ref>", "", False),
        (r"<[^>]*>", "", False),  # tags of the article
        (r"\[http:[^] ]*", "[", False),  # addresses, not the text shown for them
        (r"\|thumb", "", True),
        (r"\|left", "", True),
        (r"\|right", "", True),
        (r"\|\d+px", "", True),
        (r"\[\[image:[^\[\]]*\|", "", True),  # all of an image but its caption
        (r"\[\[category:([^|\]]*)[^]]*\]\]", r"[[\1]]", True),
        (r"\[\[[a-z\-]*:[^\]]*\]\]", "", False),  # links to other languages
        (r"\[\[[^|\]]*\|", "[[", False),  # the target of a link that shows another text
        (r"\{\{[^}]*\}\}", "", False),
        (r"\{[^}]*\}", "", False),
        (r"\[", "", False),
        (r"\]", "", False),
        (r"&[^;]*;", " ", False),
    )
)
# Only the first match of the first rule is replaced; of all others, every one.
FIRST_ONLY = RULES[0]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPELLED = str.maketrans(
    {upper: upper.lower() for upper in string.ascii_uppercase}
    | {str(digit): f" {name} " for digit, name in enumerate(DIGITS)}
)
NO_LETTERS = re.compile(r"[^a-z]+")


def letters(pieces: Iterable[str]) -> Iterator[str]:
    """Keep letters a-z: lower case, digits spelled out, everything else a space; for plain English text."""
    for piece in pieces:
        yield NO_LETTERS.sub(" ", piece.translate(SPELLED))


def wikifil(pieces: Iterable[str]) -> Iterator[str]:
    """Turn a dump of Wikipedia (enwik9, say) into clean text: what text8 and fil9 were made by.

    Keeps the text of articles that a reader sees, without tables, references, addresses and links to other
    languages; redirections are left out.
    """
    inside = False
    for record in split_after(pieces, ">"):
        if "<text " in record:
            inside = True
        if "#redirect" in record.lower():
            inside = False
        if not inside:
            continue
        if "</text>" in record:
            inside = False
        for rule in RULES:
            pattern, replacement = rule
            record = pattern.sub(replacement, record, count=1 if rule is FIRST_ONLY else 0)
        # The record's own last space is cut off: the next one starts with its own.
        yield NO_LETTERS.sub(" ", f" {record} ".translate(SPELLED))[:-1]


LONGEST_RECORD = 1 << 24
"""Characters between two ">"; the longest of Wikipedia are articles of some two million."""


def split_after(pieces: Iterable[str], end: str) -> Iterator[str]:
    """Cut a stream after each ``end``.

    Raises:
        ValueError: If there is none in `LONGEST_RECORD` characters.
    """
    rest = ""
    for piece in pieces:
        *records, rest = (rest + piece).split(end)
        if len(rest) > LONGEST_RECORD:
            fail("text", f"a dump of Wikipedia, with {end!r} at least every {LONGEST_RECORD:,} characters", "none")
        yield from (record + end for record in records)
    if rest:
        yield rest
