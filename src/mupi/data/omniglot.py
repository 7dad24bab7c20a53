"""Omniglot (Lake, Salakhutdinov & Tenenbaum 2015) from its two official archives: 1,623 characters × 20 drawings."""

import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import UInt8
from rich.progress import track
from torch import Tensor
from torch.nn.functional import interpolate

from mupi.extras import require

URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
FOLDER = "omniglot"
ARCHIVE_MD5 = {
    "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
}
CHARACTERS = {"images_background.zip": 964, "images_evaluation.zip": 659}
DRAWINGS = 20
MOST_ARCHIVE_BYTES = 64 << 20
"""Of an archive; the official ones have 9.5 and 6.5 MB."""
MOST_DRAWING_BYTES = 1 << 16
"""Of a drawing, packed as PNG or not; the official ones have some 250."""
DRAWN_SIZE = 105
SIZE = 28

VALIDATION_ALPHABETS = ("Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)")
"""Of the background set: 172 characters."""
TEST_CHARACTERS = 423
"""The last ones of the evaluation set, in alphabetical order of alphabets and characters."""


@dataclass(frozen=True, eq=False)
class Characters:
    """Drawings of some characters, a class each.

    Args:
        images: Ink is 255, paper 0, flattened.
        names: Alphabet and character of each class, and its rotation if that is not 0.
    """

    images: UInt8[Tensor, "classes drawings d"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def with_rotations(self) -> "Characters":
        """Four times as many classes: each character also turned by 90, 180 and 270 degrees."""
        classes, drawings, d = self.images.shape
        side = round(d**0.5)
        square = self.images.view(classes, drawings, side, side)
        turned = [square.rot90(k, (2, 3)).reshape(classes, drawings, d) for k in range(4)]
        suffixes = ("", *(f" at {90 * k}°" for k in range(1, 4)))
        return Characters(torch.cat(turned), tuple(name + suffix for suffix in suffixes for name in self.names))


@dataclass(frozen=True, eq=False)
class Omniglot:
    """The split of Vinyals et al. (2016) as torchmeta has it, which both papers use.

    Args:
        train: 1,028 characters and their rotations, 4,112 classes.
        validation: 172 characters of five other alphabets and their rotations, 688 classes.
        test: The other 423 characters, without rotations.
    """

    train: Characters
    validation: Characters
    test: Characters


def load_omniglot(directory: Path) -> Omniglot:
    """Return Omniglot at 28 × 28 pixels, all of it in memory (90 MB).

    The drawings of 105 × 105 black and white pixels become grey by a bilinear filter that is widened to the new
    pixel's size (antialiasing) and rounded to a byte: Pillow's and torchvision's `Resize(28)`, exactly.

    Read from ``omniglot/images_background.zip`` and ``omniglot/images_evaluation.zip`` in ``directory``, which are
    downloaded to there if missing.

    Args:
        directory: The data directory, see `data_directory`.

    Raises:
        FileNotFoundError: If an archive is missing and cannot be downloaded.
        ValueError: If an archive is damaged, or holds other images than 20 of each of 1,623 characters.
    """
    paths = [_archive(directory, name) for name in ARCHIVE_MD5]
    background, evaluation = (_read_archive(path) for path in paths)
    is_validation = [name.split("/")[0] in VALIDATION_ALPHABETS for name in background.names]
    first_test = len(evaluation) - TEST_CHARACTERS
    train = [(background, [i for i, out in enumerate(is_validation) if not out]), (evaluation, range(first_test))]
    return Omniglot(
        train=_select(*train).with_rotations(),
        validation=_select((background, [i for i, out in enumerate(is_validation) if out])).with_rotations(),
        test=_select((evaluation, range(first_test, len(evaluation)))),
    )


def load_characters(directory: Path, archive: str) -> Characters:
    """Return all characters of one archive, in alphabetical order, as `load_omniglot` reads them.

    Args:
        directory: The data directory.
        archive: A name of `ARCHIVE_MD5`.

    Raises:
        FileNotFoundError: As in `load_omniglot`.
        ValueError: As in `load_omniglot`.
    """
    return _read_archive(_archive(directory, archive))


def _archive(directory: Path, name: str) -> Path:
    """Where an archive is, downloaded if need be."""
    if not (directory / FOLDER / name).exists():
        _download(directory / FOLDER, name)
    return directory / FOLDER / name


def _select(*parts) -> Characters:
    """Some classes of some sets, as one set."""
    images = torch.cat([characters.images[list(classes)] for characters, classes in parts])
    return Characters(images, tuple(characters.names[i] for characters, classes in parts for i in classes))


def _read_archive(path: Path) -> Characters:
    """All images of an archive, by name; its 20 drawings make a class."""
    if (size := path.stat().st_size) > MOST_ARCHIVE_BYTES:
        _damaged(path, f"it has {size:,} bytes")
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(n for n in archive.namelist() if n.endswith(".png") and n.startswith(f"{path.stem}/"))
            drawings = Counter(name.rpartition("/")[0] for name in names)
            classes = sorted(drawings)
            wanted = (CHARACTERS[path.name], CHARACTERS[path.name] * DRAWINGS)
            if (len(classes), len(set(names))) != wanted:
                _damaged(
                    path, f"it holds {len(names)} images of {len(classes)} characters, not {wanted[1]} of {wanted[0]}"
                )
            if uneven := [name for name in classes if drawings[name] != DRAWINGS]:
                _damaged(path, f"it holds {drawings[uneven[0]]} images of {uneven[0]}, not {DRAWINGS}")
            drawn = np.stack(
                [_read_image(archive, name) for name in track(names, f"reading {path.name}", transient=True)]
            )
    # A method that Python has not, or a password that nobody gave.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        _damaged(path, f"it cannot be unpacked ({error})")
    shrunk = torch.cat([_shrink(part) for part in _parts(drawn)])
    return Characters(shrunk.view(len(classes), DRAWINGS, SIZE**2), tuple(name.partition("/")[2] for name in classes))


def _read_image(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """A drawing as booleans, True for ink."""
    require("PIL", "reading Omniglot's drawings")
    from PIL import Image

    where = f"{archive.filename}:{name}"
    if (size := archive.getinfo(name).file_size) > MOST_DRAWING_BYTES:
        _damaged(Path(where), f"it unpacks to {size:,} bytes")
    content = io.BytesIO(archive.read(name))
    try:
        # The size is known before any pixel is.
        with Image.open(content, formats=["PNG"]) as image:
            if image.size == (DRAWN_SIZE, DRAWN_SIZE):
                return ~np.asarray(image.convert("1"))
            found = f"it is {image.width} × {image.height} pixels, not {DRAWN_SIZE} × {DRAWN_SIZE}"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        found = f"it is no image ({error})"
    _damaged(Path(where), found)


def _parts(drawn: np.ndarray) -> Iterator[np.ndarray]:
    """A few images at a time, since they are large before they are shrunk."""
    return (drawn[i : i + 2000] for i in range(0, len(drawn), 2000))


def _shrink(ink: np.ndarray) -> UInt8[Tensor, "n 784"]:
    gray = torch.from_numpy(ink.astype(np.uint8) * 255)[:, None]
    return interpolate(gray, size=(SIZE, SIZE), mode="bilinear", antialias=True).flatten(1)


def _download(folder: Path, name: str) -> None:
    require("pooch", "the download of Omniglot")
    import pooch

    try:
        pooch.retrieve(URL + name, known_hash=f"md5:{ARCHIVE_MD5[name]}", fname=name, path=folder)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"found no `{folder / name}`, and the download failed ({' '.join(str(error).split())}); fetch {URL}{name} "
            f"(MD5 {ARCHIVE_MD5[name]}) to there by hand, or name another directory by --data-dir or $MUPI_DATA"
        ) from error


def _damaged(path: Path, reason: str) -> NoReturn:
    raise ValueError(f"`{path}` is damaged: {reason}; remove the archive to have it downloaded again from {URL}")
