"""How a growing list of atoms stands among a module's parameters, and its step of SGD."""

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.parameters.factored import FactoredGradient, FactoredParameter, Step, refusal
from mupi.parameters.norms import row_norms
from mupi.parameters.precision import own_precision
from mupi.torch_internals import as_dispatched_tensors, subclassed


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
    def own(self, m: int) -> slice:
        """Which of m atoms that a step adds this process keeps: all, where it is the only one that trains them."""

    @abstractmethod
    def squared_norm(self, a: Float[Tensor, "m rank_out"], b: Float[Tensor, "m rank_in"]) -> Float[Tensor, ""]:
        """‖Σ_m a_m ⊗ κ(b_m, ·)‖² = Σ_ij a_i·a_j κ(b_i, b_j)."""


class AtomParameter(FactoredParameter):
    """Stands for an `AtomList` in ``module.parameters()``. As a tensor it is empty.

    Its gradient Σ_i δ_i ⊗ κ(g_i, ·) is the list of the atoms which the next step appends. Whatever would compute with
    it, to average, share, count or regularise it, is refused: it would see no atoms, and say nothing.
    """

    atoms: AtomList

    @classmethod
    def of(cls, atoms: AtomList, like: Tensor, requires_grad: bool = True) -> "AtomParameter":
        """A parameter for these atoms, with the dtype and device of ``like``."""
        self = cls(like.new_empty(0), requires_grad)
        self.atoms = atoms
        return self

    @property
    def grad(self) -> FactoredGradient | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The factors of the backward passes since the last step, or None."""
        return super().grad  # pyright: ignore[reportReturnType]

    @grad.setter
    def grad(self, value: FactoredGradient | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if value is not None and not isinstance(value, FactoredGradient):
            raise TypeError("a factored gradient comes from backward passes; it can only be set to None")
        torch.Tensor.grad.__set__(self, value)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        """Let it be detached, moved as `Module.to` does, and asked for new tensors like it, as optimisers do.

        Raises:
            TypeError: For any other operation.
            RuntimeError: For an operator such as ``*``.
        """
        name = func.overloadpacket.__name__
        makes_new = name.startswith("new_") or name in ("zeros_like", "ones_like", "full_like")
        if not makes_new and name not in ("detach", "alias", "_to_copy", "empty_like"):
            refuse_atoms(name)
        with as_dispatched_tensors():
            result = func(*args, **(kwargs or {}))
        if makes_new:
            return result
        self = subclassed(cls, result)
        if hasattr(args[0], "atoms"):
            self.atoms = args[0].atoms
        return self

    def share_memory_(self) -> "AtomParameter":
        """Refused: other processes would not see atoms that are appended later.

        Raises:
            TypeError: Always.
        """
        return refuse_atoms("share_memory_")

    def __repr__(self, *, tensor_contents=None) -> str:
        return f"AtomParameter({self.dtype}, requires_grad={self.requires_grad})"

    def squared_norm(self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m rank_in"]) -> Float[Tensor, ""]:
        """Σ_ij δ_i·δ_j κ(g_i, g_j), the squared norm of the (projected) gradient at infinite width."""
        with own_precision(x.device):
            return self.atoms.squared_norm(delta, x)

    def descend(
        self, delta: Float[Tensor, "m rank_out"], x: Float[Tensor, "m rank_in"], step: Step, state: dict
    ) -> None:
        """A step on coefficients: atom (δ/|δ|, g) enters with c = 0 and velocity |δ|·factor.

        Unit rows do not underflow in half-precision storage.
        """
        rows = self.atoms.own(len(delta))
        delta, x = delta[rows], x[rows]
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
        copy = memo[id(self)] = type(self)(self._empty(), self.requires_grad)
        copy.atoms = deepcopy(self.atoms, memo)
        return copy

    def __reduce_ex__(self, protocol) -> tuple:
        return type(self).of, (self.atoms, self._empty(), self.requires_grad)

    def _empty(self) -> Tensor:
        """What it is as a tensor."""
        return torch.empty(0, dtype=self.dtype, device=self.device)


def refuse_atoms(name: str) -> NoReturn:
    """Say what computes with atoms.

    Raises:
        TypeError: As `refusal` says.
        RuntimeError: As `refusal` says.
    """
    raise refusal(
        name,
        f"the parameter of `mupi.Atoms` is a list that grows, not a tensor, and cannot be computed with (`{name}`): "
        "copy it by `copy.deepcopy` or `state_dict`; to train it in several processes use "
        "`mupi.distributed.data_parallel(net)`; to average, share or regularise it constant-memory features such as "
        "`mupi.Hermite`",
    )


class GuardedCoefficients(torch.autograd.Function):
    """c, in expressions that are differentiated twice or transformed: their gradient by the atoms is refused.

    It is no sum of atoms: the derivative of ∂_g Σ_m c_m a_m κ(b_m, g) by the weight is made of ∂_g κ(b, g).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(c: Tensor, parameter: AtomParameter) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As it is."""
        return c.clone()

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx, delta: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Refused.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            "the gradient by the atoms of `mupi.Atoms` cannot be had where the layer is differentiated twice "
            "(create_graph=True, a gradient penalty) or transformed (torch.func): freeze them by "
            "requires_grad_(False), name other inputs (backward(inputs=...)), or use constant-memory features such as "
            "`mupi.Hermite`"
        )
