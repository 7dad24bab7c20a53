"""How a growing list of atoms stands among a module's parameters, and its step of SGD."""

from abc import ABC, abstractmethod
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.optim.factored import FactoredParameter, Step
from mupi.optim.norms import row_norms


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


class AtomParameter(FactoredParameter):
    """Stands for an `AtomList` in ``module.parameters()``. As a tensor it is empty.

    Its gradient Σ_i δ_i ⊗ κ(g_i, ·) is the list of the atoms which the next step appends.
    """

    atoms: AtomList

    @classmethod
    def of(cls, atoms: AtomList, like: Tensor, requires_grad: bool = True) -> "AtomParameter":
        """A parameter for these atoms, with the dtype and device of ``like``."""
        self = cls(like.new_empty(0), requires_grad)
        self.atoms = atoms
        return self

    def squared_norm(self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m rank_in"]) -> Float[Tensor, ""]:
        """Σ_ij δ_i·δ_j κ(g_i, g_j), the squared norm of the (projected) gradient at infinite width."""
        return self.atoms.squared_norm(delta, x)

    def descend(
        self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m rank_in"], step: Step, state: dict
    ) -> None:
        """A step on coefficients: atom (δ/|δ|, g) enters with c = 0 and velocity |δ|·factor.

        Unit rows do not underflow in half-precision storage.
        """
        size = row_norms(delta)
        velocity = size if step.factor is None else size * step.factor
        if step.momentum or step.weight_decay:
            old = self.atoms.coefficients
            old_velocity = step.weight_decay * old
            if step.momentum:
                previous = state.get("momentum_buffer", old.new_zeros(0))
                # Atoms that were there before the optimiser (the initial ones) have no velocity yet.
                old_velocity[: len(previous)] += step.momentum * previous
                state["momentum_buffer"] = torch.cat([old_velocity, velocity.to(old)])
            self.atoms.set_coefficients(old - step.lr * old_velocity)
        # Where δ is 0, or too small for its direction to be a number, there is nothing to append but zeros.
        direction = torch.where(size[:, None] > torch.finfo(size.dtype).tiny, delta / size[:, None], 0)
        self.atoms.append(-step.lr * velocity, direction, x)

    def __deepcopy__(self, memo: dict) -> "AtomParameter":
        """A copy that belongs to the copied atoms; pending gradients stay behind, as with any leaf."""
        copy = memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        copy.atoms = deepcopy(self.atoms, memo)
        return copy

    def __reduce_ex__(self, protocol) -> tuple:
        return type(self).of, (self.atoms, self.data, self.requires_grad)
