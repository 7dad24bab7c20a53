"""Results in JSON files that are computed once."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def kept(
    path: Path,
    settings: Mapping[str, Any],
    compute: Callable[[], dict[str, Any]],
    *,
    overwrite: bool = False,
    otherwise: str = "choose another --name",
) -> dict[str, Any]:
    """The result that the file holds; if there is none, compute it and keep it there.

    Args:
        path: The file.
        settings: All that decides the result, as JSON has it.
        compute: Gives the result, as JSON has it.
        overwrite: Compute it in any case.
        otherwise: What to do, but overwriting, where the file is of other settings.

    Raises:
        ValueError: If the file holds a result of other settings.
    """
    settings = json.loads(json.dumps(settings))
    if path.exists() and not overwrite:
        saved = json.loads(path.read_text())
        for name, value in settings.items():
            if (found := saved.get("settings", {}).get(name)) != value:
                raise ValueError(
                    f"`{path}` is a result of {name} = {found!r}, not {value!r}; replace it with --overwrite, or "
                    + otherwise
                )
        return saved["result"]
    result = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"settings": settings, "result": result}, indent=1))
    partial.replace(path)
    return result
