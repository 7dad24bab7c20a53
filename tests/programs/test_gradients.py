"""Reverse mode over lines: autograd at finite width, closed forms in the limit, and slopes between the two."""

import pytest
import torch

from mupi.programs import Matrix, Program, Scalar, Vector, apply, gradients, mean, outer
from mupi.programs.demos import DEMOS
from mupi.programs.evaluation import evaluate
from mupi.programs.matrices import Outer
from mupi.programs.spaces import Width


class Leaves(Width):
    """Width-n vectors and matrices whose initial values are leaves of autograd's graph."""

    def gaussian(self, factor, mean):
        return super().gaussian(factor, mean).requires_grad_()

    def apply(self, f, args):
        # torch has no derivative of it, which is 0 where there is one.
        return super().apply(f, args).detach().requires_grad_() if f.f is torch.heaviside else super().apply(f, args)

    def matrix(self, sigma, ratio=1.0):
        return super().matrix(sigma, ratio).requires_grad_()


def by_autograd(lines, loss, of, width):
    """∂loss by autograd, in the units of `gradients`."""
    space = Leaves(width, torch.Generator().manual_seed(0), torch.float64)
    values = evaluate(lines, space, lines)
    found = torch.autograd.grad(values[loss].sum(), [values[line] for line in of], allow_unused=True)
    units = [width if isinstance(line, Vector) else 1 for line in of]
    return [torch.zeros_like(values[line]) if g is None else g * n for line, g, n in zip(of, found, units, strict=True)]


def by_lines(program, found, width):
    """What lines of `gradients` come to at the same width."""
    blocks = [v for g in found for v in ((v for o in g for v in (o.d, o.x)) if isinstance(g, tuple) else [g])]
    values = evaluate(program.lines, Width(width, torch.Generator().manual_seed(0), torch.float64), blocks)
    return [sum(values[o.d] @ values[o.x].T / width for o in g) if isinstance(g, tuple) else values[g] for g in found]


def agree(program, loss, of, width=23):
    lines = list(program.lines)
    wanted = by_autograd(lines, loss, of, width)
    for line, found, exact in zip(of, by_lines(program, gradients(loss, of), width), wanted, strict=True):
        scale = max(float(exact.abs().max()), 1.0)
        assert float((found - exact).abs().max()) < 1e-12 * scale, line


@pytest.mark.parametrize("name", DEMOS)
def test_gradients_of_every_demo_are_autograds_at_finite_width(name):
    program = Program()
    scalars = DEMOS[name].write(program).values()
    generator = torch.Generator().manual_seed(1)
    terms = [
        apply(torch.sum, torch.randn(s.probe.shape, generator=generator, dtype=torch.float64) * s) for s in scalars
    ]
    loss = sum(terms[1:], terms[0])
    agree(program, loss, [line for line in program.lines if isinstance(line, Vector | Matrix)])


EXPRESSIONS = {
    "broadcast columns": lambda W, x, s: mean(x[0] * x - x / (2.0 + x[0] ** 2)),
    "scalars among vectors": lambda W, x, s: mean((x - mean(x)) / torch.sqrt(mean(x, x)[0, 0] + 1.0) * s[0], x),
    "scalars in functions": lambda W, x, s: mean(apply(lambda v, a: torch.tanh(v * a) + a[0], x, mean(x))),
    "functions that mix columns": lambda W, x, s: mean(torch.softmax(x, 1), x),
    "named arguments": lambda W, x, s: mean(torch.clamp(x, min=-0.5, max=0.7), x),
    "lines as named arguments": lambda W, x, s: (
        mean(torch.where(x[0] > 0, x[1], x[0] * s[0, 0]), x)
        if False
        else mean(torch.lerp(x, 2.0 * x, weight=0.3 * x), x)
    ),
    "combinations": lambda W, x, s: mean(x @ torch.tanh(mean(x, W @ x)), x),
    "powers": lambda W, x, s: mean(x**3 - x**1 + x**0) + mean(abs_power(x)),
    "outer products": lambda W, x, s: mean((W - 0.3 * outer(torch.tanh(W @ x), x)) @ x, x),
    "of scalars times matrices": lambda W, x, s: mean((s[0, 0] * W + W) @ x, (s[1, 1] * W.T) @ x),
    "chains of updates": lambda W, x, s: chain(W, x),
    "transposed": lambda W, x, s: mean(W.T @ torch.tanh(x), W.T @ x),
}


def abs_power(x):
    return (x * x + 1.0) ** 0.5


