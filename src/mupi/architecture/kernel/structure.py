"""What each value of a network is in the limit at the start: data, Gaussian, or not; and of which weights it is."""

from dataclasses import dataclass, replace
from functools import cached_property

from mupi.activations import Activation, Identity, as_activation
from mupi.architecture.description import Description, Node
from mupi.architecture.kernel.data_values import on_data
from mupi.architecture.kernel.forms import PROGRAM, Flat, Form, Function, Linear, Normal, Product, Weight, forms
from mupi.architecture.kernel.gains import Gains, together
from mupi.architecture.kernel.one_value import Of, added, composed, multiplied
from mupi.architecture.positions import Attention


@dataclass(frozen=True)
class Fact:
    """What is known of a value.

    Attributes:
        form: Its form; None for data.
        inputs: The places of the values that it reads.
        gaussian: Whether it is linear in layers, so that its coordinates are Gaussian with mean 0.
        sources: The owners of the weights that it is made of, back to the last ones; what has none in common with
            another is independent of it.
        function: The Gaussian value that it is a function of, and which, where there is one.
        parts: The φ's that are added in it.
        gains: Of a Gaussian value, the gains of normalizations since the last weights.
    """

    form: Form | None
    inputs: tuple[int, ...] = ()
    gaussian: bool = False
    sources: frozenset[str] = frozenset()
    function: Of | None = None
    parts: tuple[Activation, ...] = ()
    gains: Gains = Gains()

    @property
    def is_data(self) -> bool:
        """Whether no weight has touched it."""
        return self.form is None


@dataclass(frozen=True)
class Structure:
    """The facts of all values, in their places; made by `structure`."""

    net: Description
    facts: tuple[Fact, ...]

    def __getitem__(self, place: int) -> Fact:
        return self.facts[place]

    def positions(self, place: int) -> tuple[int, ...]:
        """Axes of positions of a value."""
        return self.net.shapes[place].positions

    def owner(self, place: int) -> str:
        """Of a weight."""
        return self.net.nodes[place].owner

    def independent(self, a: int, b: int) -> bool:
        """Whether two values have no weight in common."""
        return not self[a].sources & self[b].sources

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """Data that weights read."""
        weights = (fact for fact in self.facts if isinstance(fact.form, Weight))
        return tuple(sorted({i for fact in weights for i in fact.inputs if self[i].is_data}))

    @cached_property
    def sees_scale(self) -> bool:
        """Whether some φ has a scale of its own, so that rounding of variances may show."""
        forms = (fact.form for fact in self.facts)
        return any(isinstance(form, Function) and not form.activation.scale_free for form in forms)

    def refuse(self, place: int, reason: str, hint: str = PROGRAM):
        """Raise ``ValueError`` about a value."""
        forms.refuse(self.net.nodes[place], reason, hint)


def structure(net: Description) -> Structure:
    """What each value is.

    Raises:
        ValueError: If the limit at the start is not closed: with φ of what is not Gaussian, say; names the operation.
    """
    facts: list[Fact] = [Fact(None)]
    owners: dict[str, int] = {}  # the first node that has some parameters
    for place, node in enumerate(net.nodes[1:], 1):
        shapes = tuple(net.shapes[i] for i in node.inputs)
        read = [facts[i] for i in node.inputs]
        is_weight_like = net.role(place) != ""
        if not is_weight_like and all(fact.is_data for fact in read):
            if not on_data.covers(node.operation):
                on_data(node)
            facts.append(Fact(None, node.inputs))
            continue
        form: Form = forms(node, shapes, net.shapes[place])
        fact = Fact(form, node.inputs)
        fact = _checked(net, facts, owners, place, node, fact)
        facts.append(replace(fact, function=(place, Identity())) if fact.gaussian else fact)
    last = facts[-1]
    if last.is_data:
        forms.refuse(net.nodes[-1], "the output is data that no weight has touched", "end with a readout")
    return Structure(net, tuple(facts))


def _checked(net: Description, facts: list[Fact], owners: dict[str, int], place: int, node: Node, fact: Fact) -> Fact:
    """The fact with what follows from those that it reads, or ``ValueError``."""

    def refuse(reason: str, hint: str = PROGRAM):
        forms.refuse(node, reason, hint)

    read = [facts[i] for i in node.inputs]
    form = fact.form
    for i in node.inputs:
        finite = not facts[i].is_data and not net.shapes[i].is_layer
        if finite and not isinstance(form, Linear):
            refuse("it reads a layer of finitely many channels, which stays random", "make that layer as wide as n")
    if isinstance(form, Weight):
        if form.reads == "layer" and net.shapes[node.inputs[0]].flat and form.conv is not None:
            refuse("a convolution of flattened positions")
        first = owners.setdefault(node.owner, place)
        if first != place and (net.nodes[first].operation != node.operation or facts[first].form != form):
            reason = f"its weights are those of {net.nodes[first]}, which uses them otherwise"
            refuse(reason, "give it weights of its own")
        return replace(fact, gaussian=True, sources=frozenset({node.owner}))
    if isinstance(form, Linear) and isinstance(node.operation, Attention):
        q, k, v = read
        if q.sources & k.sources or not (q.gaussian or k.gaussian):
            refuse("queries and keys are not independent with mean 0, so logits do not vanish at the start")
        return replace(fact, gaussian=v.gaussian, sources=v.sources, gains=v.gains)
    sources = frozenset().union(*(f.sources for f in read))
    if isinstance(form, Function):
        inner = read[0].function
        if inner is None:
            forms.refuse(node, "φ of a value that is not Gaussian, as sums and averages of φ's are not", PROGRAM)
        return _of_one_value(node, facts, composed(form.activation, inner))
    if isinstance(form, Linear):
        terms = [facts[node.inputs[which]] for which, _ in form.terms]
        if any(term.is_data for term in terms):
            refuse("a layer together with data")
        gaussian = all(term.gaussian for term in terms)
        function = None if gaussian else added(form, [f.function for f in read])
        parts = tuple(part for term in terms for part in term.parts)
        if function is not None and any(part != parts[0] for part in parts):
            return _of_one_value(node, facts, function)
        sources = frozenset().union(*(term.sources for term in terms))
        gains = together([term.gains for term in terms])
        return replace(fact, gaussian=gaussian, sources=sources, function=function, parts=parts, gains=gains)
    if isinstance(form, Normal):
        own = frozenset({parameters_of(node)}) if form.gain or form.shift else frozenset()
        gains = read[0].gains.times(node.owner) if form.gain else read[0].gains
        return replace(fact, gaussian=read[0].gaussian, sources=sources | own, gains=gains)
    if isinstance(form, Product):
        function = multiplied([f.function for f in read])
        if function is not None:
            return _of_one_value(node, facts, function)
        if read[0].sources & read[1].sources:
            refuse("a product of two values that are made of the same weights")
        return replace(fact, sources=sources)
    assert isinstance(form, Flat)
    return replace(fact, gaussian=read[0].gaussian, sources=sources, gains=read[0].gains)


def parameters_of(norm: Node) -> str:
    """The name of a normalization's parameters among sources."""
    return f"{norm.owner} (gain and shift)"


def _of_one_value(node: Node, facts: list[Fact], function: Of) -> Fact:
    """The fact of a φ of a Gaussian value."""
    h, φ = function
    activation = as_activation(φ, str(node))
    return Fact(Function(activation), (h,), False, facts[h].sources, (h, activation), (activation,))
