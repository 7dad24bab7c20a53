"""Choosing parametrizations on the command line."""

from dataclasses import dataclass
from typing import Annotated

from mupi.checks import fail, positive_int
from mupi.commands.options import SET, UNSET, Only
from mupi.parametrization import Parametrization

LARGEST_EXPONENT = 16
"""Of n: beyond it n^x is no number of float64 at the widths of networks, and all of theory lies within 2."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Parametrizations by name or by hand."""

    standard: bool = False
    """SP, a = 0, b = (0, ½, …, ½), with learning rate η/n^c."""
    ntk: bool = False
    """NTP, the neural tangent parametrization."""
    mean_field: bool = False
    """MFP, mean field, for one hidden layer."""
    mup: bool = False
    """μP, maximal update."""
    a: tuple[str, ...] = ()
    """By hand: (a_1, …, a_{L+1}), multiplier exponents, such as 0 1/2."""
    b: tuple[str, ...] = ()
    """By hand: (b_1, …, b_{L+1}), initialisation exponents."""
    c: str | None = None
    """Learning-rate exponent, by hand or of SP; None for 0."""
    depth: Annotated[
        int,
        Only(a=UNSET),
        Only(standard=(True,)),
        Only(ntk=(True,)),
        Only(mean_field=(True,)),
        Only(mup=(True,)),
        Only(map=SET),
    ] = 2
    """L, the number of hidden layers, of the named ones."""

    def __post_init__(self):
        positive_int("--depth", self.depth)
        if bool(self.a) != bool(self.b):
            fail("--a and --b", "given together", f"{len(self.a)} and {len(self.b)} exponents")
        if self.c is not None and not (self.a or self.standard):
            fail("--c", "given with --standard, or with --a and --b", self.c)
        # Here, so that a wrong exponent is refused before anything is computed.
        for p in self.parametrizations().values():
            for option, exponents in (("--a", p.a), ("--b", p.b), ("--c", (p.c,))):
                for exponent in exponents:
                    if abs(exponent) > LARGEST_EXPONENT:
                        must = f"of exponents from −{LARGEST_EXPONENT} to {LARGEST_EXPONENT}"
                        fail(option, must, f"{float(exponent):.3g}")

    def parametrizations(self) -> dict[str, Parametrization]:
        """By the names under which to show them; empty if none is chosen."""
        c = self.c or "0"
        chosen: dict[str, Parametrization] = {}
        if self.standard:
            chosen["SP" if c == "0" else f"SP, lr η/n^{c}"] = Parametrization.standard(self.depth, c)
        if self.ntk:
            chosen["NTP"] = Parametrization.ntk(self.depth)
        if self.mean_field:
            chosen["MFP"] = Parametrization.mean_field(self.depth)
        if self.mup:
            chosen["μP"] = Parametrization.mup(self.depth)
        if self.a:
            chosen["by hand"] = Parametrization(self.a, self.b, c)
        return chosen


def named(depth: int) -> dict[str, Parametrization]:
    """The papers' parametrizations; MFP is of one hidden layer whatever the depth."""
    return {
        "SP": Parametrization.standard(depth),
        "SP, lr η/n": Parametrization.standard(depth, c=1),
        "NTP": Parametrization.ntk(depth),
        "MFP" if depth == 1 else "MFP (L = 1)": Parametrization.mean_field(),
        "μP": Parametrization.mup(depth),
    }
