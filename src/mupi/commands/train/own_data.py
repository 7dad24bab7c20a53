"""A user's file as the data of a run: read and split by its configuration, and known again when the run goes on."""

from dataclasses import replace
from typing import Any

from rich.console import Console

from mupi.checks import fail
from mupi.commands.train.build import independent_generators
from mupi.commands.train.config import OWN, TrainConfig
from mupi.commands.train.networks import FinitePerceptron, PiPerceptron, plain_network
from mupi.data.own.columns import Columns
from mupi.data.own.load import OwnData, load_own
from mupi.data.own.meaning import Meaning
from mupi.data.own.wanted import Wanted

MEANING = "meaning"
CHECKSUM = "checksum"
"""In a checkpoint, beside the network."""


def read_own(config: TrainConfig) -> tuple[TrainConfig, OwnData | None]:
    """The file that the configuration names, and the configuration with what its target was found to be.

    Of another data set there is none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If something in it cannot be learned, or not by this network.
    """
    if config.dataset != OWN:
        return config, None
    assert config.data is not None
    seed = config.seed if config.data_seed is None else config.data_seed
    *_, for_split = independent_generators(seed, 5)
    own = load_own(
        config.data,
        Wanted(config.target, config.ignore, size=config.image_size),
        config.task,
        config.test,
        config.test_share,
        for_split,
    )
    if isinstance(own.meaning.inputs, Columns):
        if not isinstance(config.network, PiPerceptron | FinitePerceptron):
            arch = plain_network(config.network)["arch"]
            fail("arch", "mlp for the rows of a table, which are no images", arch)
        for field in ("flip", "shift", "image_size"):
            if value := getattr(config, field):
                fail(field, "left out for the rows of a table, which are no images", value)
    config = replace(config, task=own.task)
    config.check()
    return config, own


def tell(own: OwnData) -> None:
    """Print what was made of the file."""
    for note in own.notes:
        Console().print(note, highlight=False, markup=False, soft_wrap=True)


def kept_with_net(own: OwnData | None) -> dict[str, Any]:
    """What a checkpoint has beside the network, so that it can be asked about raw rows."""
    return {} if own is None else {MEANING: own.meaning.as_plain(), CHECKSUM: own.checksum}


def refuse_if_changed(config: TrainConfig, own: OwnData | None, saved: dict[str, Any]) -> None:
    """Refuse to go on with other data.

    Raises:
        ValueError: If the file is not what it was.
    """
    if own is not None and saved.get(CHECKSUM) != own.checksum:
        must = f"the file that `{config.directory}` was started with, to resume it"
        fail("data", must, f"`{config.data}` with other contents", "start anew with --overwrite, or another --name")


def known_meaning(saved: dict[str, Any]) -> Meaning:
    """The meaning that a checkpoint has."""
    return Meaning.from_plain(saved[MEANING])
