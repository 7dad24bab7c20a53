"""What the library cites is in docs/references.md."""

import pydoc
import re
from pathlib import Path

import mupi

REFERENCES = (Path(__file__).parents[1] / "docs" / "references.md").read_text(encoding="utf-8")
LISTED = set(re.findall(r"^- (.+?) (\d{4})\. ", REFERENCES, re.MULTILINE))

NAME = r"[A-Z][a-zéö]+"
CITED = re.compile(rf"((?:{NAME}, )*{NAME} & {NAME}|{NAME} et al\.|(?<=\(){NAME}) \(?((?:19|20)\d\d)\b")


def short(authors, year):
    """First author and year, as "Jacot et al." and "Jacot, Gabriel & Hongler" are the same."""
    return re.split(r",? (?:&|et)|,", authors)[0], year


def test_every_citation_is_listed():
    listed = {short(*entry) for entry in LISTED}
    assert len(LISTED) > 20
    missing = {}
    for path in sorted(Path(mupi.__file__).parent.rglob("*.py")):
        text = re.sub(r"\s*\n\s*", " ", path.read_text(encoding="utf-8"))
        for authors, year in CITED.findall(text):
            if short(authors, year) not in listed:
                missing[f"{authors} {year}"] = path.name
    assert not missing, f"not in docs/references.md: {missing}"


def test_what_it_says_is_where_exists():
    for name in re.findall(r"`mupi\.([\w.]+)`", REFERENCES):
        assert pydoc.locate(f"mupi.{name}") is not None, name
