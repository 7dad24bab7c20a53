"""What a saved run has trained."""

from mupi.data import Dataset
from mupi.experiments.training.build import build_data, build_network, independent_generators
from mupi.experiments.training.config import TrainConfig
from mupi.experiments.training.run import Run
from mupi.nets import MLP, PiMLP


def restore(config: TrainConfig) -> tuple[PiMLP | MLP, Dataset]:
    """The network of a saved run as its checkpoint has it, for evaluation, and the data it was trained on.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it is damaged, or of another configuration.
    """
    saved = Run(config).load()
    for_data, for_net = independent_generators(config.seed, 2)
    if config.data_seed is not None:
        for_data = independent_generators(config.data_seed, 1)[0]
    data = build_data(config, for_data)
    net = build_network(config, data, for_net)
    net.load_state_dict(saved["net"])
    return net.eval(), data
