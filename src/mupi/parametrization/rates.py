"""Learning-rate exponents per layer, for SGD and for Adam."""

from dataclasses import dataclass
from fractions import Fraction

from mupi.parametrization.exponents import Exponents


@dataclass(frozen=True)
class LearningRates:
    """Exponents c of learning rates η n^{−c}.

    Attributes:
        weights: Of w^1, …, w^{L+1}.
        hidden_bias: Of the biases of hidden layers.
        readout_bias: Of the readout's bias.
    """

    weights: tuple[Fraction, ...]
    hidden_bias: Fraction
    readout_bias: Fraction

    def of(self, role: str, layer: int = 0) -> Fraction:
        """By role (see `Roles`).

        Args:
            role: input, hidden, readout, vector or finite.
            layer: l of a weight, from 1 to L+1.
        """
        match role:
            case "vector":
                return self.hidden_bias
            case "finite":
                return self.readout_bias
            case _:
                return self.weights[layer - 1]


def sgd_rates(p: Exponents) -> LearningRates:
    """The one exponent c for all."""
    return LearningRates((p.c,) * (p.depth + 1), p.c, p.c)


def adam_rates(p: Exponents) -> LearningRates:
    """The exponents with which Adam moves every h^l, and f, by as much as SGD does in the same parametrization.

    A step of Adam changes the entries of w^l by η n^{−c_l} whatever the gradient's size, so W^l x^{l−1} by
    Θ(n^{−a_l − c_l + 1(l > 1)}). Equal to SGD's Θ(n^{−r_l}), and to Θ(n^{1 − 2a_{L+1} − c}) at the readout, for

        c_l = r_l − a_l + 1(l > 1),   c_{L+1} = a_{L+1} + c.

    For μP: (½, 1, …, 1, ½) with its multipliers, that is 0, 1, 1 for input, hidden and readout weights without
    them, as in Yang et al. (2022, Tensor Programs V, table 3). Adam's ε must be small against gradients that shrink
    with width.
    """
    weights = [r - a + (layer > 0) for layer, (r, a) in enumerate(zip(p.layer_r, p.a[:-1], strict=True))]
    return LearningRates((*weights, p.a[-1] + p.c), weights[0], -p.readout_bias[0])
