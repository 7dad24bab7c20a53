"""Where a text is looked for, and text8 fetched from."""

from pathlib import Path

from mupi.extras import require

NAME = "text8"
URL = "http://mattmahoney.net/dc/text8.zip"
SHA256 = "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"
SUFFIXES = ("", ".zip", ".xz", ".gz", ".bz2", ".txt", ".txt.xz", ".txt.gz", ".txt.bz2")


def find_text(name: str, directory: Path) -> Path:
    """The file of a text.

    Args:
        name: A path, or the name of a file in ``directory`` or its folder ``text``, where a suffix of packing may be
            left out. text8 is fetched to there if it is missing: the official ``text8.zip``.
        directory: The data directory, see `mupi.data.data_directory`.

    Raises:
        FileNotFoundError: If it is not there, and is not text8 or cannot be fetched.
    """
    for folder in (Path(), directory, directory / "text"):
        for suffix in SUFFIXES:
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return path
    hint = f"give a file, or the name of one in `{directory}` or `{directory / 'text'}`"
    if name != NAME:
        raise FileNotFoundError(f"found no text `{name}`, plain or packed; {hint}")
    require("pooch", f"the download of {NAME}")
    import pooch

    try:
        return Path(pooch.retrieve(URL, known_hash=f"sha256:{SHA256}", fname=f"{NAME}.zip", path=directory / "text"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FileNotFoundError(
            f"found no text `{NAME}`, and the download failed ({reason}); {hint}, or fetch {URL} to there by hand"
        ) from error
