"""CBOW word by word and row by row, on plain float64 lists of vectors: what the fast step must equal."""

import math

import torch
from torch import Tensor

from mupi.nets.banded import RUN
from mupi.nets.cbow import Positions


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cbow_step(u: Tensor, n: Tensor, positions: Positions, K: float, lr: float, weight_decay: float) -> float:
    """Change the rows of u and n, both (V, any number of columns), in place; return the loss."""
    words, centres, negatives = (x.tolist() for x in (positions.words, positions.centres, positions.negatives))
    old_u, old_n = u.clone(), n.clone()
    uses_u, uses_n = [0.0] * len(u), [0.0] * len(n)
    loss = 0.0
    centre_changes: list[tuple[int, Tensor]] = []
    for start in range(0, len(centres), RUN):
        # The negatives' vectors, as all runs before have left them.
        moved = n.clone()
        for b in range(start, min(start + RUN, len(centres))):
            place, radius = positions.first + b, int(positions.radius[b])
            context = [j for j in range(place - radius, place + radius + 1) if j != place and 0 <= j < len(words)]
            h = sum((old_u[words[j]] for j in context), torch.zeros_like(u[0])) / max(len(context), 1)

            score = float(h @ old_n[centres[b]])
            loss += math.log1p(math.exp(-score))
            slope = -sigmoid(-score)
            gradient_h = slope * old_n[centres[b]]
            centre_changes.append((centres[b], -lr * slope * h))
            uses_n[centres[b]] += 1
            for negative in negatives:
                if negative == centres[b]:
                    continue
                weight = K / len(negatives)
                score = float(h @ moved[negative])
                loss += weight * math.log1p(math.exp(score))
                slope = weight * sigmoid(score)
                gradient_h = gradient_h + slope * moved[negative]
                n[negative] -= lr * slope * h
                uses_n[negative] += weight
            for j in context:
                u[words[j]] -= lr * gradient_h / len(context)
                uses_u[words[j]] += 1
    for word, change in centre_changes:
        n[word] += change
    for rows, uses in ((u, uses_u), (n, uses_n)):
        rows *= (1 - lr * weight_decay) ** torch.tensor(uses, dtype=rows.dtype)[:, None]
    return loss
