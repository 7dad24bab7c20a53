"""Small archives of Omniglot's layout, to read instead of the real ones."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mupi.data import omniglot as module

ALPHABETS = {
    "images_background.zip": {"Alphabet_of_the_Magi": 7, "Armenian": 6},
    "images_evaluation.zip": {"Angelic": 2, "ULOG": 7},
}


def drawing(seed: int) -> bytes:
    """A black and white PNG: a stroke whose place depends on ``seed // 20``, and a little on ``seed % 20``."""
    paper = np.ones((105, 105), dtype=bool)
    character, hand = divmod(seed, 20)
    corner = 5 + (character * 37) % 70 + hand % 3
    paper[corner : corner + 9, (character * 53) % 80 + hand % 2 :][:, :20] = False
    buffer = io.BytesIO()
    Image.fromarray(paper).save(buffer, "PNG")
    return buffer.getvalue()


def write_archives(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write both, and have the library expect so few characters; 7 train, 6 validate, 7 test and 2 more train."""
    folder = directory / "omniglot"
    folder.mkdir(parents=True)
    for name, alphabets in ALPHABETS.items():
        write_archive(folder / name, alphabets)
    counts = {name: sum(alphabets.values()) for name, alphabets in ALPHABETS.items()}
    monkeypatch.setattr(module, "CHARACTERS", counts)
    monkeypatch.setattr(module, "TEST_CHARACTERS", 7)
    return directory


def write_archive(path: Path, alphabets: dict[str, int], replaced: dict[str, bytes] | None = None) -> None:
    """One archive; ``replaced`` gives other bytes for some names."""
    seed = 0 if "background" in path.name else 1000
    with zipfile.ZipFile(path, "w") as archive:
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                for hand in range(1, 21):
                    name = f"{path.stem}/{alphabet}/character{character:02}/{seed:04}_{hand:02}.png"
                    archive.writestr(name, (replaced or {}).get(name) or drawing(seed))
                    seed += 1
