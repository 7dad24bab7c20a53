import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mupi.programs import Program, apply, mean, outer


@pytest.fixture
def p():
    return Program()


def test_operations_write_lines_in_their_order_and_in_the_users_notation(p):
    W, x = p.matrix("W", 2.0), p.vector("x")
    y = torch.tanh(W @ x).named("y")
    mean(x, (W - 0.5 * outer(y, x)).T @ (2.0 * y + x) / 3.0)
    assert [f"{line.name} = {line.formula}" for line in p.lines] == [
        "W = matrix of N(0, 2²/n)", "x = initial vector", "v3 = W @ x", "y = tanh(v3)",
        "v5 = 0.5 * y", "v6 = -1 * v5", "W7 = W + outer(v6, x)", "v8 = 2 * y", "v9 = v8 + x",
        "v10 = W7.T @ v9", "v11 = v10 / 3", "s12 = mean(x, v11)",
    ]  # fmt: skip


def test_a_line_is_its_operation_and_arguments_from_which_its_value_follows(p):
    W, x = p.matrix("W"), p.vector("x", torch.eye(2))
    s = mean(x, x)
    lines = [torch.relu(x), x @ s, (2.0 * W + outer(x, x)).T @ x, torch.clamp(x, min=-0.5, max=1.5)]
    generator = torch.Generator().manual_seed(0)
    values = p.run(30, generator, keep=[x, *lines])
    v = values[x]
    for line in (lines[0], lines[1], lines[3]):
        given = [v if a is x else values[a] if isinstance(a, type(s)) else a for a in line.arguments]
        torch.testing.assert_close(line.operation(*given), values[line], rtol=0, atol=0)
    assert lines[2].operation.transposed


def test_lines_programs_and_values_have_short_reprs(p):
    v = p.vector("v")
    for _ in range(33):
        v = torch.tanh(v) + v
    k = mean(v, v)
    values = p.run(10)
    assert repr(v) == "<Vector v67 = v66 + v65>"
    assert repr(p) == "<Program of 68 lines: 67 vectors, 1 scalar>"
    assert repr(values) == f"<Values of 1 lines: {k.name} 1×1>"


def test_names_are_unique_and_those_given_by_count_go_out_of_the_way_of_the_users(p):
    x = p.vector("v2")
    y = torch.tanh(x)
    assert (x.name, y.name) == ("v2", "v2'")
    assert p.find("v2") is x and p.find("nothing") is None
    with pytest.raises(ValueError, match="a name of its own"):
        y.named("v2")
    assert y.named("y") is y.named("y") is p.find("y") and p.find("v2'") is None


def test_a_program_runs_with_real_matrices(p):
    W, x = p.matrix("W"), p.vector("x", 4.0, mean=1.0)
    y = W.T @ torch.relu(W @ x)
    updated = W + outer(y, x)
    z = updated @ y
    moments = mean(x, z)
    values = p.run(50, torch.Generator().manual_seed(0), keep=[x, y, z])
    v, w = values[x], values[y]
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(50, 50, generator=generator, dtype=torch.float64) / 50**0.5
    torch.testing.assert_close(w, matrix.T @ torch.relu(matrix @ v))
    torch.testing.assert_close(values[z], (matrix + w @ v.T / 50) @ w)
    torch.testing.assert_close(values[moments], v.T @ values[z] / 50)


def test_columns_of_a_block_are_vectors(p):
    x = p.vector("x", torch.eye(3))
    first, _, last = x
    total = mean(first + last, x @ torch.tensor([[1.0], [2.0], [3.0]]))
    assert p.limit()[total].item() == pytest.approx(4.0)


def test_a_matrix_can_be_multiplied_by_a_scalar_from_either_side(p):
    W, x = p.matrix("W"), p.vector("x", 4.0)
    s = mean(x, x)
    moments = [mean(x, v) for v in ((s * W) @ (W.T @ x), (W * s) @ (W.T @ x), W @ ((s * W.T) @ x), s * W @ (W.T @ x))]
    limit, run = p.limit(), p.run(40, torch.Generator().manual_seed(0))
    for moment in moments:
        assert limit[moment].item() == pytest.approx(16.0)
        torch.testing.assert_close(run[moment], run[moments[0]])


def test_named_arguments_of_torch_functions_are_written_and_may_be_scalars(p):
    x = p.vector("x")
    clamped = torch.clamp(x, min=mean(x, x) - 1.0)
    torch.nn.functional.softplus(x, beta=2.0)
    assert [line.formula for line in p.lines[3:]] == ["clamp(x, min=s3)", "softplus(x, beta=2)"]
    s = mean(clamped, clamped)
    assert p.limit()[s].item() == pytest.approx(0.5)


