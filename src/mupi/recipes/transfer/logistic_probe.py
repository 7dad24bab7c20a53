"""`LogisticProbe`: multinomial logistic regression on fixed features."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

ITERATIONS = 200
TOLERANCE = 1e-6


class LogisticProbe:
    """Minimises mean cross-entropy(W x̂ + b) + ½·penalty·|W|² over W and b, x̂ the features standardised one by one.

    The problem is convex; it is solved by L-BFGS on all rows, from W = 0.

    Attributes:
        weight: The weight W, after `fit`.
        bias: The bias b, after `fit`.

    Args:
        penalty: Multiplier of ½|W|² in what is minimized.
        classes: How many there are.
    """

    weight: Float[Tensor, "classes d"]
    bias: Float[Tensor, " classes"]

    def __init__(self, penalty: float, classes: int):
        self.penalty = penalty
        self.classes = classes

    def fit(self, X: Float[Tensor, "n d"], y: Int64[Tensor, " n"]) -> "LogisticProbe":
        """Solve for W and b.

        Raises:
            FloatingPointError: If the loss is not finite.
        """
        self.mean = X.mean(0)
        # A feature that never varies (a dead neuron) stays 0.
        std = X.std(0, correction=0)
        self.scale = torch.where(std > 0, std.reciprocal(), 0.0)
        x = self._standardized(X)
        weight = x.new_zeros(self.classes, x.shape[1], requires_grad=True)
        bias = x.new_zeros(self.classes, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=ITERATIONS,
            tolerance_grad=TOLERANCE,
            tolerance_change=0.01 * TOLERANCE,
            line_search_fn="strong_wolfe",
        )

        def objective() -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(linear(x, weight, bias), y) + 0.5 * self.penalty * weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(objective)
        self.weight, self.bias = weight.detach(), bias.detach()
        if not torch.isfinite(self.weight).all():
            raise FloatingPointError(f"the probe with penalty {self.penalty:g} diverged")
        return self

    def predict(self, X: Float[Tensor, "m d"]) -> Float[Tensor, "m classes"]:
        """W x̂ + b of each row."""
        return linear(self._standardized(X), self.weight, self.bias)

    def _standardized(self, X: Tensor) -> Tensor:
        return (X - self.mean) * self.scale
