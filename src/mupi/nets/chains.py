"""Whether a model is a chain: each linear layer reads a function of each coordinate of the one before, and no more."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from mupi.checks import fail

ROWS = 4
ARGUMENT = "with_multipliers(model)"

Seen = dict[str, tuple[Tensor, Tensor]]
"""Input and output of each layer, by name."""


@torch.no_grad()
def refuse_other_than_chains(model: nn.Module, linears: Mapping[str, nn.Linear], example: Tensor | None = None) -> None:
    """Try a model on two batches: where a layer's output is held, what comes after must not see the other batch.

    Half of each layer's coordinates are held too, which must hold the same half of the next layer's inputs.

    Args:
        model: In any mode; it is tried in eval mode, where dropout lets all pass.
        linears: Its layers, in order.
        example: Inputs; None for random rows of the first layer's size.

    Raises:
        ValueError: If the model does not take the inputs, uses a layer not once or in another order, goes around one,
            or mixes coordinates between two.
    """
    (first, *_), generator = linears.values(), torch.Generator().manual_seed(0)
    if example is None:
        x, other = (torch.randn(ROWS, first.in_features, generator=generator).to(first.weight) for _ in range(2))
    else:
        x, other = example, example[torch.arange(len(example)) - 1]
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        out, seen = _run(model, linears, x)
        names = list(linears)
        for place, name in enumerate(names):
            (_, held), following = seen[name], names[place + 1 :][:1]
            for coordinates in (slice(None), slice(None, None, 2)):

                def hold(output: Tensor, held: Tensor = held, coordinates: slice = coordinates) -> Tensor:
                    output = output.clone()
                    output[..., coordinates] = held[..., coordinates]
                    return output

                again, changed = _run(model, linears, other, {name: hold})
                if following:
                    _compare(seen[following[0]][0], changed[following[0]][0], coordinates, name, following[0])
                elif coordinates == slice(None) and not _equal(out, again):
                    _refuse("an output that depends on the last layer only", f"another way around `{name}`")
    finally:
        for module, mode in training.items():
            module.training = mode


def _run(
    model: nn.Module,
    linears: Mapping[str, nn.Linear],
    x: Tensor,
    change: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> tuple[Tensor, Seen]:
    """The output, and what each layer was given and gave, changed as it may be."""
    seen: Seen = {}

    def note(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if name in seen:
            _refuse("layers that are used once", f"`{name}` used twice")
        output = (change or {}).get(name, lambda output: output)(output)
        seen[name] = (inputs[0], output)
        return output

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        return lambda _, inputs, output: note(name, inputs, output)

    handles = [linear.register_forward_hook(hook(name)) for name, linear in linears.items()]
    try:
        out = model(x)
    except (RuntimeError, TypeError, NotImplementedError, IndexError) as error:
        reason = str(error).strip().splitlines()[0]
        fail(
            "with_multipliers(example=...)",
            "a batch that the model takes",
            f"{'the one given' if change is None else 'random rows'} of shape {tuple(x.shape)}: {reason}",
            "pass a batch of its inputs",
        )
    finally:
        for handle in handles:
            handle.remove()
    if list(seen) != list(linears):
        _refuse("layers that are used in the order of their registration", f"the order {', '.join(seen) or 'of none'}")
    return out, seen


def _compare(before: Tensor, after: Tensor, coordinates: slice, name: str, following: str) -> None:
    if before.shape[-1] != after.shape[-1] or not _equal(before[..., coordinates], after[..., coordinates]):
        what = f"another way to `{following}` than through `{name}`"
        if coordinates != slice(None):
            what = f"coordinates of `{name}` mixed before `{following}`"
        _refuse("nothing but a function of each coordinate between two layers", what)


def _equal(a: Tensor, b: Tensor) -> bool:
    """To the rounding of sums that may be taken in another order."""
    return torch.allclose(a, b, rtol=1e-3 if a.dtype in (torch.float16, torch.bfloat16) else 1e-5, equal_nan=True)


def _refuse(must: str, got: str) -> None:
    fail(ARGUMENT, f"a chain of nn.Linear, with {must}", got, "write a network of mupi.nets' layers for others")