BAD = {
    "W @ s": r"`line 6: W @ s` must be a matrix times a vector; got W @ s \(scalars of shape \(1, 1\)\)",
    "x @ y": r"`line 6: x @ y` must be a vector times scalars; got x \(1 vector\) @ y \(2 vectors\)",
    "y @ torch.ones(3, 1)": r"`line 6: y @ <3×1>` must be of arguments that fit; got y \(2 vectors\)",
    "y + y @ torch.ones(2, 3)": r"`line 7: y \+ v6` must be of arguments that fit",
    "p.matrix('W', 2.0)": r"`matrix\('W', sigma=2.0\)` must be the same as in line 1: W = .*; got σ = 2.0",
    "p.vector('W')": r"must be a name of its own; got that of line 1",
    "W + p.matrix('V')": r"`line 7: W \+ V` must be a sum of changes of one matrix",
    "W + 3.0": r"`line 6: W \+ 3` must be a sum of changes of one matrix",
    "W + outer(Program().vector('z'), x)": r"must be of lines of one program; got lines of two",
    "x * W": r"`line 6: x \* W` must be a number times a matrix; got x \(1 vector\) \* W \(a matrix\)",
    "mean(y) * W": r"must be a number times a matrix; got s6 \(scalars of shape \(2,\)\)",
    "torch.tanh(W)": r"`line 6: tanh\(W\)` must be of vectors and scalars; got W \(a matrix\)",
    "torch.log(x)": r"`line 6: log\(x\)` must be finite; got NaN or infinity",
    "torch.exp(x * x)": r"`line 7: exp\(v6\)` must be of moments: to grow more slowly than exp\(z²\)",
    "torch.exp(torch.relu(W @ x) ** 3)": r"`line 9: exp\(v8\)` must be of moments",
    "torch.softmax(x, 0)": r"`line 6: softmax\(x, 0\)` must be a function of coordinates",
    "torch.rand_like(x)": r"`line 6: rand_like\(x\)` must be a function of coordinates.*or a random one",
    "torch.mean(x)": r"`line 6: mean\(x\)` must be a block of vectors",
    "x + Program().vector('z')": r"`x \+ z` must be of lines of one program; got lines of two",
    "outer(x, y)": r"`outer\(d, x\)` must be given two vectors of as many columns; got x \(1 vector\) and y",
    "mean(s)": r"`line 6: mean\(s\)` must be of vectors; got s",
    "mean(torch.ones(3))": r"must be of vectors, matrices and scalars of a program; got constants of shape \(3,\)",
    "p.vector(covariance=-1.0)": r"`vector\(covariance=\.\.\.\)` must be positive semi-definite",
    "p.vector(covariance=torch.ones(2, 3))": r"`vector\(covariance=\.\.\.\)` must be a finite number ≥ 0",
    "p.matrix('V', -1.0)": r"`matrix\(sigma=\.\.\.\)` must be a finite number ≥ 0; got -1.0",
    "p.run(0)": r"`run\(width=\.\.\.\)` must be an integer ≥ 1; got 0",
    "p.limit(100, replicates=1)": r"`limit\(replicates=\.\.\.\)` must be at least 2",
    "p.limit(3)": r"`limit\(samples=\.\.\.\)` must be more than the . independent directions.*; got 3",
    "p.limit(keep=[x])": r"`limit\(keep=\.\.\.\)` must be given with samples",
    "x > 0": r"`line 6: x > 0` must be of numbers; got x \(1 vector\); compare inside a function",
    "float(x)": r"`float\(x\)` must be of a number; got x \(1 vector\)",
    "numpy.tanh(x)": r"`numpy.tanh\(x\)` must be a torch function of lines; got NumPy's; write torch.tanh",
    "y[2]": r"`line 6: y\[2\]` must be the number of one of 2 columns; got 2",
    "y.__setitem__(0, x)": r"`line 6: y\[0\] = …` must be no assignment",
    "W.T + outer(x, x)": r"`line 6: W.T \+ outer\(x, x\)` must be a sum of matrices as they are",
    "torch.cat([x, y], 1)": r"must be given lines one by one; got \[x \(1 vector\), y \(2 vectors\)\]",
    "torch.relu_(x)": r"`line 6: relu_\(x\)` must be a function that leaves its arguments as they are; got one that",
    "apply(clip, x, name='clip')": r"`line 6: clip\(x\)` must be a function that leaves its arguments as they are",
    "apply(lambda v: v * h, x)": r"`line 6: <lambda>\(x\)` must be a function of its arguments alone; got one",
    "apply(lambda v: v - mean(h), x)": r"`line 6: <lambda>\(x\)` must be a function of its arguments alone",
    "apply(lambda v: v + other, x)": r"`line 6: <lambda>\(x\)` must be a function of its arguments alone",
    "x * torch.ones(32, 1)": r"`line 6: x \* <32×1>` must be a function of coordinates, of any number of rows",
    "apply(lambda v: v.sum(1), x)": r"`line 6: <lambda>\(x\)` must be a block of vectors, \(rows, k\); got \(32,\)",
    "apply(lambda v: (v, v), x)": r"`line 6: <lambda>\(x\)` must be a block of vectors, \(rows, k\); got tuple",
    "apply(lambda v: v * unknown, x)": r"`line 6: <lambda>\(x\)` must be of arguments that fit.*NameError: name",
    "apply(torch.tanh, x, y)": r"`line 6: tanh\(x, y\)` must be of arguments that fit.*takes 1 positional",
    "p.run(5, keep=[other])": r"`run\(keep=...\)` must be vectors of this program; got .*of another program",
    "p.run(5)[x]": r"`values\[line\]` must be a scalar, or a vector named in keep; got line 2: x",
}


