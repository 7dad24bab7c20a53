"""What a tensor of the graph is, while it is translated."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from mupi.architecture.draft import Value
from mupi.architecture.trace.extents import Pair, Scaling
from mupi.architecture.trace.formula import Formula, X
from mupi.architecture.trace.layout import Axes


@dataclass(frozen=True)
class Traced:
    """c·n^e·φ of the value of a node, with its axes in some order: both wait until an operation wants more.

    Attributes:
        place: The node.
        axes: How the tensor's axes are made of the value's.
        formula: The function φ of the value.
        scaling: c and e.
    """

    place: Value
    axes: Axes
    formula: Formula = X
    scaling: Scaling = field(default=Scaling())

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to do but to order its axes."""
        return self.formula == X and self.scaling == Scaling()


@dataclass(frozen=True)
class Cut:
    """A part of an axis, which is seen as (slower, size, faster): from start to stop of the middle one.

    Attributes:
        axis: Which axis.
        size: Of the middle.
        faster: Of what varies faster.
        start: First index.
        stop: First index that is not in it.
    """

    axis: int
    size: Pair
    faster: Pair
    start: Pair
    stop: Pair


@dataclass(frozen=True)
class Parameter:
    """A parameter of the module, or a part of it, with its axes in some order.

    Attributes:
        name: In the ``state_dict``.
        sizes: Of its own axes, after the cuts.
        axes: How the tensor's axes are made of them (numbered from 0).
        cuts: Parts taken, one after the other.
        scaling: What it is multiplied by.
    """

    name: str
    sizes: tuple[Pair, ...]
    axes: Axes
    cuts: tuple[Cut, ...] = ()
    scaling: Scaling = field(default=Scaling())


@dataclass(frozen=True)
class Moment:
    """The mean over the width of the square of a value, or of what is left of it less its mean; or the mean itself.

    Attributes:
        of: The value.
        axes: Of the tensor: the value's, without the width.
        kind: "mean", "square", or "variance".
        eps: What was added.
        power: ±½ or ±1 (what was taken of the sum).
    """

    of: Traced
    axes: Axes
    kind: str
    eps: float = 0.0
    power: float = 1.0


@dataclass(frozen=True)
class Centered:
    """A value less its mean over the width; or the square of that.

    Attributes:
        of: The value.
        axes: Of the tensor.
        squared: Whether it is the square.
    """

    of: Traced
    axes: Axes
    squared: bool = False


@dataclass(frozen=True)
class Scores:
    """Products of queries and keys, on their way to be attention.

    Attributes:
        query: The queries.
        key: The keys.
        axes: Of the tensor: batch, heads, the queries' positions (as their own), the keys'.
        heads: How many heads there are.
        scaling: What they were multiplied by, in powers of n.
        causal: Whether later keys were masked.
        softmaxed: Whether they are probabilities.
    """

    query: Traced
    key: Traced
    axes: Axes
    heads: int
    scaling: Scaling = field(default=Scaling())
    causal: bool = False
    softmaxed: bool = False


@dataclass(frozen=True)
class Padded:
    """A value with positions added at both ends of its axes, for the convolution that comes.

    Attributes:
        of: The value.
        padding: How many, for each of its last axes.
        mode: What is there.
    """

    of: Traced
    padding: tuple[int, ...]
    mode: str


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that depends on no input and no parameter, at both widths; None where its numbers are not known."""

    first: Tensor | None
    second: Tensor | None
    shape: tuple[Pair, ...]

    @property
    def number(self) -> tuple[float, float] | None:
        """The one number that it is full of, at both widths, if there is one."""
        found = []
        for t in (self.first, self.second):
            if t is None or t.numel() == 0:
                return None
            # What is expanded from one number has one, however large it is.
            shrunk = t[tuple(slice(1) if stride == 0 else slice(None) for stride in t.stride())]
            if shrunk.numel() > 1 and not bool((shrunk == shrunk.reshape(-1)[0]).all()):
                return None
            found.append(float(shrunk.reshape(-1)[0]))
        return found[0], found[1]

    @property
    def precision(self) -> float:
        """The relative precision of its numbers."""
        t = self.first
        return 9 * torch.finfo(t.dtype).eps if t is not None and t.is_floating_point() else 2e-15

    @property
    def same(self) -> Tensor | None:
        """The numbers, if they are the same at both widths."""
        if self.first is None or self.second is None or self.first.shape != self.second.shape:
            return None
        return self.first if torch.equal(self.first, self.second) else None


@dataclass(frozen=True)
class Varying:
    """A number of the code at both widths, where they differ."""

    first: int | float
    second: int | float


Anything = Traced | Parameter | Moment | Centered | Scores | Padded | Constant
