"""What `mupi compare` sets side by side: each has the options that it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mupi.checks import positive_int
from mupi.commands.options import option


@dataclass(frozen=True, kw_only=True)
class NNGPRegression:
    """Regression with the NNGP kernel of the infinite perceptron."""


@dataclass(frozen=True, kw_only=True)
class NTKRegression:
    """Regression with its NTK."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network, trained once for each seed."""

    seeds: int = 3
    """Networks of each kind; they differ in the initial network and the order of the images."""
    epochs: int | None = None
    """Passes over the training images; the learning rate drops after four fifths. None for the presets'."""

    def __post_init__(self):
        for name in ("seeds", "epochs", "width"):
            if (value := getattr(self, name, None)) is not None:
                positive_int(option(name), value)


@dataclass(frozen=True, kw_only=True)
class Finite(Trained):
    """Of finite width."""

    width: int | None = None
    """Of the finite networks; None for the presets'."""


@dataclass(frozen=True, kw_only=True)
class StandardNet(Finite):
    """A finite network in the standard parametrization."""


@dataclass(frozen=True, kw_only=True)
class MuNet(Finite):
    """A finite network in μP."""


@dataclass(frozen=True, kw_only=True)
class PiNet(Finite):
    """A finite π-net."""


@dataclass(frozen=True, kw_only=True)
class PiLimit(Trained):
    """The π-limit, with Hermite features."""


@dataclass(frozen=True, kw_only=True)
class PiLimitExact(Trained):
    """The π-limit with Atoms, whose time and memory grow."""


Model = NNGPRegression | NTKRegression | StandardNet | MuNet | PiNet | PiLimit | PiLimitExact

MODELS: Mapping[str, Any] = {
    "nngp": NNGPRegression(),
    "ntk": NTKRegression(),
    "sp-net": StandardNet(),
    "mu-net": MuNet(),
    "pi-net": PiNet(),
    "pi-limit": PiLimit(),
    "pi-limit-exact": PiLimitExact(),
}
"""By the word, in the table's order."""


def usual(dataset: str) -> tuple[str, ...]:
    """Those that are compared if nothing else is said: all, but the exact limit only where it fits."""
    return tuple(name for name in MODELS if dataset == "digits" or name != "pi-limit-exact")
