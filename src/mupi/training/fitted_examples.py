"""What `Trainer.fit` is given: examples of one kind, which network and loss take."""

from typing import Any

import torch
from torch import Tensor, nn

from mupi.checks import fail
from mupi.data import Dataset
from mupi.layers.evaluating import evaluating
from mupi.training.augmentation import Augmentation
from mupi.training.examples import Examples, as_examples
from mupi.training.pairing import are_labels, check_pairs, rows_to_try
from mupi.training.procedure import Procedure


def examples_to_fit(
    net: nn.Module, data: Any, test: Any, augmentation: Augmentation | None
) -> tuple[Examples, Examples | None]:
    """Training and test examples, where the network is.

    Args:
        net: The network that is to be fitted.
        data: See `Trainer.fit`.
        test: See `Trainer.fit`.
        augmentation: Whose images they must be.

    Raises:
        ValueError: If they are none of what `fit` takes, or not of one kind.
    """
    like = floating_parameter(net)
    if isinstance(data, Dataset):
        if test is not None:
            fail("fit(test=...)", "None with a mupi.data.Dataset, which has its own", type(test).__name__)
        data, test = (data.train_x, data.train_y), (data.test_x, data.test_y)
        test = test if len(test[0]) else None
    train = as_examples("fit(data=...)", data, like)
    tests = None if test is None else as_examples("fit(test=...)", test, like)
    if tests is not None and (tests.x.shape[1:], tests.y.shape[1:], tests.y.dtype) != (
        train.x.shape[1:], train.y.shape[1:], train.y.dtype
    ):  # fmt: skip
        got = f"{tuple(tests.x.shape)}, {tuple(tests.y.shape)} and {tests.y.dtype}"
        must = f"of the shapes {tuple(train.x.shape)}, {tuple(train.y.shape)} but for n, and {train.y.dtype}"
        fail("fit(test=...)", must, got)
    if augmentation is not None and not augmentation.takes(tuple(train.x.shape[1:])):
        must = f"images of shape {augmentation.image_shape}, flat or not, as in Trainer(augmentation=...)"
        fail("fit(data=...)", must, f"shape {tuple(train.x.shape)}")
    return train, tests


def check_examples(net: nn.Module, procedure: Procedure, train: Examples, tests: Examples | None) -> bool:
    """Whether the targets are labels.

    Raises:
        ValueError: If the network, the loss and the targets do not go together.
    """
    rows = rows_to_try(train.y)
    with evaluating(net), torch.no_grad(), procedure.precision(train.x.device):
        outputs = net(train.x[rows])
        if not isinstance(outputs, Tensor) or outputs.ndim < 1 or len(outputs) != len(rows):
            got = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
            fail("Trainer(net=...)", f"a module whose output is a tensor of {len(rows)} rows, as its input", got)
        labels = are_labels("fit(data=...)", train.y, outputs)
        if tests is not None:
            are_labels("fit(test=...)", tests.y, outputs)
        check_pairs("Trainer(loss=...)", procedure.loss, outputs, train.y[rows], procedure.pieces)
    return labels


def floating_parameter(net: nn.Module) -> Tensor:
    """One that says where the network is, and in which dtype arrays are to come."""
    parameters = list(net.parameters())
    return next((p for p in parameters if p.is_floating_point()), parameters[0])