def chain(W, x):
    for _ in range(3):
        y = W @ x
        W = 0.9 * W - outer(torch.tanh(y), x)
    return mean(torch.tanh(W @ x), x)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_each_rule_is_autograds_at_finite_width(name):
    program = Program()
    W, x = program.matrix("W", 0.8), program.vector("x", [[1.0, 0.3], [0.3, 0.7]], mean=[0.2, 0.0])
    s = mean(torch.tanh(x), x)
    result = EXPRESSIONS[name](W, x, s)
    loss = apply(lambda m: (m * torch.arange(1.0, m.numel() + 1).reshape(m.shape)).sum(), result)
    agree(program, loss, [W, x, s, *(line for line in program.lines[3:-1])])


def test_second_derivatives_are_autograds_too():
    program = Program()
    W, x = program.matrix("W"), program.vector("x")
    y = mean(torch.tanh(W @ x), x)[0, 0]
    (dx,) = gradients(y, [x])
    agree(program, mean(dx, dx)[0, 0], [W, x])


def test_in_the_limit_the_gradient_of_the_demo_backward_is_what_is_written_there_by_hand():
    program = Program()
    h1, v, W = program.vector("h1", [[1.0, 0.5], [0.5, 1.0]]), program.vector("v"), program.matrix("W")
    h2 = W @ torch.relu(h1)
    f = mean(v, torch.relu(h2))
    d2 = v * (1.0 * torch.heaviside(h2, torch.tensor(0.5, dtype=torch.float64)))
    d1 = (W.T @ d2) * torch.heaviside(h1, torch.tensor(0.5, dtype=torch.float64))
    (found,) = gradients(apply(torch.sum, f), [h1])
    pairs = mean(found, found), mean(found, d1), mean(d1, d1)
    values = program.limit()
    torch.testing.assert_close(values[pairs[0]], values[pairs[2]], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(values[pairs[1]], values[pairs[2]], rtol=1e-9, atol=1e-12)


def test_gradients_at_finite_width_go_to_the_limits_at_the_rate_of_one_over_root_n():
    program = Program()
    W, x = program.matrix("W", 1.2), program.vector("x", 1.0, mean=0.3)
    h = W @ torch.tanh(x)
    loss = mean(torch.tanh(W.T @ torch.tanh(h)), x)[0, 0]
    steps, dx = gradients(loss, [W, x])
    moment, along = mean(dx, dx), mean(steps[0].d, steps[1].d)
    limit = program.limit(samples=100_000, generator=torch.Generator().manual_seed(0))
    gaps = []
    for width in (64, 256, 1024):
        runs = [program.run(width, torch.Generator().manual_seed(seed)) for seed in range(24)]
        gaps.append(
            [float(torch.stack([run[s] - limit[s] for run in runs]).square().mean().sqrt()) for s in (moment, along)]
        )
    slopes = torch.log(torch.tensor(gaps[-1]) / torch.tensor(gaps[0])) / torch.log(torch.tensor(16.0))
    assert ((slopes + 0.5).abs() < 0.15).all(), slopes


def test_what_a_loss_does_not_depend_on_has_the_gradient_zero():
    program = Program()
    W, x, y = program.matrix("W"), program.vector("x"), program.vector("y", torch.eye(2))
    loss = mean(x)[0]
    of_W, of_x, of_y, of_loss = gradients(loss, [W, x, y, loss])
    assert of_W == ()
    values = program.run(5, keep=[of_x, of_y])
    assert (values[of_x] == 1).all() and values[of_y].shape == (5, 2) and (values[of_y] == 0).all()
    assert values[of_loss] == 1


def test_gradients_refuse_what_has_none():
    program, other = Program(), Program()
    x = program.vector("x", torch.eye(2))
    with pytest.raises(ValueError, match=r"`gradients\(loss\)` must be a scalar line of one number; got s2 "):
        gradients(mean(x), [x])
    with pytest.raises(ValueError, match=r"`gradients\(of=...\)` must be lines of the program of"):
        gradients(mean(x)[0], [other.vector("y")])


def test_steps_of_sgd_by_gradients_are_those_written_by_hand_in_the_demo():
    """In the demo `sgd` the gradient is written by hand: χ = −1, so W + outer(d2, z1)."""
    program = Program()
    h1, v, W = program.vector("h1", [[1.0, 0.5], [0.5, 1.0]]), program.vector("v"), program.matrix("W")
    z1 = torch.tanh(h1[0])
    h2 = W @ z1
    f = mean(v, torch.tanh(h2))[0, 0]
    (step,) = gradients(-f, [W])
    assert isinstance(step[0], Outer) and isinstance(f, Scalar)
    d2 = v * (1.0 - torch.tanh(h2) ** 2)
    difference = mean(d2 + step[0].d, d2 + step[0].d)
    assert float(program.run(40)[difference]) < 1e-30
