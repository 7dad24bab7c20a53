"""From a factory to what draws models of a width and gives each its optimizer: in μP, as they come, or by hand."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mupi.checks import fail
from mupi.mup.parametrize import parametrize
from mupi.mup.sweep import Builder, Built
from mupi.optim.known_optimizers import check_class
from mupi.training.settings import plain

MakeModel = Callable[[int], nn.Module]
MakeOptimizer = Callable[[nn.Module, float], Optimizer]


def builders(
    call: str,
    make_model: MakeModel,
    widest: int,
    base_width: int,
    example: Tensor,
    optimizer: type[Optimizer],
    make_optimizer: MakeOptimizer | None,
    parametrized: bool,
    options: dict[str, Any],
) -> tuple[Callable[[int], Builder], dict[str, Any]]:
    """From a width to what makes models of it; and what of all this decides a run, as JSON has it.

    Args:
        call: The public function, for errors.
        make_model: The user's factory.
        widest: The largest width that will be asked for.
        base_width: At which the parametrization changes nothing.
        example: A batch of one input, by which the model's graph is read.
        optimizer: Class of the optimizer.
        make_optimizer: From a model and a rate to its optimizer, in place of the class.
        parametrized: Whether models are put into μP.
        options: Of the optimizer.
    """
    if isinstance(make_model, nn.Module) or not callable(make_model):
        kind = type(make_model).__name__
        fail(f"{call}(make_model, ...)", "a function of the width that builds a module", kind, "pass lambda n: Net(n)")
    check_class(f"{call}(optimizer=...)", optimizer)
    if make_optimizer is not None and (options or not parametrized or optimizer is not torch.optim.AdamW):
        fail(
            f"{call}(make_optimizer=...)",
            "given alone: it makes the whole optimizer, and the factory's model is trained as it comes",
            "it beside optimizer, parametrized or options",
        )
    settings = {
        "make_model": plain(make_model),
        "optimizer": [plain(optimizer), plain(options)] if make_optimizer is None else plain(make_optimizer),
        "parametrization": f"μP from {base_width}" if parametrized and make_optimizer is None else "as it comes",
    }
    if make_optimizer is not None:

        def own(width: int) -> Builder:
            def build(rate: float) -> Built:
                model = make_model(width)
                return model, make_optimizer(model, rate)

            return build

        return own, settings
    if not parametrized:

        def standard(width: int) -> Builder:
            def build(rate: float) -> Built:
                model = make_model(width)
                return model, optimizer(model.parameters(), lr=rate, **options)  # pyright: ignore[reportCallIssue]

            return build

        return standard, settings
    # Read once; the models of all runs are made from what was read.
    with torch.random.fork_rng():
        read = parametrize(make_model, widest, base_width, example)

    def in_mup(width: int) -> Builder:
        def build(rate: float) -> Built:
            p = read.at(width)
            return p.model, p.optimizer(optimizer, lr=rate, **options)

        return build

    return in_mup, settings
