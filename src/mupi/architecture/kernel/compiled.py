"""What is made of a description once, before a kernel is given inputs: its steps, and what must be checked."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

from torch import Tensor

from mupi.activations import Activation
from mupi.architecture.description import Description
from mupi.architecture.kernel.forms import Function, Weight
from mupi.architecture.kernel.listing import Listing
from mupi.architecture.kernel.plan import program
from mupi.architecture.kernel.samples import shrinkable
from mupi.architecture.kernel.settings import Scales
from mupi.architecture.kernel.steps import Key, Program
from mupi.architecture.kernel.structure import Structure, structure


@dataclass(frozen=True)
class Compiled:
    """The steps of a kernel, or of several together.

    Args:
        net: The network.
        kinds: "nngp" and "ntk": the covariance, the tangent kernel.
        scales: σ's and rates of each node that has parameters.
        each: Whether there is an output at each position.
    """

    net: Description
    kinds: tuple[str, ...]
    scales: tuple[tuple[int, Scales], ...]
    each: bool

    @cached_property
    def structure(self) -> Structure:
        """What each value is."""
        return structure(self.net)

    @cached_property
    def by_place(self) -> dict[int, Scales]:
        """σ's and rates."""
        return dict(self.scales)

    @cached_property
    def pairs(self) -> tuple[Program, Listing]:
        """The steps for pairs of inputs."""
        last = len(self.net) - 1
        kinds = ("tangent" if kind == "ntk" else "moment" for kind in self.kinds)
        wanted = [Key(kind, last, last, self.each and self.outputs > 1) for kind in kinds]
        return program(self.structure, self.by_place, wanted, own=False, tangent="ntk" in self.kinds)

    @cached_property
    def own(self) -> tuple[Program, Listing]:
        """The steps for each input by itself: what those for pairs want to know of it, then moments of data."""
        wanted = [*self.per_input, *(Key("average", place, place) for place in self.unbiased)]
        return program(self.structure, self.by_place, wanted, own=True, tangent=False)

    @cached_property
    def per_input(self) -> tuple[Key, ...]:
        """What the steps for pairs want to know of each input."""
        return tuple(self.pairs[1].per_input)

    @cached_property
    def entries(self) -> int:
        """Pairs of positions of the largest quantity of a pair of inputs."""
        return self.pairs[1].entries()

    @cached_property
    def unbiased(self) -> tuple[int, ...]:
        """Weights that read data, and add no bias to it."""
        return tuple(
            place
            for place, fact in enumerate(self.structure.facts)
            if isinstance(fact.form, Weight) and fact.form.reads == "data" and not self._is_biased(place, fact.form)
        )

    @cached_property
    def activations(self) -> tuple[tuple[Key, Activation], ...]:
        """Each φ, and the key of the variance of what it reads."""
        found = (
            (Key("variance", fact.inputs[0]), fact.form.activation)
            for fact in self.structure.facts
            if isinstance(fact.form, Function)
        )
        return tuple((key, φ) for key, φ in found if key in self.per_input)

    @cached_property
    def breaks_symmetry(self) -> bool:
        """Whether opposite inputs may be other than opposite to the network."""
        weights = [(place, fact.form) for place, fact in enumerate(self.structure.facts)]
        return not shrinkable(self.structure) or any(
            isinstance(form, Weight) and (form.reads in ("nothing", "tokens") or self._is_biased(place, form))
            for place, form in weights
        )

    def _is_biased(self, place: int, form: Weight) -> bool:
        return form.bias and bool(self.by_place[place].sigma_b > 0)

    @cached_property
    def sigmas(self) -> list[Tensor]:
        """Those that derivatives are asked by: see `mupi.architecture.kernel.sigmas`."""
        numbers = (number for _, found in self.scales for number in (found.sigma_w, found.sigma_b))
        return [number for number in numbers if isinstance(number, Tensor)]

    @cached_property
    def mixes(self) -> bool:
        """Whether pairs of different positions matter."""
        return any(step.key.everywhere for step in self.pairs[0].steps)

    @cached_property
    def outputs(self) -> int:
        """Rows of the kernel matrix of one input."""
        return prod(self.net.output.positions) if self.each else 1


def compiled(net: Description, kinds: tuple[str, ...], scales: tuple[tuple[int, Scales], ...], each: bool) -> Compiled:
    """The steps, listed; the same for equal networks at equal numbers, if they have a hash, and no derivatives.

    Raises:
        ValueError: If there is no such kernel.
    """
    if any(isinstance(number, Tensor) for _, found in scales for number in vars(found).values()):
        return _listed(net, kinds, scales, each)  # a tensor's number may change
    try:
        hash(net)
    except TypeError:  # an activation of a user's own
        return _listed(net, kinds, scales, each)
    return _known(net, kinds, scales, each)


def _listed(net: Description, kinds: tuple[str, ...], scales: tuple[tuple[int, Scales], ...], each: bool) -> Compiled:
    out = Compiled(net, kinds, scales, each)
    _ = out.own  # and what it needs: says what has no closed form
    return out


_known = lru_cache(maxsize=64)(_listed)
