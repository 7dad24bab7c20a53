"""Parameters whose gradient is kept as its factors: Σ_i δ_i ⊗ x_i over the samples of the backward passes."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mupi.torch_internals import as_plain_tensors, will_execute, without_storage


@dataclass(frozen=True)
class Step:
    """One step of SGD for one parameter: v ← momentum·v + factor·grad + weight_decay·w,  w ← w − lr·v."""

    lr: float
    weight_decay: float
    momentum: float
    factor: Float[Tensor, ""] | None
    """What clipping multiplies the gradient by; None for 1."""


OPERATORS = frozenset({"add", "sub", "mul", "div", "matmul", "mm", "pow", "neg", "eq", "ne", "lt", "le", "gt", "ge"})


class FactoredGradient(Tensor):
    """The factors (δ, x) of a gradient Σ_i δ_i ⊗ x_i: δ = ∂loss/∂output, x the layer's input.

    A tensor without numbers, with the parameter's shape. Autograd's engine adds it up as it adds any gradient, under
    its locks: so uses of a layer in one graph, backward passes, threads, and passes inside of passes all count, each
    once. The order of the rows is that in which the engine came to them, and decides nothing but rounding. To sums
    with a dense gradient of a matrix it contributes Σ_i x_i δ_iᵀ. Whatever else would compute with it is told what to
    use instead.
    """

    rows: list[tuple[Tensor, Tensor]]

    @staticmethod
    def __new__(cls, shape: torch.Size, rows: list[tuple[Tensor, Tensor]]):
        """A gradient of a parameter of this shape, from the (δ, x) of each use of the layer."""
        (delta, _), *_ = rows
        self = without_storage(cls, shape, delta.dtype, delta.device)
        self.rows = rows
        return self

    def factors(self) -> tuple[Float[Tensor, "m rank_out"], Float[Tensor, "m inputs"]]:
        """δ and x of all backward passes since the last step."""
        if len(self.rows) == 1:
            return self.rows[0]
        delta, x = zip(*self.rows, strict=True)
        return torch.cat(delta), torch.cat(x)

    def __repr__(self, *, tensor_contents=None) -> str:
        return f"FactoredGradient({sum(len(delta) for delta, _ in self.rows)} rows, {self.dtype})"

    def __deepcopy__(self, memo: dict) -> "FactoredGradient":
        return type(self)(self.shape, [(delta.clone(), x.clone()) for delta, x in self.rows])

    def __reduce_ex__(self, protocol) -> tuple:
        return type(self), (self.shape, self.rows)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """All as if this were not there, but for two attributes.

        Raises:
            TypeError: For ``is_sparse``, which optimisers ask of every gradient before the first parameter moves.
        """
        if func == torch.Tensor.is_sparse.__get__:  # pyright: ignore[reportAttributeAccessIssue]
            refuse_gradient("is_sparse")
        with as_plain_tensors():
            result = func(*args, **(kwargs or {}))
        if func == torch.Tensor.data.__set__:  # pyright: ignore[reportAttributeAccessIssue]
            args[0].rows = args[1].rows  # as `Module.to` sets the gradients that it moved
        return result

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        """What the engine, ``zero_grad`` and `Module.to` do with gradients; all else is refused.

        Raises:
            TypeError: For any computation.
            RuntimeError: For an operator such as ``*``.
        """
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        first: Any = args[0]
        if name in ("add", "add_") and not kwargs and isinstance(args[1], Tensor) and args[1].shape == first.shape:
            return cls._add(first, args[1], in_place=name == "add_")
        if name in ("detach", "alias", "clone"):
            return cls(first.shape, list(first.rows))
        if name == "_to_copy":
            options = {key: value for key, value in kwargs.items() if key in ("dtype", "device", "non_blocking")}
            return cls(first.shape, [(delta.to(**options), x.to(**options)) for delta, x in first.rows])
        if name == "zero_":
            first.rows = [(delta[:0], x[:0]) for delta, x in first.rows[:1]]
            return first
        return refuse_gradient(name)

    @classmethod
    def _add(cls, first: Tensor, second: Tensor, in_place: bool) -> Tensor:
        """The sum of two gradients, of which one has factors at least."""
        if isinstance(first, cls) and isinstance(second, cls):
            if not in_place:
                return cls(first.shape, first.rows + second.rows)
            first.rows = first.rows + second.rows
            return first
        if first.ndim != 2:
            refuse_gradient("add")
        if isinstance(second, cls):
            return first.add_(second.dense()) if in_place else first + second.dense()
        assert isinstance(first, cls)
        if not in_place:
            return first.dense() + second
        first.rows = [*first.rows, (second, torch.eye(len(second), dtype=second.dtype, device=second.device))]
        return first

    def dense(self) -> Float[Tensor, "inputs rank_out"]:
        """Σ_i x_i δ_iᵀ, the gradient of a matrix, multiplied out."""
        delta, x = self.factors()
        return x.T @ delta


def refusal(name: str, words: str) -> TypeError | RuntimeError:
    """What to raise for an operation on what is no tensor.

    Where an operator raises a TypeError, Python says that it does not know the operator, and drops what we said.
    """
    return (RuntimeError if name in OPERATORS else TypeError)(words)


def refuse_gradient(name: str) -> NoReturn:
    """Say what computes with factored gradients.

    Raises:
        TypeError: As `refusal` says.
        RuntimeError: As `refusal` says.
    """
    raise refusal(
        name,
        f"this gradient is kept as factors, not as a tensor, and cannot be computed with (`{name}`): the optimizer "
        "or clipping function cannot drive `mupi.Atoms` or `mupi.factor_gradients`; use `mupi.SGD(..., clip=...)`, "
        "in several processes with `mupi.distributed.data_parallel(net)`, or constant-memory features such as "
        "`mupi.Hermite` as they come",
    )


def asked_for(ctx: Any, i: int) -> Literal["nothing", "value", "sum"]:
    """What the backward pass in progress wants of the leaf that is input ``i`` of an autograd function.

    Its gradient added to ``grad``, or returned from `torch.autograd.grad`, or nothing: gradients of other tensors only.
    """
    if not ctx.needs_input_grad[i]:
        return "nothing"
    try:
        return "sum" if will_execute(ctx.next_functions[i][0]) else "nothing"
    except RuntimeError:  # raised for a leaf among the tensors that `torch.autograd.grad` is to differentiate by
        return "value"


class FactoredParameter(nn.Parameter):
    """A parameter whose ``grad`` is, as a rule, a `FactoredGradient`, which only `mupi.SGD` knows how to use.

    The layer's autograd function takes it as an input and returns a `FactoredGradient` for it.
    """

    @abstractmethod
    def squared_norm(self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m inputs"]) -> Float[Tensor, ""]:
        """‖Σ_i δ_i ⊗ x_i‖² = Σ_ij δ_i·δ_j ⟨x_i, x_j⟩, in the inner product of the layer's feature space."""

    @abstractmethod
    def descend(
        self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m inputs"], step: Step, state: dict
    ) -> None:
        """Take a step along the gradient Σ_i δ_i ⊗ x_i; ``state`` is the optimiser's memory of this parameter."""

    def __reduce_ex__(self, protocol) -> tuple:
        return type(self), (self.data, self.requires_grad)
