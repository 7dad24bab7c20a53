"""Training the readout alone: the last layer of a pretrained network, on the frozen layer before it."""

from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mupi.commands.train.architectures import build_architecture
from mupi.commands.train.build import build_optimizer, independent_generators
from mupi.commands.train.networks import MuConvolutional
from mupi.data import Dataset
from mupi.nets import Network
from mupi.recipes.transfer.representation import Representation
from mupi.training.augmentation import Augmentation
from mupi.training.examples import Examples
from mupi.training.loop import train_epochs
from mupi.training.procedure import Procedure
from mupi.training.schedule import DropAndAnneal
from mupi.training.state import TrainingState

PREDICTED_ROWS = 500


class Readout(nn.Module):
    """The readout of a network as a function of its last hidden layer, flattened.

    Args:
        net: The network whose readout is trained.
        shape: Of the last hidden layer for one image.
    """

    def __init__(self, net: Network, shape: tuple[int, ...]):
        super().__init__()
        self.layer = net.readout
        self.shape = shape

    def forward(self, h: Float[Tensor, "batch size"]) -> Float[Tensor, "batch classes"]:
        """The outputs from g^L, of a μ-net from h^L."""
        return self.layer(h.unflatten(1, self.shape))

    @torch.no_grad()
    def predict(self, X: Float[Tensor, "n size"]) -> Float[Tensor, "n classes"]:
        """The outputs of each row, in batches."""
        return torch.cat([self.eval()(rows) for rows in X.split(PREDICTED_ROWS)])


def new_head(pretrained: Representation) -> Network:
    """A network for the target's classes whose readout reads the same neurons.

    It starts at 0; if the classes are those of the pretraining it is the trained readout.
    """
    net, data = pretrained.net, pretrained.layer
    config = pretrained.config
    if not isinstance(config.network, MuConvolutional):  # which starts at 0 in any case
        config = config.changed(readout_init=0.0)
    # The sizes are those of the pretraining but for the classes.
    made_for = replace(pretrained.source, name=data.name, classes=data.classes)
    (generator,) = independent_generators(config.seed, 1)
    head = build_architecture(config, made_for, generator)
    if (pretrained.source.name, pretrained.source.classes) == (data.name, data.classes):
        head.load_state_dict(net.state_dict())
    else:
        # The neurons of a finite net and the directions of degree 2; a is 0, so that nothing else depends on them.
        head.readout.read_alike(net.readout)
    return head


def train_readout(
    pretrained: Representation,
    part: Dataset,
    *,
    rate: float,
    epochs: int,
    batch_size: int,
    after_steps: Callable[[int], None],
) -> Readout:
    """SGD on the cross-entropy with everything before the readout frozen.

    Args:
        pretrained: The pretrained network.
        part: Its last hidden layer on some of the data.
        rate: Learning rate, which the multipliers of the pretraining multiply.
        epochs: Passes over the training images.
        batch_size: Images a step.
        after_steps: Told how many steps were taken since it was last told.

    Raises:
        FloatingPointError: If training diverges.
    """
    config = replace(pretrained.config, lr=rate)
    head = new_head(pretrained)
    for_order, for_views = independent_generators(config.seed, 2)
    optimizer = build_optimizer(config, head)
    # The layers before the readout are in the optimiser and get no gradient, and so do not move.
    state = TrainingState(
        Readout(head, pretrained.shape).train(),
        optimizer,
        DropAndAnneal(optimizer, None, 1.0),
        Augmentation(False, 0, part.image_shape),
        for_order,
        for_views,
    )
    examples, procedure = Examples(part.train_x, part.train_y), Procedure(batch_size, cross_entropy)
    train_epochs(
        state,
        epochs,
        examples,
        procedure,
        begin=lambda: None,
        after_steps=lambda _, steps: after_steps(steps),
        measure=lambda: None,
        finish=lambda _: False,
        stop=_interrupt,
    )
    readout = state.net
    assert isinstance(readout, Readout)
    # Of the state, since atoms are no parameter to compute with.
    if not all(bool(torch.isfinite(value).all()) for value in readout.state_dict().values()):
        raise FloatingPointError(f"the readout diverged with --rates {rate:g}")
    return readout


def _interrupt() -> NoReturn:
    """Give up a readout half way: it takes seconds, and is trained anew.

    Raises:
        KeyboardInterrupt: Always.
    """
    raise KeyboardInterrupt
