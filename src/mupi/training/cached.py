"""Results that are computed once."""

import json
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from mupi.training.damaged import DamagedFile, understood
from mupi.training.records import check_fields
from mupi.training.sealed import read_sealed, write_sealed

REPLACE = "replace it with --overwrite, or choose another --name"

R = TypeVar("R")


def cached(
    path: Path,
    settings: Mapping[str, Any],
    compute: Callable[[], dict[str, Any]],
    parse: Callable[[dict[str, Any]], R],
    *,
    overwrite: bool = False,
    advice: str = REPLACE,
    current: Callable[[dict[str, Any]], Mapping[str, Any]] = dict,
) -> R:
    """The result that the file holds; if there is none, compute it and keep it there.

    Args:
        path: The file; JSON, or tensors if it ends in ``.pt``.
        settings: All that decides the result, as JSON has it.
        compute: Gives the result as the file has it.
        parse: Makes of that what is returned.
        overwrite: Compute it in any case.
        advice: What to do where the file is of other settings, or damaged.
        current: From settings as an earlier version has saved them to what this one would have.

    Raises:
        ValueError: If the file holds a result of other settings.
        DamagedFile: If it is not as it was written.
    """
    wanted = json.loads(json.dumps(settings))
    if path.exists() and not overwrite:
        saved = read_sealed(path, advice)
        if not (saved.keys() == {"settings", "result"} and isinstance(saved["settings"], dict)):
            raise DamagedFile(f"`{path}` is damaged or of another version; {advice}")
        with understood(path, advice):
            settings = dict(current(saved["settings"]))
        for name in wanted | settings:
            if (found := settings.get(name)) != (value := wanted.get(name)):
                raise ValueError(f"`{path}` is a result of {name} = {found!r}, not {value!r}; {advice}")
        with understood(path, advice):
            found = parse(saved["result"])
            if is_dataclass(found):
                check_fields(found)
            return found
    result = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, {"settings": wanted, "result": result})
    return parse(result)
