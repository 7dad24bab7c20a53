"""How much memory a network takes at the least, told before it is made."""

from mupi.activations import Activation
from mupi.commands.train.config import TrainConfig
from mupi.commands.train.networks import FinitePerceptron, PiPerceptron, Projected
from mupi.data import Dataset
from mupi.features import Atoms, Features, Hermite, RandomFeatures
from mupi.features.symmetric import power_size

MANY_LAYERS = 1000
"""Above this the depth is at fault when memory is not enough, not the width."""


def size(config: TrainConfig, data: Dataset) -> tuple[str, int]:
    """The field that decides the size of a run's network, and bytes of its matrices, gradients and updates.

    Of another architecture than perceptrons, whose layers look at several positions at once, it takes more.
    """
    network, d, classes = config.network, data.train_x.shape[1], data.outputs
    depth = network.depth
    if not isinstance(network, PiPerceptron | FinitePerceptron):
        d = data.image_shape[0]
    if isinstance(network, Projected):
        features, rank = network.features, network.rank
        needed = projected_bytes(d, rank, depth, classes, features, network.activation)
        field = "width" if isinstance(features, RandomFeatures) and features.width > rank else "rank"
    else:
        needed, field = perceptron_bytes(d, network.width, depth, classes), "width"
    return "depth" if depth > MANY_LAYERS else field, needed


def perceptron_bytes(d_in: int, width: int, depth: int, d_out: int, itemsize: int = 4) -> int:
    """Bytes of a finite perceptron's weights and their gradients."""
    return 2 * itemsize * width * (d_in + (depth - 1) * width + d_out)


def projected_bytes(d_in: int, rank: int, depth: int, d_out: int, features: Features, φ: Activation) -> int:
    """Bytes of a π-limit's or π-net's weights, of their gradients, and of the atoms that each layer starts from."""
    initial = depth * rank * rank
    return 4 * (2 * d_in * rank + initial + 2 * feature_count(features, rank, φ) * ((depth - 1) * rank + d_out))


def feature_count(features: Features, rank: int, φ: Activation) -> int:
    """Features of a hidden layer of this rank."""
    match features:
        case RandomFeatures(width):
            return width + rank
        case Hermite():
            directions = {k: features.directions(k, rank) for k in range(features.degree + 1) if φ.has_degree(k)}
            return sum(power_size(rank if p is None else p, k) for k, p in directions.items())
        case Atoms():
            return rank
        case _:
            return 0