# In a process of its own, and so without the runtime type checks of the tests, as a user meets it.
SCRIPT = """
import json, sys, numpy, torch
from mupi.programs import Program, apply, mean, outer
other = Program().vector("other")
def clip(v):
    v[v < 0] = 0
    return v
for expression in json.load(sys.stdin):
    p = Program()
    W, x, y = p.matrix("W"), p.vector("x"), p.vector("y", torch.eye(2))
    h = W @ x
    s = mean(h, x).named("s")
    try:
        eval(expression, {**globals(), **locals()})
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))
    else:
        print(json.dumps("nothing"))
"""


@pytest.fixture(scope="module")
def messages():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(list(BAD)), capture_output=True, text=True, check=True
    )
    return dict(zip(BAD, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("expression", BAD)
def test_a_bad_line_is_refused_by_its_number_and_text(messages, expression):
    message = messages[expression]
    assert message.startswith("ValueError: "), message
    assert re.search(BAD[expression], message), message
    assert "\n" not in message


def test_what_goes_wrong_while_running_names_the_line(p):
    x = p.vector("x")
    # Nothing to see when it is written: 1/x is finite at all the numbers that are tried.
    inverse = 1.0 / x
    s = mean(inverse, inverse)
    with pytest.raises(ValueError, match=r"line 3: s3 = mean\(v2, v2\): .* must be .* finite moments"):
        p.limit()
    with pytest.raises(ValueError, match=r"line 3: s3 = mean\(v2, v2\): .*one of 2000 samples"):
        p.limit(2000, torch.Generator().manual_seed(0))
    y = torch.sqrt(s - 1e9) * x
    mean(y)
    with pytest.raises(ValueError, match=r"`line 5: s5 = sqrt\(s4\)` must be finite; got NaN"):
        p.run(10, torch.Generator().manual_seed(0))


def test_exponentials_and_high_powers_have_moments(p):
    x = p.vector("x")
    s, t = mean(torch.exp(x)), mean(x**4, x**4)
    values = p.limit()
    assert values[s].item() == pytest.approx(2.718281828**0.5)
    assert values[t].item() == pytest.approx(105.0)


def late(wrong):
    """A function that is what it should be while it is tried, and something else at width 10."""
    return lambda v: wrong(v) if len(v) == 10 else v


LATE = {
    "shape": (
        lambda v: v[:3],
        r"`line 2: v2 = late\(x\)` must be of shape \(10, 1\), as when.*; got \(3, 1\)",
    ),
    "error": (lambda v: v @ torch.ones(7, 7), r"line 2: v2 = late\(x\): RuntimeError: mat1 and mat2"),
    "NaN": (lambda v: v / 0.0 - v / 0.0, r"`line 2: v2 = late\(x\)` must be finite; got NaN"),
}


@pytest.mark.parametrize("case", LATE)
def test_what_goes_wrong_later_names_the_line_of_the_program_and_of_the_file(p, case):
    wrong, message = LATE[case]
    y = apply(late(wrong), p.vector("x"), name="late")
    number = inspect.currentframe().f_lineno - 1
    mean(y)
    with pytest.raises(ValueError, match=message) as raised:
        p.run(10)
    assert str(raised.value).endswith(f"(written in {Path(__file__).relative_to(Path.cwd())}:{number})")
    assert "\n" not in str(raised.value)


def test_a_refused_function_leaves_no_line_and_spoils_no_probe(p):
    x = p.vector("x")
    probe = x.probe.clone()
    for bad in (torch.relu_, lambda v: v * (x + 1.0)):
        with pytest.raises(ValueError, match="line 2"):
            apply(bad, x)
    assert len(p.lines) == 1 and torch.equal(x.probe, probe)


def test_arrays_of_numpy_and_powers_of_numbers_are_arithmetic(p):
    x = p.vector("x", torch.eye(2))
    scaled = np.array([2.0, 3.0]) * x
    values = p.run(4, keep=[x, scaled, two := 2**x, size := abs(x)])
    torch.testing.assert_close(values[scaled], values[x] * torch.tensor([2.0, 3.0], dtype=torch.float64))
    torch.testing.assert_close(values[two], 2 ** values[x])
    torch.testing.assert_close(values[size], values[x].abs())
