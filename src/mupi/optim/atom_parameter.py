"""How a growing list of atoms stands among a module's parameters."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AtomList(ABC):
    """A weight matrix Σ_m c_m a_m ⊗ κ(b_m, ·), as the optimiser sees it."""

    @property
    @abstractmethod
    def coefficients(self) -> Float[Tensor, " m"]:
        """c, a copy."""

    @abstractmethod
    def set_coefficients(self, c: Float[Tensor, " m"]) -> None:
        """Replace c."""

    @abstractmethod
    def append(self, c: Float[Tensor, " m"], a: Float[Tensor, "m rank_out"], b: Float[Tensor, "m rank_in"]) -> None:
        """Add atoms at the end."""

    @abstractmethod
    def squared_norm(self, a: Float[Tensor, "m rank_out"], b: Float[Tensor, "m rank_in"]) -> Float[Tensor, ""]:
        """‖Σ_m a_m ⊗ κ(b_m, ·)‖² = Σ_ij a_i·a_j κ(b_i, b_j)."""


class AtomGradient:
    """The gradient of a list of atoms: Σ_i δ_i ⊗ κ(g_i, ·), with δ = ∂loss/∂output and g the layer's input.

    It is no tensor; whatever asks it for a tensor's attributes is told so.
    """

    def __init__(self, atoms: AtomList, rows: list[tuple[Tensor, Tensor]]):
        self.atoms = atoms
        self.rows = rows

    def factors(
        self,
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, "m rank_out"], Float[Tensor, "m rank_in"]]:
        """|δ|, δ/|δ| and g of all backward passes since the last step; unit rows do not underflow in half precision."""
        delta, g = (torch.cat(rows) for rows in zip(*self.rows, strict=True))
        size = torch.linalg.vector_norm(delta, dim=-1)
        return size, delta / size.clamp_min(torch.finfo(size.dtype).tiny)[:, None], g

    def norm(self) -> Float[Tensor, ""]:
        """(Σ_ij δ_i·δ_j κ(g_i, g_j))^{1/2}, the Frobenius norm of the (projected) gradient at infinite width."""
        size, direction, g = self.factors()
        return self.atoms.squared_norm(size[:, None] * direction, g).clamp_min(0).sqrt()

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        raise TypeError(
            f"atoms have no tensor gradient (asked for `.grad.{name}`): this optimizer or clipping function cannot "
            "drive `mupi.Atoms`; use `mupi.SGD(..., clip=...)`, or constant-memory features such as `mupi.Hermite`"
        )


class AtomParameter(nn.Parameter):
    """Stands for an `AtomList` in ``module.parameters()`` and in an optimiser's parameter groups.

    As a tensor it is empty. Its ``grad`` is None or an `AtomGradient`: the layer's autograd function calls `record`
    in each backward pass; setting ``grad = None``, as ``zero_grad`` does, forgets the gradient. Only `mupi.SGD`
    knows what to do with it.
    """

    atoms: AtomList
    _rows: list[tuple[Tensor, Tensor]]
    _staged: list[tuple[int, Tensor, Tensor]]

    def __new__(cls, atoms: AtomList, dtype: torch.dtype | None = None, device: torch.device | None = None):
        """A parameter for these atoms."""
        self = super().__new__(cls, torch.empty(0, dtype=dtype, device=device), requires_grad=True)
        self.atoms = atoms
        self._rows, self._staged = [], []
        # A backward pass of `torch.autograd.grad` for other tensors visits the layer too, but does not accumulate
        # here; so rows wait until the engine says that this parameter was asked for.
        self.register_post_accumulate_grad_hook(AtomParameter._commit)
        return self

    def record(self, delta: Float[Tensor, "m rank_out"], g: Float[Tensor, "m rank_in"]) -> None:
        """Called inside a backward pass, once for every use of the layer in the graph."""
        self._staged.append((torch._C._current_graph_task_id(), delta, g))

    def _commit(self) -> None:
        task = torch._C._current_graph_task_id()
        self._rows += [(delta, g) for staged_task, delta, g in self._staged if staged_task == task]
        self._staged = []

    @property
    def grad(self) -> AtomGradient | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The atoms that the next step appends, or None."""
        return AtomGradient(self.atoms, self._rows) if self._rows else None

    @grad.setter
    def grad(self, value: None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if value is not None:
            raise TypeError("the gradient of `mupi.Atoms` comes from backward passes; it can only be set to None")
        self._rows, self._staged = [], []

    def __deepcopy__(self, memo: dict) -> "AtomParameter":
        """A copy that belongs to the copied atoms; pending gradients stay behind, as with any leaf."""
        copy = memo[id(self)] = AtomParameter.__new__(AtomParameter, self.atoms, self.dtype, self.device)
        copy.requires_grad_(self.requires_grad)
        copy.atoms = deepcopy(self.atoms, memo)
        return copy

    def __reduce_ex__(self, protocol):
        return AtomParameter, (self.atoms, self.dtype, self.device)


def atom_parameters(module: nn.Module) -> Iterator[AtomParameter]:
    """The parameters of a module that stand for atoms."""
    return (p for p in module.parameters() if isinstance(p, AtomParameter))
