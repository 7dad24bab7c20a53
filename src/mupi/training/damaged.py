"""One line for every file that cannot be read, whatever is wrong with it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_AGAIN = "start the run again with --overwrite"


class DamagedFile(ValueError):
    """A file of this library that is not as it was written, or was written by another version of it."""


@contextmanager
def understood(path: Path, advice: str = START_AGAIN) -> Iterator[None]:
    """Inside, whatever goes wrong with the contents of a file is said in one line.

    Args:
        path: The file whose contents are looked at.
        advice: What to do if it is of no use.

    Raises:
        DamagedFile: In place of all that looking at unexpected bytes may raise.
        OSError: If the file cannot be opened; it says so by itself.
    """
    try:
        yield
    except DamagedFile:
        raise
    # Bytes that are not what they were raise nearly anything in zipfile, pickle, json and load_state_dict.
    except Exception as error:
        # What is wrong with a file that cannot be opened or read is said by itself; EINVAL is of a place before it.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise DamagedFile(f"`{path}` is damaged or of another version; {advice}") from error
