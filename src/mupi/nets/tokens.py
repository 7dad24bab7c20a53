"""What a transformer reads: patches of an image, or tokens of a text; and how it becomes the first junctions."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from mupi.architecture import Add, Dense, Embed, Part, Permute, Reshape, Scale, Table, Width, chain, named
from mupi.arrays import takes_numpy
from mupi.checks import fail, positive_int
from mupi.nets.images import ImageShape, check_image_shape


class Sequences(ABC):
    """A kind of input as a sequence of positions."""

    causal: bool
    """Whether a position sees those before it only, and each position has an output of its own; else outputs are
    averages over positions."""

    integers: bool
    """Whether inputs are integers."""

    @property
    @abstractmethod
    def axes(self) -> tuple[int, ...]:
        """Those of one input."""

    @abstractmethod
    def embedding(self, rank: int) -> Part:
        """From an input to a layer at each position, with |g| of order one at the start.

        Args:
            rank: Rank r of the junction that is written.
        """


@takes_numpy
@dataclass(frozen=True)
class Patches(Sequences):
    """An image as its square patches, row by row.

    >>> net = mupi.PiTransformer(mupi.Patches((3, 16, 16), size=8), 10, rank=8, depth=1)
    >>> net(torch.randn(2, 3, 16, 16)).shape
    torch.Size([2, 10])

    Args:
        image_shape: Channels, height and width.
        size: Side of a patch; it divides height and width.
    """

    image_shape: ImageShape
    size: int

    causal = False
    integers = False

    def __post_init__(self):
        check_image_shape("Patches(image_shape=...)", self.image_shape)
        positive_int("Patches(size=...)", self.size)
        if any(n % self.size for n in self.image_shape[1:]):
            fail("Patches(size=...)", f"a divisor of {self.image_shape[1:]}", self.size)

    @property
    def axes(self) -> tuple[int, ...]:
        """See `Sequences.axes`."""
        return self.image_shape

    def embedding(self, rank: int) -> Part:
        """See `Sequences.embedding`: g(t) = x(t) A/√r + P(t), of the pixels x(t) of a patch and its place."""
        (channels, height, width), size = self.image_shape, self.size
        rows, columns = height // size, width // size
        patches = chain(
            Reshape((channels, rows, size, columns, size)),
            Permute((1, 3, 0, 2, 4)),
            Reshape((rows * columns, channels * size**2)),
            named("input.pixels", Dense(Width(), False)),
            Scale(rank**-0.5),
        )
        return lambda x: Add()(patches(x), Table((rows * columns,), Width())(x, name="input.positions"))


@takes_numpy
@dataclass(frozen=True)
class Tokens(Sequences):
    """A text as integers.

    >>> tokens = mupi.Tokens(vocabulary=50, length=12)
    >>> mupi.PiTransformer(tokens, 2, rank=8, depth=1)(torch.randint(50, (3, 12))).shape
    torch.Size([3, 12, 2])

    Args:
        vocabulary: Number of different tokens.
        length: The most positions that a text may have.
        causal: Whether a position sees those before it only, to predict the next at each position; if not, there
            is one output for the whole.
    """

    vocabulary: int
    length: int
    causal: bool = True

    def __post_init__(self):
        positive_int("Tokens(vocabulary=...)", self.vocabulary)
        positive_int("Tokens(length=...)", self.length)

    integers = True

    @property
    def axes(self) -> tuple[int, ...]:
        """See `Sequences.axes`."""
        return (self.length,)

    def embedding(self, rank: int) -> Part:
        """See `Sequences.embedding`: g(t) = E(token at t) + P(t)."""
        table, places = Embed(self.vocabulary, Width()), Table((self.length,), Width())
        return lambda x: Add()(table(x, name="input.table"), places(x, name="input.positions"))
