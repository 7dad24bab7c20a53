"""Attacks on `Program`: what cannot be written, or goes wrong while it runs, must be refused by its line."""

import json
import subprocess
import sys

import numpy as np
import torch

from mupi.programs import Program, apply, gradients, mean, outer

# Torch functions of lines are lines, which torch's annotations do not know; and most of this is wrong.
# pyright: basic, reportArgumentType=false, reportOperatorIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportUndefinedVariable=false, reportGeneralTypeIssues=false


def clip(v):
    v[v < 0] = 0
    return v


def at_ten(wrong):
    """Something else at width 10 than when it was tried."""
    return lambda v: wrong(v) if len(v) == 10 else v


BAD = {
    "what a function returns": {
        "an axis less": lambda p, W, x, y, other: apply(lambda v: v.sum(1), x),
        "some rows": lambda p, W, x, y, other: apply(lambda v: v[:2], x),
        "None": lambda p, W, x, y, other: apply(lambda v: None, x),
        "a number": lambda p, W, x, y, other: apply(lambda v: 3.0, x),
        "a tuple": lambda p, W, x, y, other: apply(lambda v: (v, v), x),
        "NaN": lambda p, W, x, y, other: apply(torch.log, x),
        "no moments": lambda p, W, x, y, other: apply(lambda v: torch.exp(v * v), x),
        "the sum": lambda p, W, x, y, other: torch.sum(x),
        "another shape of scalars": lambda p, W, x, y, other: apply(lambda s: s.reshape(5), mean(x)),
        "scalars that are none": lambda p, W, x, y, other: apply(lambda s: None, mean(x)),
    },
    "what a function does": {
        "too many arguments": lambda p, W, x, y, other: apply(torch.tanh, x, y),
        "too few": lambda p, W, x, y, other: apply(lambda a, b: a * b, x),
        "an unknown name": lambda p, W, x, y, other: apply(lambda v: v * unknown, x),  # noqa: F821
        "a missing key": lambda p, W, x, y, other: apply(lambda v: {}[1] * v, x),
        "an assertion": lambda p, W, x, y, other: apply(lambda v: torch._assert(False, "bad"), x),
        "another dtype": lambda p, W, x, y, other: apply(torch.nn.Linear(1, 1), x),
        "in place": lambda p, W, x, y, other: apply(lambda v: v.mul_(2), x),
        "in place, once": lambda p, W, x, y, other: apply(clip, x),
        "in place, torch's": lambda p, W, x, y, other: torch.relu_(x),
        "in place, an option": lambda p, W, x, y, other: apply(lambda v: torch.nn.functional.relu(v, inplace=True), x),
        "not callable": lambda p, W, x, y, other: apply("tanh", x),
    },
    "what a function captures": {
        "a tensor of rows": lambda p, W, x, y, other: apply(lambda v: v * torch.ones(32, 1), x),
        "a tensor of other rows": lambda p, W, x, y, other: apply(lambda v: v * torch.ones(7, 1), x),
        "rows as a constant": lambda p, W, x, y, other: x * torch.ones(32, 1),
        "a vector": lambda p, W, x, y, other: apply(lambda v: v * y, x),
        "another program's": lambda p, W, x, y, other: apply(lambda v: v * other, x),
        "a mean": lambda p, W, x, y, other: apply(lambda v: v - mean(y), x),
        "a matrix": lambda p, W, x, y, other: apply(lambda v: v + W @ x, x),
    },
    "lines that do not fit": {
        "two programs": lambda p, W, x, y, other: x + other,
        "the wrong side": lambda p, W, x, y, other: x @ W,
        "W * x": lambda p, W, x, y, other: W * x,
        "W @ W": lambda p, W, x, y, other: W @ W,
        "W @ other": lambda p, W, x, y, other: W @ other,
        "W.T @ 3": lambda p, W, x, y, other: W.T @ 3.0,
        "W + 1": lambda p, W, x, y, other: W + 1,
        "W.T + outer": lambda p, W, x, y, other: W.T + outer(x, x),
        "W - outer of others": lambda p, W, x, y, other: W - outer(other, other),
        "a tensor @ x": lambda p, W, x, y, other: torch.randn(3, 3) @ x,
        "text": lambda p, W, x, y, other: x + "a",
        "None": lambda p, W, x, y, other: x + None,
        "a matrix in mean": lambda p, W, x, y, other: mean(x, W),
        "lists": lambda p, W, x, y, other: torch.cat([x, y], 1),
    },
    "Python and NumPy": {
        "if x > 0": lambda p, W, x, y, other: x if x > 0 else -x,
        "where(x > 0)": lambda p, W, x, y, other: torch.where(x > 0, x, -x),
        "float": lambda p, W, x, y, other: float(x),
        "np.tanh": lambda p, W, x, y, other: np.tanh(x),
        "x[5]": lambda p, W, x, y, other: y[5],
        "x[0:1]": lambda p, W, x, y, other: y[0:1],
        "x[0] = ": lambda p, W, x, y, other: y.__setitem__(0, x),
    },
    "what goes wrong later": {
        "another shape": lambda p, W, x, y, other: (mean(apply(at_ten(lambda v: v[:3]), x)), p.run(10)),
        "another error": lambda p, W, x, y, other: (mean(apply(at_ten(lambda v: v.foo), x)), p.run(10)),
        "NaN": lambda p, W, x, y, other: (mean(apply(at_ten(lambda v: v / 0.0 - v / 0.0), x)), p.run(10)),
        "a line of another program": lambda p, W, x, y, other: p.run(5, keep=[other]),
        "a matrix of the limit": lambda p, W, x, y, other: p.limit(100, keep=[W]),
        "no line": lambda p, W, x, y, other: gradients(mean(x)[0], [3]),
    },
}


def outcome(write):
    """Of one of them."""
    p = Program()
    given = p, p.matrix("W"), p.vector("x"), p.vector("y", torch.eye(2)), Program().vector("other")
    try:
        write(*given)
    except ValueError as error:
        said = str(error)
        return "refused" if said.startswith(("`", "line ")) and "\n" not in said else "traceback"
    except Exception:
        return "traceback"
    return "silent"


def test_bad_programs_are_refused_by_the_line(record):
    # In a process of its own, and so without the runtime type checks of the tests, as a user meets it.
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    for kind, cases in json.loads(done.stdout).items():
        for name, found in cases.items():
            record(f"bad programs, {kind}", name, found)


if __name__ == "__main__":
    outcomes = {kind: {name: outcome(write) for name, write in cases.items()} for kind, cases in BAD.items()}
    print(json.dumps(outcomes))
