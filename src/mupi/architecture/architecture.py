"""`Architecture`: a description, and what can be read from it."""

from dataclasses import dataclass
from typing import Any

from mupi.architecture.description import Description
from mupi.architecture.finite import FiniteNetwork
from mupi.architecture.table import table


@dataclass(frozen=True)
class Architecture(Description):
    """A network as one description, from which everything else is read."""

    def __str__(self) -> str:
        return table(self)

    def finite(self, width: int, **options: Any) -> FiniteNetwork:
        """The finite network of width n, in any abc-parametrization.

        Args:
            width: n.
            options: Those of `FiniteNetwork`: ``parametrization``, scales and standard deviations, ``generator``, …
        """
        return FiniteNetwork(self, width, **options)
