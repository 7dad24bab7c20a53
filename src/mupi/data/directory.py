"""Where the files of the data sets lie."""

import os
from pathlib import Path

from mupi.extras import require

ENVIRONMENT_VARIABLE = "MUPI_DATA"


def data_directory(chosen: Path | str | None = None) -> Path:
    """Return ``chosen``, else the directory that ``$MUPI_DATA`` names, else the user's cache folder.

    Args:
        chosen: A directory that was asked for by name, on the command line say.

    Raises:
        FileNotFoundError: If that is not there: a name that was mistyped is not to become a folder of downloads.
    """
    if chosen is not None:
        if not Path(chosen).is_dir():
            raise FileNotFoundError(f"`{chosen}` is no folder; name one that exists as the data directory")
        return Path(chosen)
    if from_environment := os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(from_environment)
    require("pooch", "the place of the cache folder, with neither a data directory nor $MUPI_DATA,")
    import pooch

    return Path(pooch.os_cache("mupi"))
