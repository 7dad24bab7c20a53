"""What a saved run has trained."""

from mupi.data import Dataset
from mupi.experiments.training.architectures import build_architecture
from mupi.experiments.training.build import build_data, independent_generators
from mupi.experiments.training.checkpoint import load_checkpoint
from mupi.experiments.training.config import TrainConfig
from mupi.experiments.training.run import Run
from mupi.nets import MLP, MuCNN, PiNetwork


def restore(config: TrainConfig) -> tuple[PiNetwork | MLP | MuCNN, Dataset]:
    """The network of a saved run as its checkpoint has it, for evaluation, and the data it was trained on.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it is damaged, or of another configuration.
    """
    saved = load_checkpoint(Run(config).checkpoint_path, config.identity())
    for_data, for_net = independent_generators(config.seed, 2)
    data = build_data(config, for_data)
    net = build_architecture(config, data, for_net)
    net.load_state_dict(saved["net"])
    return net.eval(), data
