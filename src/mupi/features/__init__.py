"""Feature maps ψ with κ_φ(b, g) = ⟨ψ(b), ψ(g)⟩: one file each."""

from mupi.features.atoms import Atoms, AtomWeight
from mupi.features.average_pool import AveragePool
from mupi.features.expansion import Expansion, exact_input_gradient, exact_sum
from mupi.features.gate import Gate, Neuron, dual_within, gram, own_error
from mupi.features.hermite import Hermite, HermiteWeight
from mupi.features.hermite_gate import at_gate
from mupi.features.random_features import RandomFeatures, RandomJunction, RandomWeight, whitened_gaussian
from mupi.features.weight import Features, Weight

Random = RandomFeatures  # what earlier versions called it

__all__ = [
    "AtomWeight",
    "Atoms",
    "AveragePool",
    "Expansion",
    "Features",
    "Gate",
    "Hermite",
    "HermiteWeight",
    "Neuron",
    "Random",
    "RandomFeatures",
    "RandomJunction",
    "RandomWeight",
    "Weight",
    "at_gate",
    "dual_within",
    "exact_input_gradient",
    "exact_sum",
    "gram",
    "own_error",
    "whitened_gaussian",
]
