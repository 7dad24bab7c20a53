"""Choosing parametrizations on the command line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from mupi.checks import fail, positive_int
from mupi.commands.choices import Choice
from mupi.parametrization import Parametrization

LARGEST_EXPONENT = 16
"""Of n: beyond it n^x is no number of float64 at the widths of networks, and all of theory lies within 2."""


@dataclass(frozen=True, kw_only=True)
class Deep:
    """Of any depth."""

    depth: int = 2
    """L, the number of hidden layers, of those that are named."""

    def __post_init__(self):
        positive_int("--depth", self.depth)


@dataclass(frozen=True, kw_only=True)
class Every(Deep):
    """All that have a name, side by side."""

    def by_name(self) -> dict[str, Parametrization]:
        """See `named`."""
        return named(self.depth)


@dataclass(frozen=True, kw_only=True)
class Standard(Deep):
    """SP, a = 0, b = (0, ½, …, ½), with learning rate η/n^c."""

    c: str = "0"
    """Learning-rate exponent."""

    def by_name(self) -> dict[str, Parametrization]:
        """`Parametrization.standard`."""
        p = Parametrization.standard(self.depth, self.c)
        return {"SP" if self.c == "0" else f"SP, lr η/n^{self.c}": p}


@dataclass(frozen=True, kw_only=True)
class NTP(Deep):
    """NTP, the neural tangent parametrization."""

    def by_name(self) -> dict[str, Parametrization]:
        """`Parametrization.ntk`."""
        return {"NTP": Parametrization.ntk(self.depth)}


@dataclass(frozen=True)
class MeanField:
    """MFP, mean field, for one hidden layer."""

    def by_name(self) -> dict[str, Parametrization]:
        """`Parametrization.mean_field`."""
        return {"MFP": Parametrization.mean_field()}


@dataclass(frozen=True, kw_only=True)
class MuP(Deep):
    """μP, maximal update."""

    def by_name(self) -> dict[str, Parametrization]:
        """`Parametrization.mup`."""
        return {"μP": Parametrization.mup(self.depth)}


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """One of your own, by its exponents."""

    a: tuple[str, ...]
    """(a_1, …, a_{L+1}), multiplier exponents, such as 0 1/2."""
    b: tuple[str, ...]
    """(b_1, …, b_{L+1}), initialisation exponents."""
    c: str = "0"
    """Learning-rate exponent."""

    def by_name(self) -> dict[str, Parametrization]:
        """`Parametrization`."""
        return {"by hand": Parametrization(self.a, self.b, self.c)}


Named = Every | Standard | NTP | MeanField | MuP | ByHand

WORDS: Mapping[str, Named | type[ByHand]] = {
    "all": Every(),
    "standard": Standard(),
    "ntk": NTP(),
    "mean-field": MeanField(),
    "mup": MuP(),
    "by-hand": ByHand,
}

PARAMETRIZATIONS = Choice(
    WORDS, leading=True, several=True, was={f"--{word}": f"{word}, without dashes, in front" for word in WORDS}
)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Parametrizations by name or by hand."""

    parametrizations: Annotated[tuple[Named, ...], PARAMETRIZATIONS] = (Every(),)
    """Parametrizations; several are set side by side."""

    def __post_init__(self):
        # Here, so that a wrong exponent is refused before anything is computed.
        for p in self.by_name().values():
            for option, exponents in (("--a", p.a), ("--b", p.b), ("--c", (p.c,))):
                for exponent in exponents:
                    if abs(exponent) > LARGEST_EXPONENT:
                        must = f"of exponents from −{LARGEST_EXPONENT} to {LARGEST_EXPONENT}"
                        fail(option, must, f"{float(exponent):.3g}")

    def by_name(self) -> dict[str, Parametrization]:
        """By the names under which to show them."""
        return {name: p for one in self.parametrizations for name, p in one.by_name().items()}

    @property
    def depth(self) -> int:
        """L of the deepest."""
        return max(p.depth for p in self.by_name().values())


def named(depth: int) -> dict[str, Parametrization]:
    """The papers' parametrizations; MFP is of one hidden layer whatever the depth."""
    return {
        "SP": Parametrization.standard(depth),
        "SP, lr η/n": Parametrization.standard(depth, c=1),
        "NTP": Parametrization.ntk(depth),
        "MFP" if depth == 1 else "MFP (L = 1)": Parametrization.mean_field(),
        "μP": Parametrization.mup(depth),
    }
