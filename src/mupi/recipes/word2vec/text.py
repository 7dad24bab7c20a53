"""Text files, packed or not, as a stream of words."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from mupi.checks import fail

PIECE = 1 << 20
"""Characters held at a time: what a file's size does not change."""

LONGEST_WORD = 1 << 16
"""Characters; German has some of eighty."""

MOST_UNPACKED = 200
"""Times its size that a packed file may unpack to, beyond the first `PIECE`; text unpacks to 3 to 10 times."""

Normalizer = Callable[[Iterable[str]], Iterator[str]]
"""From pieces of text to pieces of text, cut anywhere."""


def words(path: Path, normalise: Normalizer | None = None, read: Callable[[int], None] | None = None) -> Iterator[str]:
    """Yield the words of a file: what white space separates, after normalisation.

    Args:
        path: Plain text, or packed as .xz, .gz, .bz2 or .zip (of one file); UTF-8 (a byte that is not becomes a �).
        normalise: For example `wikifil` for a dump of Wikipedia; None leaves the text as it is, as text8 needs it.
        read: Told how many bytes of the file, packed as it is, have been read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, a zip of more or less than one file, or no text: it has a word that is longer than
            `LONGEST_WORD`, or unpacks to more than `MOST_UNPACKED` times its size.
    """
    pieces = read_pieces(path, read)
    rest = ""
    for piece in pieces if normalise is None else normalise(pieces):
        found = (rest + piece).split()
        # A word may go on in the next piece; only what is before a space is known to be whole.
        rest = found.pop() if found and not piece[-1:].isspace() else ""
        if len(rest) > LONGEST_WORD:
            fail(str(path), f"a text, of words of at most {LONGEST_WORD:,} characters", "a longer one")
        yield from found
    yield from rest.split()


def read_pieces(path: Path, read: Callable[[int], None] | None = None) -> Iterator[str]:
    """Yield the file's text in pieces of `PIECE` characters; the arguments and errors are those of `words`."""
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` is missing; name a text file, plain or as .xz, .gz, .bz2 or .zip")
    try:
        with path.open("rb") as raw, unpacked(path, raw) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
            size, unpacked_size = path.stat().st_size, 0
            while piece := text.read(PIECE):
                unpacked_size += len(piece)
                if unpacked_size > PIECE + MOST_UNPACKED * size:
                    fail(str(path), f"a text that unpacks to at most {MOST_UNPACKED} times its size", "more")
                if read is not None:
                    read(raw.tell())
                yield piece
    # The last two: a method that Python has not, or a password that nobody gave.
    except (
        lzma.LZMAError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the system; those of gzip and bz2 have no number
        raise ValueError(f"`{path}` is damaged: it cannot be unpacked ({error}); fetch it again") from error


@contextmanager
def unpacked(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """The bytes that a file holds, by its suffix."""
    match path.suffix:
        case ".xz":
            with lzma.open(raw) as stream:
                yield stream
        case ".gz":
            with gzip.open(raw) as stream:
                yield cast(IO[bytes], stream)
        case ".bz2":
            with bz2.open(raw) as stream:
                yield stream
        case ".zip":
            with zipfile.ZipFile(raw) as archive:
                names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
                if len(names) != 1:
                    fail(str(path), "a zip of one file", f"{len(names)} files", "unpack the one you mean")
                with archive.open(names[0]) as stream:
                    yield stream
        case _:
            yield raw
