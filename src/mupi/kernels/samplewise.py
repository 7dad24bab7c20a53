"""What a kernel between samples asks of a finite network: an output for each sample, which depends on it alone."""

import torch
from jaxtyping import Num
from torch import Tensor, nn
from torch.func import functional_call

from mupi.checks import fail, finite
from mupi.torch_internals import BATCH_NORMS, DROPOUTS

FAILURES = (RuntimeError, TypeError, AttributeError, IndexError, KeyError, NotImplementedError)
"""What torch raises where shapes, dtypes or operations do not fit."""


def first_line(error: Exception) -> str:
    """An exception's type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def own_state(net: nn.Module) -> dict[str, Tensor]:
    """Copies of the buffers, for `functional_call`: what a forward pass writes there leaves the network as it was."""
    return {name: buffer.clone() for name, buffer in net.named_buffers()}


@torch.no_grad()
def check_samplewise(kernel: str, net: nn.Module, x: Num[Tensor, "n ..."]) -> Num[Tensor, "*outputs"]:
    """Raise unless each output of ``net`` is a function of its own sample; returns that of the first.

    Modules that are known to mix or draw are looked for, then it is measured: the first sample's output alone, beside
    others, and once more, must be the same up to rounding.

    Args:
        kernel: Whose argument errors name.
        net: The network to look at.
        x: At least one sample.

    Raises:
        ValueError: If it is not, or the outputs are not one finite floating tensor with an entry for each sample.
    """
    check_numbers(f"{kernel}(x)", x)
    argument, must = f"{kernel}(net=...)", "a network that takes each sample by itself"
    for name, module in net.named_modules():
        place = f"{type(module).__name__}{f' {name!r}' if name else ''}"
        if isinstance(module, BATCH_NORMS) and module.running_mean is None:
            fail(argument, must, f"{place} without running statistics")
        if module.training and (isinstance(module, BATCH_NORMS) or (isinstance(module, DROPOUTS) and module.p)):
            fail(argument, must, f"{place} in training mode", "call net.eval()")
    # Reversed, a single sample makes two that the network takes, tokens too.
    beside = torch.cat([x[:1], x[-1:], x[:1].flip(-1)])
    outputs = []
    for batch in (x[:1], beside, beside):
        try:
            out = functional_call(net, own_state(net), (batch,))
        except torch.OutOfMemoryError:
            raise
        except FAILURES as error:
            got = f"{x.dtype} of shape {tuple(x.shape)}"
            fail(f"{kernel}(x)", "samples that net takes, (n, …)", got, f"the network says {first_line(error)}")
        if not isinstance(out, Tensor) or not out.is_floating_point() or out.shape[:1] != batch.shape[:1]:
            got = f"{out.dtype} of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            fail(argument, f"a network with one floating output, here of shape ({len(batch)}, …)", got)
        if not out.numel() or not torch.isfinite(out).all():
            fail(argument, "a network with finite outputs", "NaN or infinity" if out.numel() else "none")
        outputs.append(out[0])
    alone, first, again = outputs
    rounding = torch.finfo(alone.dtype).eps ** 0.5 * float(alone.abs().max())
    for other, how in ((again, "the same samples"), (alone, "other samples beside")):
        off = float((other - first).abs().max())
        if off > rounding:
            hint = "call net.eval()" if net.training else ""
            fail(argument, must, f"an output that changes by {off:.2g} from call to call, with {how}", hint)
    return alone


def check_numbers(argument: str, x: Tensor) -> None:
    """Raise ``ValueError`` unless ``x`` is a tensor (n, …) of finite numbers."""
    if not isinstance(x, Tensor) or not x.ndim:
        got = "a number" if isinstance(x, Tensor) else type(x).__name__
        fail(argument, "a tensor or an array of shape (n, …)", got)
    finite(argument, x)
