"""Names that stay inside the folder that they are put into."""

from mupi.checks import fail


def folder_name(argument: str, name: str | None) -> None:
    """Refuse a name that is no plain name of a folder.

    Args:
        argument: What the name was given as.
        name: None for one that the library makes.

    Raises:
        ValueError: If it is empty, begins with a dot as ``..`` does, has a slash, or what cannot be printed.
    """
    if name is not None and (not name.isprintable() or name[:1] in ("", ".") or "/" in name or "\\" in name):
        fail(argument, "a folder's name, without slashes and a dot at its beginning", repr(name), "use --runs-dir too")
