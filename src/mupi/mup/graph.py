"""The graph of the user's module, where `mupi.trace` can read it, or why it cannot."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from mupi.architecture.architecture import Architecture
from mupi.architecture.trace import trace
from mupi.architecture.trace.run import WIDTHS


def read(
    make_model: Callable[[int], nn.Module], example: Any, base_width: int, width: int
) -> tuple[Architecture | None, str]:
    """What `mupi.trace` reads, at widths that the factory takes; or None and the reason in a line.

    Args:
        make_model: Builds the module of a width.
        example: What it takes.
        base_width: The base.
        width: The width.
    """
    if example is None:
        return None, "no example was given"
    if not isinstance(example, Tensor | np.ndarray):
        return None, f"its input is a {type(example).__name__}, and mupi.trace takes one tensor"
    reason = ""
    for widths in dict.fromkeys([WIDTHS, (base_width, width), (base_width, 2 * base_width)]):
        if widths[0] == widths[1]:
            continue
        try:
            return trace(make_model, example, widths=widths), ""
        except ValueError as error:
            reason = reason or str(error)
            if "width" not in str(error):
                break
        except Exception as error:
            # Whatever a module brings trace to: μP goes by shapes then, and says so.
            reason = reason or f"{type(error).__name__}: {error}".splitlines()[0]
            break
    return None, reason
