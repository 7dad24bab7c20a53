"""How far a layer's feature map is from the exact kernel."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mupi.features import Weight, exact_input_gradient, exact_sum, own_error

ATOMS_AT_A_TIME = 256


@dataclass(frozen=True)
class LayerError:
    """Relative L2 errors of one layer on a batch.

    >>> net = mupi.PiMLP(64, 10, rank=20, features=mupi.Hermite(1), readout_std=0.05)
    >>> first, readout = net.error_report(torch.randn(8, 64))
    >>> readout.layer, 0 < readout.output < 1  # what degrees above 1 would add
    ('readout', True)

    Attributes:
        layer: The layer's name.
        output: ‖approximate − exact‖/‖exact‖ of the layer's output, without its bias; and the quadrature's error of
            E φφ, where φ has no closed form.
        gradient: The same of (∂output/∂g)ᵀ δ, the gradient that the layer hands down, and of E φ'φ'.
        atoms: On how many atoms it was measured.
        quadrature: What of ``output`` and ``gradient`` is the activation's: see `mupi.Quadrature`.
    """

    layer: str
    output: float
    gradient: float
    atoms: int
    quadrature: tuple[float, float] = (0.0, 0.0)


def layer_error(
    name: str,
    weight: Weight,
    g: Float[Tensor, "n rank_in"],
    delta: Float[Tensor, "n rank_out"] | None = None,
) -> LayerError:
    """Compare Σ_m c_m a_m k(b_m, g) under the layer's own kernel k and under κ_φ, on the weight's sample of atoms.

    κ_φ of a `mupi.Quadrature` has an error of its own, which is measured too and added.

    Args:
        name: The layer's name, for the report.
        weight: The weight whose feature map is measured.
        g: The layer's inputs, one row each.
        delta: ∂loss/∂output to send back; None for Gaussian noise (seed 0), which measures the whole Jacobian.
    """
    atoms = weight.sample_atoms()
    if atoms is None or len(atoms) == 0:
        return LayerError(name, 0.0, 0.0, 0)
    if delta is None:
        noise = torch.randn(len(g), weight.rank_out, generator=torch.Generator().manual_seed(0))
        delta = noise.to(g)
    g = g.detach()
    with torch.no_grad():
        exact = exact_sum(weight.activation, [atoms], g, weight.rank_out)
        exact_gradient = exact_input_gradient(weight.activation, [atoms], g, delta)
    near, near_gradient = torch.zeros_like(exact), torch.zeros_like(exact_gradient)
    inputs = g.clone().requires_grad_()
    for i in range(0, len(atoms), ATOMS_AT_A_TIME):
        c, a, b = (t[i : i + ATOMS_AT_A_TIME] for t in (atoms.c, atoms.a, atoms.b))
        with torch.enable_grad():
            part = weight.kernel(inputs, b) @ (c[:, None] * a)
        if part.requires_grad:  # else it is 0, of a kernel without any degree
            near_gradient += torch.autograd.grad(part, inputs, delta)[0]
        near += part.detach()
    # What both sides share does not show in their difference.
    own = own_error(weight.activation, g, atoms.b.to(g))
    output, gradient = relative_error(near, exact) + own[0], relative_error(near_gradient, exact_gradient) + own[1]
    return LayerError(name, output, gradient, len(atoms), own)


def relative_error(value: Tensor, reference: Tensor) -> float:
    """‖value − reference‖/‖reference‖, 0 if both are zero."""
    size = torch.linalg.vector_norm(reference)
    error = torch.linalg.vector_norm(value - reference)
    return float(error / size) if size > 0 else float(error)
