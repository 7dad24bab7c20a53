"""`Architecture`: a description, and what can be read from it."""

from dataclasses import dataclass

from mupi.architecture.description import Description
from mupi.architecture.table import table


@dataclass(frozen=True)
class Architecture(Description):
    """A network as one description, from which everything else is read."""

    def __str__(self) -> str:
        return table(self)
