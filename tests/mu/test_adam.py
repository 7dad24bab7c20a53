"""The limit of Adam: torch's Adam on finite networks approaches it, steps of vectors are torch's, states go on."""

import pytest
import torch

from assertions import fitted_slope
from cases import randn, seeded
from mupi import MuLimit, Roles, Tanh
from mupi.architecture import Dense, Normalize, Width, chain, describe, residual
from mupi.architecture.zoo import perceptron, vit
from mupi.mu import SGD, Adam
from mupi.programs import Program, entries, entrywise, mean, over_n

n, TANH = Width(), Tanh()
NORM = Normalize(gain=True, shift=True)
NETS = {
    "two hidden layers": (perceptron(3, 2, 2, TANH), (3,)),
    "one hidden layer": (perceptron(3, 2, 1, TANH), (3,)),
    "residual, LayerNorm": (
        describe((3,), chain(Dense(n), residual(NORM, TANH, Dense(n)), NORM, TANH, Dense(2))), (3,),
    ),
    "layers of n, 4n and n/2": (
        describe((3,), chain(Dense(n), TANH, Dense(4 * n), TANH, Dense(n / 2), TANH, Dense(2))), (3,),
    ),
    "transformer on patches": (vit((1, 4, 4), 2, 2, depth=1, heads=2), (1, 4, 4)),
}  # fmt: skip
HOW = {"lr": 0.1, "first": 0.7, "last": 1.5, "bias": 0.5, "weight_decay": 0.05}
BETAS, EPS, STEPS = (0.8, 0.9), 0.05, 3


def squares(f, y):
    return (f - y).square().sum(1).mean()


def trained(arch, width, seed, x, y):
    """Outputs of a finite network before each step of torch's AdamW, and after the last."""
    net = arch.finite(width, parametrization=Roles.mup(), dtype=torch.float64, generator=seeded(seed))
    groups = net.parameter_groups(**HOW, rates=Roles.mup().adam_rates)
    # Entries of gradients shrink as n^{−1−a}, those of the readout and of its bias as n^{−a}, with a = −½, 0, ½, 0.
    powers = {id(p): -1.0 for p in net.parameters()}
    readout = [i for i in range(len(arch)) if arch.role(i) == "readout"]
    for name, p in net.named_parameters():
        owner, _, kind = name.rpartition(".")
        role = next((arch.role(i) for i, node in enumerate(arch.nodes) if node.name in (owner, name)), "")
        last = any(arch.nodes[i].name == owner for i in readout)
        if last:
            powers[id(p)] = -0.5 if kind == "weight" else 0.0
        elif role != "hidden" or kind == "bias":
            powers[id(p)] = -0.5
    split = [{**group, "params": [p], "eps": EPS * width ** powers[id(p)]} for group in groups for p in group["params"]]
    optimizer = torch.optim.AdamW(split, betas=BETAS)
    outputs = []
    for _ in range(STEPS):
        out = net(x)
        outputs.append(out.detach())
        optimizer.zero_grad()
        squares(out, y).backward()
        optimizer.step()
    return torch.stack([*outputs, net(x).detach()])


def gaps(name, widths, seeds, samples, replicates=4):
    arch, axes = NETS[name]
    x, y = randn(3, *axes), randn(3, 2, seed=1)
    adam = Adam(**HOW, betas=BETAS, eps=EPS)
    limit = MuLimit(arch, optimizer=adam, loss=squares, samples=samples, replicates=replicates, generator=seeded()).fit(
        x, y, STEPS
    )
    exact = torch.cat([limit.outputs, limit.predict(x)[None]])
    found = []
    for width in widths:
        runs = torch.stack([trained(arch, width, seed, x, y) for seed in range(seeds)])
        found.append((runs - exact).square().flatten(2).mean((0, 2)).sqrt())
    return torch.stack(found), exact, limit


@pytest.mark.parametrize("name", NETS)
def test_finite_networks_come_closer_as_one_over_root_n(name):
    found, exact, _ = gaps(name, (32, 512), 6, 600)
    assert (found[0] / found[1])[1:].min() > 2.2, found
    assert found[1].max() < 0.25 * exact[1:].square().mean().sqrt()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_the_slope_of_their_distance_is_a_half_at_every_step(name):
    widths = (64, 256, 1024)
    found, _, _ = gaps(name, widths, 24, 5000)
    for time in range(STEPS + 1):
        assert fitted_slope(widths, found[:, time].tolist()) == pytest.approx(-0.5, abs=0.12), (time, found)


