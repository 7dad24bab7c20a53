"""`Prediction`: how every value, gradient and update of a network scales with width."""

from dataclasses import dataclass
from functools import cached_property

from mupi.architecture import Attention, Description
from mupi.mup.sizes import Exponent


@dataclass(frozen=True)
class Law:
    """Exponents of one quantity.

    Attributes:
        part: The node or parameter, by its name.
        quantity: |h|, |Δh| of values; |f|, |Δf| of the output; |q·k|, |Δq·k| of attention's logits; |∇w|, |Δw| of a
            parameter.
        exponents: After 1, 2, … steps (of |h|, |f|, |q·k|: at the start, one number); `ZERO` for what is exactly zero.
    """

    part: str
    quantity: str
    exponents: tuple[Exponent, ...]

    @property
    def last(self) -> Exponent:
        """After all steps."""
        return self.exponents[-1]


@dataclass(frozen=True)
class Effect:
    """What a parameter does to the value of one node that has it.

    Attributes:
        parameter: The parameter's name.
        node: The node's.
        start: Exponent of the node's value at the start.
        own: Of what the parameter's own update changes in it, after all steps.
        passed: Of what its initial entries make of the change of what they read.
        wanted: What ``own`` must be for the layer to learn: 0, or the size at the start of what is normalized next.
    """

    parameter: str
    node: str
    start: Exponent
    own: Exponent
    passed: Exponent
    wanted: Exponent


@dataclass(frozen=True)
class Prediction:
    """How a network scales with width.

    Attributes:
        arch: The network.
        steps: Steps of training.
        laws: Exponents of every quantity.
        effects: What each weight does.
        frozen: Parameters without a rate.
        grown: The nodes whose value, or logits, grow with width beyond what those that read it take: a multiplier that
            shrinks, or a normalization, takes what grows.
        blind: Parameters whose steps do not know the gradient's size, as Adam's.
    """

    arch: Description
    steps: int
    laws: tuple[Law, ...]
    effects: tuple[Effect, ...]
    frozen: frozenset[str]
    grown: frozenset[str]
    blind: frozenset[str]

    @cached_property
    def by_name(self) -> dict[tuple[str, str], Law]:
        """By quantity and part."""
        return {(law.quantity, law.part): law for law in self.laws}

    @property
    def growing(self) -> tuple[Law, ...]:
        """What grows with width: values and their changes, logits of attention, the output; a limit has none of it."""
        return tuple(law for law in self.laws if law.part in self.grown and max(law.exponents) > 0)

    @property
    def lazy(self) -> tuple[Effect, ...]:
        """Weights whose own update moves what they feed by less and less, in every place where they are."""
        moving = {effect.parameter for effect in self.effects if effect.own >= effect.wanted}
        return tuple(e for e in self.effects if e.parameter not in moving and e.parameter not in self.frozen)

    @cached_property
    def idle(self) -> frozenset[str]:
        """Parameters without a gradient but for rounding: biases of keys, which a softmax does not see."""
        keys = [node.inputs[1] for node in self.arch if isinstance(node.operation, Attention)]
        names = {self.arch.nodes[i].name for i in keys if len(self.arch.readers[i]) == 1}
        of_keys = [p for p in self.arch.parameters if all(u.kind == "bias" and u.node in names for u in p.uses)]
        return frozenset(p.name for p in of_keys)

    @property
    def learns(self) -> bool:
        """Whether nothing grows, and every weight that is trained moves what it feeds."""
        return not self.growing and not self.lazy
