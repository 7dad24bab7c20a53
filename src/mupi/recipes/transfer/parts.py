"""The ways of using features, and what they are set beside: each has the options that it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mupi.checks import fail, non_negative, positive_int
from mupi.commands.choices import Choice
from mupi.commands.options import option

PartName = Literal["kernel", "probe", "readout"]


def check_tried(name: str, values: tuple[float, ...]) -> None:
    """Refuse what cannot be tried, by the option's name."""
    if not values:
        fail(option(name), "at least one number", "none")
    for value in values:
        if non_negative(option(name), value) == 0:
            fail(option(name), "numbers > 0", value)


@dataclass(frozen=True, kw_only=True)
class Regressed:
    """Kernel regression."""

    double: bool = False
    """Whether kernel regression is in float64, which small ridges may need; twice the memory."""
    ridges: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """kernel: those tried, in units of the mean diagonal. The paper has the first four; kernels of finite networks, and
    of features that are much aligned with the labels, want larger ones."""

    def check(self) -> None:
        """Refuse values that make no sense, by the option's name."""
        check_tried("ridges", self.ridges)


@dataclass(frozen=True, kw_only=True)
class FeatureKernel(Regressed):
    """Regression with E φ(h)φ(h') of the last hidden layer."""

    unit_norm: bool = True
    """Whether the features φ(h) of an image are scaled to norm 1 before regression, as in the paper."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Logistic regression on the last hidden layer's g (μ-net: φ(h))."""

    penalties: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2)
    """probe: those tried, of ½|W|² beside the mean loss."""

    def check(self) -> None:
        """Refuse values that make no sense, by the option's name."""
        check_tried("penalties", self.penalties)


@dataclass(frozen=True, kw_only=True)
class NewReadout:
    """A new readout trained by SGD on the frozen last hidden layer."""

    rates: tuple[float, ...] = (0.01, 0.1, 1.0)
    """readout: learning rates tried."""
    readout_epochs: int = 5
    """readout: passes over the training images."""
    readout_batch_size: int = 128
    """readout: images a step."""

    def check(self) -> None:
        """Refuse values that make no sense, by the option's name."""
        check_tried("rates", self.rates)
        for name in ("readout_epochs", "readout_batch_size"):
            positive_int(option(name), getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class NNGPBaseline(Regressed):
    """The NNGP kernel of the untrained infinite perceptron of the same depth."""


@dataclass(frozen=True, kw_only=True)
class NTKBaseline(Regressed):
    """Its NTK."""


@dataclass(frozen=True, kw_only=True)
class UnitNNGPBaseline(NNGPBaseline):
    """The NNGP kernel of inputs scaled to norm 1."""


@dataclass(frozen=True, kw_only=True)
class UnitNTKBaseline(NTKBaseline):
    """The NTK of such inputs."""


Part = FeatureKernel | Probe | NewReadout
Baseline = NNGPBaseline | NTKBaseline

PARTS: Mapping[str, Any] = {"kernel": FeatureKernel(), "probe": Probe(), "readout": NewReadout()}
BASELINES: Mapping[str, Any] = {
    "nngp": NNGPBaseline(),
    "ntk": NTKBaseline(),
    "unit-nngp": UnitNNGPBaseline(),
    "unit-ntk": UnitNTKBaseline(),
}
CHOSEN_PARTS = Choice(PARTS, several=True)
CHOSEN_BASELINES = Choice(BASELINES, several=True)