def test_a_network_without_hidden_matrices_moves_by_torchs_adam():
    """Its samples are neurons of their own: with S of them, the limit is a network of width S, up to its start."""
    arch, (x, y) = perceptron(3, 2, 1, TANH, bias=False), (randn(3, 3), randn(3, 2, seed=1))
    limit = MuLimit(arch, optimizer=Adam(0.1, betas=BETAS, eps=EPS), samples=50, replicates=2, generator=seeded())
    limit.fit(x, y, 1)
    state = limit.state_dict()["limit"][0]["values"]
    start = MuLimit(arch, lr=0.0, samples=50, replicates=2, generator=seeded()).fit(x, y, 1)
    first = start.state_dict()["limit"][0]["values"]
    U, V = (first[f"layers.{i}.weight"].clone().requires_grad_() for i in (0, 1))
    torch_adam = torch.optim.Adam([U, V], lr=0.1, betas=BETAS, eps=EPS)
    f = torch.tanh(U @ x.T).T @ V / 50
    (50 * squares(f, y)).backward()  # n ∂loss
    torch_adam.step()
    torch.testing.assert_close(state["layers.0.weight"], U.detach(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(state["layers.1.weight"], V.detach(), rtol=1e-9, atol=1e-12)


def test_signs_of_gradients_are_steps_of_the_learning_rate():
    arch, (x, y) = perceptron(3, 2, 1, TANH, bias=False), (randn(3, 3), randn(3, 2, seed=1))

    def weights(lr):
        adam = Adam(lr, betas=(0.0, 0.0), eps=1e-12)
        limit = MuLimit(arch, optimizer=adam, samples=50, replicates=2, generator=seeded()).fit(x, y, 1)
        return limit.state_dict()["limit"][0]["values"]["layers.0.weight"]

    moved = weights(0.1) - weights(0.0)
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("copies", [None, 30])
def test_a_saved_limit_goes_on_bit_for_bit(copies, tmp_path):
    arch, (x, y) = NETS["residual, LayerNorm"][0], (randn(3, 3), randn(3, 2, seed=1))

    def fresh(copies=copies):
        adam = Adam(0.1, betas=BETAS, eps=EPS)
        return MuLimit(arch, optimizer=adam, samples=150, copies=copies, generator=seeded())

    whole = fresh().fit(x, y, 4)
    torch.save(fresh().fit(x, y, 2).state_dict(), tmp_path / "limit.pt")
    again = fresh()
    again.load_state_dict(torch.load(tmp_path / "limit.pt"))
    again.fit(x, y, 2)
    assert torch.equal(again.outputs, whole.outputs) and torch.equal(again.predict(x), whole.predict(x))
    with pytest.raises(ValueError, match=f"must be of 15 copies; got {copies or 150}"):
        fresh(15).load_state_dict(torch.load(tmp_path / "limit.pt"))


def test_a_copy_of_a_sixteenth_is_as_good_as_one_of_all():
    """Means over β of what has a neuron of its own in α: their noise is another in each α, and averages out."""
    arch, (x, y) = perceptron(3, 2, 2, TANH), (randn(5, 3), randn(5, 2, seed=1))

    def outputs(copies):
        adam = Adam(0.1, betas=BETAS, eps=EPS)
        limit = MuLimit(arch, optimizer=adam, samples=800, copies=copies, replicates=6, generator=seeded())
        return limit.fit(x, y, 4)

    whole, part = outputs(None), outputs(50)
    noise = (whole.output_errors.square() + part.output_errors.square()).mean((1, 2)).sqrt()
    assert not torch.equal(whole.outputs, part.outputs)
    assert ((whole.outputs - part.outputs).square().mean((1, 2)).sqrt() < 2.5 * noise).all()
    assert part.output_errors.square().mean() < 2 * whole.output_errors.square().mean()


@pytest.mark.parametrize(("tolerance", "dtype"), [(0.3, torch.float64), (0.02, torch.float32)])
def test_fewer_directions_and_fewer_digits_move_outputs_by_little(tolerance, dtype):
    """What is not followed of a vector is at most that share of it; smooth networks' outputs move by its square."""
    arch, (x, y) = perceptron(3, 2, 2, TANH), (randn(5, 3), randn(5, 2, seed=1))

    def trained(**kwargs):
        adam = Adam(0.1, betas=BETAS, eps=EPS)
        limit = MuLimit(arch, optimizer=adam, loss=squares, samples=500, generator=seeded(), **kwargs)
        return limit.fit(x, y, 4)

    whole, other = trained(), trained(tolerance=tolerance, dtype=dtype)
    assert sum(other.ranks[0]) < sum(whole.ranks[0])
    assert max(other.missed[0]) < tolerance and max(whole.missed[0]) < 1e-3
    noise = (whole.output_errors.square() + other.output_errors.square()).mean((1, 2)).sqrt()
    gap = (other.outputs - whole.outputs).square().mean((1, 2)).sqrt()
    size = whole.outputs.square().mean((1, 2)).sqrt()
    assert (gap < tolerance**2 * size + 3 * noise).all(), (gap, noise, size)
    assert (noise < 0.1).all()


def test_entries_at_finite_width_are_matrices():
    p = Program()
    W, d, x = p.matrix("W"), p.vector("d"), p.vector("x")
    q = entrywise(torch.sign, entries(d, x))
    y = (W - 0.5 * over_n(q)) @ x
    back = (2.0 * (W - 0.5 * over_n(q))).T @ d
    products = mean(y, d), mean(back, x)
    values = p.run(40, seeded(), keep=[d, x, y, back])
    width, limit = 40, p.limit(samples=2000, generator=seeded())
    generator = seeded()
    matrix = torch.randn(width, width, generator=generator, dtype=torch.float64) / width**0.5
    moved = matrix - 0.5 * torch.sign(values[d] @ values[x].T) / width
    torch.testing.assert_close(values[y], moved @ values[x])
    torch.testing.assert_close(values[back], 2 * moved.T @ values[d])
    # E |d| |x|, twice: the signs are of the rows and of the columns.
    for product, factor in zip(products, (1, 2), strict=True):
        assert limit[product].item() == pytest.approx(-factor / torch.pi, abs=5 * float(limit.error(product)) + 1e-3)


BAD = {
    "closed forms": (
        lambda p, x: (mean(over(p, x)), p.limit()), r"functions of their entries; sample it",
    ),
    "vectors": (lambda p, x: entrywise(torch.sign, x), r"must be of entries and numbers; got"),
    "columns": (lambda p, x: entries(x, p.vector("y", torch.eye(2))), r"of two vectors of as many columns"),
    "averages": (
        lambda p, x: entrywise(torch.sum, entries(x, x)), r"must be a function of each entry; got shape \(\)",
    ),
    "another optimizer's arguments": (
        lambda p, x: MuLimit(2, lr=0.3, optimizer=Adam(0.1)),
        r"`MuLimit\(optimizer=...\)` must be given without lr, momentum and the like",
    ),
    "the kernel regime": (
        lambda p, x: MuLimit(2, parametrization=Roles.ntk(), optimizer=Adam(0.1)),
        r"must be SGD without weight decay in the kernel regime",
    ),
    "copies that are no part": (
        lambda p, x: MuLimit(2, optimizer=Adam(0.1), samples=100, copies=30),
        r"`MuLimit\(copies=...\)` must be a divisor of the 100 samples; got 30",
    ),
    "copies for SGD": (lambda p, x: MuLimit(2, samples=100, copies=50), r"must be None for SGD"),
    "betas": (lambda p, x: Adam(0.1, betas=(1.0, 0.9)), r"`Adam\(betas=...\)` must be two numbers from 0 to 1"),
    "eps": (lambda p, x: Adam(0.1, eps=0.0), r"`Adam\(eps=...\)` must be a positive number; got 0.0"),
    "rates": (lambda p, x: SGD(-0.1), r"`SGD\(lr=...\)` must be a finite number ≥ 0"),
}  # fmt: skip


def over(p, x):
    return (p.matrix("W") + 1.0 * over_n(entrywise(torch.sign, entries(x, x)))) @ x


@pytest.mark.parametrize("name", BAD)
def test_what_has_no_such_limit_is_refused(name):
    attempt, message = BAD[name]
    p = Program()
    with pytest.raises(ValueError, match=message):
        attempt(p, p.vector("x"))
