"""Parameters whose gradient is kept as its factors: Σ_i δ_i ⊗ x_i over the samples of the backward passes."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """One step of SGD for one parameter: v ← momentum·v + factor·grad + weight_decay·w,  w ← w − lr·v."""

    lr: float
    weight_decay: float
    momentum: float
    factor: Float[Tensor, ""] | None
    """What clipping multiplies the gradient by; None for 1."""


READ_ONLY = frozenset(
    {
        "__get__",
        "__set__",
        "is_floating_point",
        "is_complex",
        "requires_grad_",
        "dim",
        "_has_compatible_shallow_copy_type",
    }
)
# What optimisers ask of every gradient before the first parameter moves.
REFUSED = (torch.Tensor.is_sparse.__get__,)  # pyright: ignore[reportAttributeAccessIssue]


class FactoredGradient(Tensor):
    """The factors (δ, x) of a gradient Σ_i δ_i ⊗ x_i: δ = ∂loss/∂output, x the layer's input.

    An empty tensor to those who only look; whatever would compute with it is told what to use instead.
    """

    rows: list[tuple[Tensor, Tensor]]

    @staticmethod
    def __new__(cls, rows: list[tuple[Tensor, Tensor]]):
        """From the (δ, x) of each backward pass."""
        self = torch.Tensor._make_subclass(cls, rows[0][0].new_empty(0))
        self.rows = rows
        return self

    def factors(self) -> tuple[Float[Tensor, "m rank_out"], Float[Tensor, "m inputs"]]:
        """δ and x of all backward passes since the last step."""
        if len(self.rows) == 1:
            return self.rows[0]
        delta, x = zip(*self.rows, strict=True)
        return torch.cat(delta), torch.cat(x)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """Let attributes be read; move with `Module.to`; forget in `zero_grad`; refuse the rest.

        Raises:
            TypeError: For any computation.
        """
        name, kwargs = func.__name__, kwargs or {}
        if name == "to":
            rows = args[0].rows
            rows[:] = [(delta.to(*args[1:], **kwargs), x.to(*args[1:], **kwargs)) for delta, x in rows]
            return cls(rows)
        if name == "zero_":
            args[0].rows.clear()
            return args[0]
        if name in READ_ONLY and func not in REFUSED:
            return super().__torch_function__(func, types, args, kwargs)
        raise TypeError(
            f"this gradient is kept as factors, not as a tensor, and cannot be computed with (`{name}`): the optimizer "
            "or clipping function cannot drive `mupi.Atoms` or `mupi.factor_gradients`; use `mupi.SGD(..., clip=...)`, "
            "or constant-memory features such as `mupi.Hermite` as they come"
        )


class FactoredParameter(nn.Parameter):
    """A parameter whose ``grad`` is None or a `FactoredGradient`, which only `mupi.SGD` knows how to use.

    The layer's autograd function takes `trigger` as an input, calls `record` in its backward pass and returns zeros
    for the trigger. Setting ``grad = None``, as every ``zero_grad`` does, forgets the factors.
    """

    step_size: Tensor | float
    trigger: Float[Tensor, "0"]
    _rows: list[tuple[Tensor, Tensor]]
    _staged: list[tuple[int, Tensor, Tensor]]

    def __new__(cls, data: Tensor, requires_grad: bool = True):
        """As `torch.nn.Parameter`."""
        self = super().__new__(cls, data, requires_grad)
        self._rows, self._staged = [], []
        # A backward pass of `torch.autograd.grad` for other tensors visits the layer too, but accumulates nothing
        # here; so factors wait until the engine says that this leaf was asked for.
        self.trigger = torch.zeros(0, requires_grad=True)
        self.trigger.register_post_accumulate_grad_hook(lambda _: self._commit())
        return self

    @abstractmethod
    def squared_norm(self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m inputs"]) -> Float[Tensor, ""]:
        """‖Σ_i δ_i ⊗ x_i‖² = Σ_ij δ_i·δ_j ⟨x_i, x_j⟩, in the inner product of the layer's feature space."""

    @abstractmethod
    def descend(
        self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m inputs"], step: Step, state: dict
    ) -> None:
        """Take a step along the gradient Σ_i δ_i ⊗ x_i; ``state`` is the optimiser's memory of this parameter."""

    def record(self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m inputs"]) -> None:
        """Called inside a backward pass, once for every use of the layer in the graph."""
        task = torch._C._current_graph_task_id()
        self._staged = [staged for staged in self._staged if staged[0] == task]
        self._staged.append((task, delta, x))

    def _commit(self) -> None:
        task = torch._C._current_graph_task_id()
        self._rows += [(delta, x) for staged_task, delta, x in self._staged if staged_task == task]
        self._staged = []
        self.trigger.grad = None

    @property
    def grad(self) -> FactoredGradient | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The factors of the backward passes since the last step, or None."""
        return FactoredGradient(self._rows) if self._rows else None

    @grad.setter
    def grad(self, value: None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if value is not None:
            raise TypeError("a factored gradient comes from backward passes; it can only be set to None")
        self._rows, self._staged = [], []

    def __reduce_ex__(self, protocol) -> tuple:
        return type(self), (self.data, self.requires_grad)
