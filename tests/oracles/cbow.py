"""CBOW word by word and row by row, on plain float64 lists of vectors: what the fast steps must equal."""

import math

import torch
from torch import Tensor

from mupi.recipes.word2vec.cbow import RUN
from mupi.recipes.word2vec.passage import Passage


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cbow_passage(u: Tensor, n: Tensor, passage: Passage, K: float, lr: float, weight_decay: float) -> float:
    """Change the rows of u and n, both (V, any number of columns), in place; return the loss."""
    positions = range(len(passage.words))
    return sum(
        cbow_step(u, n, passage, positions[k * passage.batch_size :][: passage.batch_size], k, K, lr, weight_decay)
        for k in range(passage.steps)
    )


def cbow_step(
    u: Tensor, n: Tensor, passage: Passage, positions: range, step: int, K: float, lr: float, weight_decay: float
) -> float:
    """The step of some positions."""
    words, negatives = passage.words.tolist(), passage.negatives[step].tolist()
    old_u, old_n = u.clone(), n.clone()
    uses_u, uses_n = [0.0] * len(u), [0.0] * len(n)
    loss = 0.0
    center_changes: list[tuple[int, Tensor]] = []
    for start in range(0, len(positions), RUN):
        # The negatives' vectors, as all runs before have left them.
        moved = n.clone()
        for place in positions[start : start + RUN]:
            center, radius = words[place], int(passage.radius[place])
            context = [j for j in range(place - radius, place + radius + 1) if j != place and 0 <= j < len(words)]
            h = sum((old_u[words[j]] for j in context), torch.zeros_like(u[0])) / max(len(context), 1)

            score = float(h @ old_n[center])
            loss += math.log1p(math.exp(-score))
            slope = -sigmoid(-score)
            gradient_h = slope * old_n[center]
            center_changes.append((center, -lr * slope * h))
            uses_n[center] += 1
            for negative in negatives:
                if negative == center:
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
    for word, change in center_changes:
        n[word] += change
    for rows, uses in ((u, uses_u), (n, uses_n)):
        rows *= (1 - lr * weight_decay) ** torch.tensor(uses, dtype=rows.dtype)[:, None]
    return loss
