"""A kernel at other σ's, differentiable in them: which weights share one, and where they are.

K of the same network at σ's that are tensors, so that gradients by them exist: what a likelihood is maximized by.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from mupi.architecture.kernel.forms import Weight
from mupi.architecture.kernel.limit_kernel import LimitKernel
from mupi.architecture.kernel.settings import Number
from mupi.checks import fail, is_eager
from mupi.kernels.inner_products import check_sigma

SHARED = ("network", "role", "weight")
"""One σ for all weights; one for those of a role (input, hidden, readout); one for each weight by its name."""


@dataclass(frozen=True)
class Shared:
    """A σ, and the places of the weights whose it is.

    Attributes:
        kind: "sigma_w" or "sigma_b".
        of: Empty, or the role or the weight whose σ it is.
        places: Of the weights in the description.
        start: Its number in the kernel that was given.
    """

    kind: str
    of: str
    places: tuple[int, ...]
    start: float

    def __str__(self) -> str:
        return f"{self.kind}_{self.of}" if self.of else self.kind


def shared_sigmas(owner: str, kernel: LimitKernel, by: str) -> tuple[Shared, ...]:
    """The σ's of a kernel, each once; those that are 0 are none, for a logarithm cannot leave 0.

    Args:
        owner: Who asks, for messages.
        kernel: An NNGP or NTK.
        by: One of `SHARED`.

    Raises:
        ValueError: For another ``by``, or if weights are to share one σ that have different ones.
    """
    if by not in SHARED:
        fail(f"{owner}(sigmas=...)", f"one of {', '.join(map(repr, SHARED))}", repr(by))
    scales, found = dict(kernel.scales), dict[tuple[str, str], list[int]]()
    for kind, place, name in _weights(kernel, by):
        found.setdefault((kind, name), []).append(place)
    out = []
    for (kind, name), places in found.items():
        numbers = {float(getattr(scales[place], kind)) for place in places}
        if len(numbers) > 1:
            must = f"such that weights which share a {kind} start at the same"
            finer = SHARED[SHARED.index(by) + 1 :]
            hint = f"take sigmas={' or '.join(map(repr, finer))}"
            fail(f"{owner}(sigmas={by!r})", must, f"a kernel with {sorted(numbers)}", hint)
        if numbers != {0.0}:
            out.append(Shared(kind, name, tuple(places), numbers.pop()))
    return tuple(out)


def _weights(kernel: LimitKernel, by: str) -> Iterator[tuple[str, int, str]]:
    """Every σ of every weight: its kind, the weight's place, and the name by which it is shared."""
    net = kernel.net
    firsts: dict[str, int] = {}  # the same weight may be used in several places
    for kind in ("sigma_w", "sigma_b"):
        for place, fact in enumerate(kernel.compiled.structure.facts):
            if isinstance(fact.form, Weight) and (kind == "sigma_w" or fact.form.bias):
                first = firsts.setdefault(net.nodes[place].owner, place)
                names = {"network": "", "role": net.role(first), "weight": net.nodes[place].owner}
                yield kind, place, names[by]


def at_sigmas(kernel: LimitKernel, sigmas: Mapping[Shared, Number]) -> LimitKernel:
    """The same kernel at other σ's, differentiable in those that are tensors.

    In an NTK the rate β of a bias stays what it is, unless it is σ_b² as by default: then it follows.

    Raises:
        ValueError: For a σ that is negative, not finite, or a tensor with axes.
    """
    moved: dict[tuple[str, int], Number] = {}
    for shared, number in sigmas.items():
        _check(f"{kernel.name}({shared}=...)", number)
        moved |= {(shared.kind, place): number for place in shared.places}
    scales = []
    for place, old in kernel.scales:
        b = moved.get(("sigma_b", place), old.sigma_b)
        follows = ("sigma_b", place) in moved and old.bias_lr == old.sigma_b**2
        w, rate = moved.get(("sigma_w", place), old.sigma_w), b**2 if follows else old.bias_lr
        scales.append((place, replace(old, sigma_w=w, sigma_b=b, bias_lr=rate)))
    return replace(kernel, scales=tuple(scales))


def _check(argument: str, number: Number) -> None:
    if not isinstance(number, Tensor):
        check_sigma(argument, number)
    elif number.ndim:
        fail(argument, "one number", f"a tensor of shape {tuple(number.shape)}")
    elif is_eager(number):
        check_sigma(argument, float(number.detach()))
