"""`Atoms`: the exact layer equals the loop over its atoms, and its storage grows without copies."""

import copy
import pickle
import weakref

import pytest
import torch

import mupi
from assertions import assert_close, assert_equal
from cases import ACTIVATIONS, CLOSED_FORM, randn, seeded
from mupi import Atoms, Erf, Expansion, PiLinear, ReLU
from mupi.features import expansion
from oracles import exact_layer


def atoms(m, rank_in=5, rank_out=3, dtype=torch.float64, seed=0):
    """Atoms in general position: coefficients of both signs, rows of b of norms from 0.1 to 10."""
    c, a, b = (randn(*shape, seed=seed + i) for i, shape in enumerate([(m,), (m, rank_out), (m, rank_in)]))
    b = b * torch.logspace(-1, 1, max(m, 1), dtype=torch.float64)[:m, None]
    return Expansion(c.to(dtype), a.to(dtype), b.to(dtype))


def layer_of(initial, activation=None, storage=None, **options):
    """A layer with these atoms."""
    return PiLinear(
        initial.b.shape[1],
        initial.a.shape[1],
        features=Atoms(storage),
        activation=activation or ReLU(),
        initial=initial,
        dtype=initial.c.dtype,
        **options,
    )


def gradients(layer, g, delta):
    """Output and input gradient of a layer."""
    g = g.clone().requires_grad_()
    out = layer(g)
    (d_g,) = torch.autograd.grad(out, g, delta, retain_graph=True)
    return out.detach(), d_g


# The layer is its oracle


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_layer_is_the_loop_over_its_atoms(name):
    φ, initial, g, delta = ACTIVATIONS[name], atoms(7), randn(4, 5, seed=10), randn(4, 3, seed=11)
    if name not in CLOSED_FORM:  # the truncation of the Mehler sum, which depends on the block, shows at larger scale
        initial, g = Expansion(initial.c, initial.a, initial.b / 20), g / 4
    inputs = g.clone().requires_grad_()
    expected = exact_layer.layer(φ, initial.c, initial.a, initial.b, inputs)
    (expected_gradient,) = torch.autograd.grad(expected, inputs, delta)
    out, d_g = gradients(layer_of(initial, φ, bias=False), g, delta)
    assert_close(out, expected, rtol=1e-12)
    assert_close(d_g, expected_gradient, rtol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gradient_norm_is_the_double_loop(name):
    φ, g, delta = ACTIVATIONS[name], randn(5, 5, seed=10) / 4, randn(5, 3, seed=11)
    layer = layer_of(atoms(3), φ, bias=False)
    layer(g).backward(delta)
    norm = mupi.optim.gradient_norm(layer.weight.atoms)
    assert_close(norm, exact_layer.gradient_norm(φ, delta, g), rtol=1e-12)


def test_the_dense_oracle_is_the_loop():
    initial, g = atoms(6), randn(3, 5, seed=10)
    args = (ReLU(), initial.c, initial.a, initial.b, g)
    assert_close(exact_layer.dense_layer(*args), exact_layer.layer(*args))


@pytest.mark.parametrize(
    ("m", "n"),
    [(0, 4), (1, 1), (64, 1024), (65, 1025), (130, 2049), (3000, 12), (40_000, 1), (5, 0), (0, 0)],
)
def test_tiles_do_not_show(m, n):
    # Tiles hold at least 64 atoms and at most 1024 rows, and 2^15 pairs where that allows: these sizes straddle them.
    initial, g, delta = atoms(m), randn(n, 5, seed=10), randn(n, 3, seed=11)
    inputs = g.clone().requires_grad_()
    expected = exact_layer.dense_layer(ReLU(), initial.c, initial.a, initial.b, inputs)
    (expected_gradient,) = torch.autograd.grad(expected, inputs, delta)
    out, d_g = gradients(layer_of(initial, bias=False), g, delta)
    assert_close(out, expected, rtol=1e-12)
    assert_close(d_g, expected_gradient, rtol=1e-12)


def test_the_gradient_norm_does_not_show_its_blocks(monkeypatch):
    g, delta = randn(37, 5), randn(37, 3, seed=1)
    layer = layer_of(atoms(3), bias=False)
    layer(g).backward(delta)
    whole = mupi.optim.gradient_norm(layer.weight.atoms)
    monkeypatch.setattr(expansion, "TILE_ENTRIES", 100)  # two rows at a time
    assert_close(mupi.optim.gradient_norm(layer.weight.atoms), whole)


def test_leading_axes_are_rows():
    layer, g = layer_of(atoms(6)), randn(2, 3, 4, 5)
    out = layer(g)
    assert out.shape == (2, 3, 4, 3)
    assert_close(out.reshape(-1, 3), layer(g.reshape(-1, 5)))
    assert_close(layer(g[0, 0, 0]), out[0, 0, 0])


def test_a_transposed_input_is_taken_as_it_reads():
    layer, g = layer_of(atoms(6)), randn(5, 4)
    assert_close(layer(g.T), layer(g.T.contiguous()))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_rows_give_finite_values_and_gradients(name, dtype):
    initial, g = atoms(6, dtype=dtype), randn(3, 5, dtype=dtype)
    if name not in CLOSED_FORM:
        initial = Expansion(initial.c, initial.a, initial.b / 20)
    initial.b[0], g[1] = 0, 0
    out, d_g = gradients(layer_of(initial, ACTIVATIONS[name]), g, randn(3, 3, dtype=dtype))
    assert torch.isfinite(out).all() and torch.isfinite(d_g).all()
    alone, d_alone = gradients(layer_of(initial, ACTIVATIONS[name]), g[:1], randn(3, 3, dtype=dtype)[:1])
    assert_close(out[:1], alone)
    assert_close(d_g[:1], d_alone)


def test_no_block_of_batch_times_atoms_is_held():
    m, n = 20_000, 512
    layer, g = layer_of(atoms(m, dtype=torch.float32)), randn(n, 5, dtype=torch.float32).requires_grad_()
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                sizes.append(out.numel())
            return out

    with Watch():
        layer(g).sum().backward()
    assert len(sizes) > 100
    assert max(sizes) < m * n / 50


# Pending atoms


def pending(layer):
    """How many atoms the next step would append."""
    gradient = layer.weight.atoms.grad
    return 0 if gradient is None else len(gradient.factors()[0])


def test_a_layer_used_twice_in_one_graph_gets_the_atoms_of_both():
    layer, g, delta = layer_of(atoms(6, rank_out=5), bias=False), randn(4, 5, seed=10), randn(4, 5, seed=11)
    inputs = g.clone().requires_grad_()
    first = layer(inputs)
    layer(first).backward(delta)
    φ, initial = ReLU(), layer.weight.expansion()
    oracle_input = g.clone().requires_grad_()
    middle = exact_layer.layer(φ, initial.c, initial.a, initial.b, oracle_input)
    middle.retain_grad()
    exact_layer.layer(φ, initial.c, initial.a, initial.b, middle).backward(delta)
    assert_close(inputs.grad, oracle_input.grad, rtol=1e-12)
    deltas, rows = layer.weight.atoms.grad.factors()
    assert_close(deltas, torch.cat([delta, middle.grad]), rtol=1e-12)
    assert_close(rows, torch.cat([middle.detach(), g]), rtol=1e-12)
    expected = exact_layer.gradient_norm(φ, torch.cat([delta, middle.grad]), torch.cat([middle.detach(), g]))
    assert_close(mupi.optim.gradient_norm(layer.weight.atoms), expected.detach(), rtol=1e-12)


def test_pending_atoms_hold_no_graph():
    layer = layer_of(atoms(6, rank_out=5))
    layer(layer(randn(4, 5))).sum().backward()
    assert not any(t.requires_grad for t in layer.weight.atoms.grad.factors())


def test_two_backward_passes_accumulate():
    layer, g = layer_of(atoms(6), bias=False), randn(6, 5)
    for part in g.split(2):
        layer(part).sum().backward()
    assert pending(layer) == 6
    accumulated = mupi.optim.gradient_norm(layer.weight.atoms)
    layer.weight.atoms.grad = None
    layer(g).sum().backward()
    assert_close(accumulated, mupi.optim.gradient_norm(layer.weight.atoms))


def test_retain_graph_allows_a_second_backward_pass_which_counts_again():
    layer, g = layer_of(atoms(6), bias=False), randn(2, 5)
    loss = layer(g).sum()
    loss.backward(retain_graph=True)
    once = mupi.optim.gradient_norm(layer.weight.atoms)
    loss.backward()
    assert_close(mupi.optim.gradient_norm(layer.weight.atoms), 2 * once)


def test_gradients_for_inputs_only_leave_no_pending_atoms():
    layer, g = layer_of(atoms(6)), randn(4, 5).requires_grad_()
    (alone,) = torch.autograd.grad(layer(g).sum(), g)
    assert pending(layer) == 0
    layer(g).sum().backward(inputs=[g])
    assert pending(layer) == 0
    assert_close(g.grad, alone)
    loss = layer(g).sum()
    torch.autograd.grad(loss, g, retain_graph=True)
    loss.backward()
    assert pending(layer) == 4, "the pass for inputs only must not count"


def test_gradients_for_inputs_only_do_not_pile_up():
    # A saliency map for each image of a test set must not keep them all.
    layer, seen = layer_of(atoms(6)), []
    for _ in range(50):
        g = randn(4, 5).requires_grad_()
        seen.append(weakref.ref(g))
        torch.autograd.grad(layer(g).sum(), g)
    del g
    kept = sum(ref() is not None for ref in seen)
    assert kept == 0, f"the inputs of {kept} passes are kept"


def test_a_graph_without_gradients_records_nothing():
    layer = layer_of(atoms(6))
    with torch.no_grad():
        assert not layer(randn(2, 5)).requires_grad
    assert pending(layer) == 0


def test_frozen_atoms_pass_gradients_on_but_take_none():
    layer, g = layer_of(atoms(6), bias=False), randn(4, 5).requires_grad_()
    expected = gradients(layer, g.detach(), torch.ones(4, 3, dtype=torch.float64))[1]
    layer.weight.atoms.grad = None
    layer.requires_grad_(False)
    layer(g).sum().backward()
    assert_close(g.grad, expected)
    assert pending(layer) == 0


def test_backward_after_a_step_is_refused():
    layer, g = layer_of(atoms(6)), randn(2, 5).requires_grad_()
    optimizer = mupi.SGD(layer.parameters(), lr=0.1)
    early = layer(g).sum()
    layer(g).sum().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="atoms changed"):
        early.backward()
    layer(g).sum().backward()  # a new forward pass is fine


def test_backward_after_loading_other_atoms_is_refused():
    layer = layer_of(atoms(6))
    early = layer(randn(2, 5)).sum()
    layer.load_state_dict(layer_of(atoms(6, seed=5)).state_dict())
    with pytest.raises(RuntimeError, match="atoms changed"):
        early.backward()


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_second_derivatives_by_inputs_are_the_loop_s(name):
    φ, initial = ACTIVATIONS[name], atoms(3)
    initial = Expansion(initial.c, initial.a, initial.b / 20)
    layer, g, delta, v = layer_of(initial, φ, bias=False), randn(2, 5, seed=10) / 4, randn(2, 3, seed=11), randn(2, 5)

    def second(function):
        inputs, weights = g.clone().requires_grad_(), delta.clone().requires_grad_()
        (first,) = torch.autograd.grad(function(inputs), inputs, weights, create_graph=True)
        return torch.autograd.grad((first * v).sum(), (inputs, weights))

    expected = second(lambda x: exact_layer.layer(φ, initial.c, initial.a, initial.b, x))
    for ours, right in zip(second(layer), expected, strict=True):
        assert_close(ours, right, rtol=1e-9)


def test_a_gradient_penalty_trains_what_is_before_frozen_atoms_and_is_refused_to_atoms():
    layer = layer_of(atoms(6))
    before, g = torch.nn.Linear(5, 5, dtype=torch.float64), randn(2, 5)

    def penalty():
        inputs = g.clone().requires_grad_()
        (d_g,) = torch.autograd.grad(layer(before(inputs)).sum(), inputs, create_graph=True)
        return d_g.square().sum()

    with pytest.raises(RuntimeError, match="differentiated twice") as error:
        penalty().backward()
    assert "\n" not in str(error.value)
    before.zero_grad()
    penalty().backward(inputs=list(before.parameters()))
    got, step = before.weight.grad[0, 0].clone(), 1e-5
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            before.weight[0, 0] += sign * step
        values.append(penalty().detach())
        with torch.no_grad():
            before.weight[0, 0] -= sign * step
    assert_close(got, (values[0] - values[1]) / (2 * step), rtol=1e-6)
    layer.weight.requires_grad_(False)
    before.zero_grad()
    penalty().backward()
    assert_close(before.weight.grad[0, 0], got)


# Storage


def storages(weight):
    """Address and bytes of every tensor that holds atoms."""
    return {
        t.data_ptr(): t.untyped_storage().nbytes()
        for block in weight.blocks
        for t in (block.atoms.c, block.atoms.a, block.atoms.b)
    }


def append(weight, count, seed):
    new = atoms(count, weight.rank_in, weight.rank_out, dtype=weight.expansion().c.dtype, seed=seed)
    weight.append(new.c, new.a, new.b)
    return new


def test_growth_never_moves_what_is_stored():
    weight = layer_of(atoms(3, dtype=torch.float32)).weight
    for step in range(200):
        before = storages(weight)
        append(weight, 37, seed=step)
        assert before.items() <= storages(weight).items()
    assert weight.num_atoms == 3 + 200 * 37
    assert len(weight.blocks) < 40, "geometric growth needs few blocks"


@pytest.mark.parametrize("storage", [None, torch.bfloat16])
def test_storage_stays_within_1_3_of_the_atoms(storage):
    initial = Expansion(*(t.float() for t in atoms(0, 40, 40).__dict__.values()))
    weight = layer_of(initial, storage=storage).weight
    per_atom = 4 + 80 * (2 if storage else 4)
    for step in range(150):
        append(weight, 100, seed=step)
        held = sum(storages(weight).values())
        if weight.num_atoms >= 2000:
            assert held <= 1.3 * per_atom * weight.num_atoms
    assert held >= per_atom * weight.num_atoms


def test_atoms_come_back_in_the_order_they_went_in():
    weight = layer_of(atoms(3)).weight
    parts = [weight.expansion()] + [append(weight, count, seed=count) for count in (1, 255, 256, 257, 1000)]
    stored = weight.expansion()
    for name in ("c", "a", "b"):
        assert_equal(getattr(stored, name), torch.cat([getattr(part, name) for part in parts]))
    assert_equal(torch.cat([block.c for block in weight.expansion_blocks()]), stored.c)
    assert_equal(weight.coefficients, stored.c)


def test_set_coefficients_reaches_every_block():
    weight = layer_of(atoms(3)).weight
    append(weight, 1000, seed=1)
    weight.set_coefficients(torch.arange(1003.0, dtype=torch.float64))
    assert weight.coefficients.tolist() == list(range(1003))
    assert len(weight.blocks) > 1


def test_many_blocks_act_as_one():
    initial = atoms(900)
    pieces = layer_of(Expansion(initial.c[:10], initial.a[:10], initial.b[:10]), bias=False)
    for i in range(10, 900, 89):
        pieces.weight.append(initial.c[i : i + 89], initial.a[i : i + 89], initial.b[i : i + 89])
    g = randn(4, 5)
    assert_close(pieces(g), layer_of(initial, bias=False)(g))


@pytest.mark.parametrize(("storage", "rounding"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_storage_errs_by_its_rounding(storage, rounding):
    initial = atoms(400, dtype=torch.float32)
    half, full = (layer_of(initial, storage=s, bias=False) for s in (storage, None))
    assert half.weight.expansion().c.dtype == torch.float32
    assert half.weight.expansion().a.dtype == half.weight.expansion().b.dtype == storage
    g, delta = randn(20, 5, dtype=torch.float32), randn(20, 3, dtype=torch.float32)
    (out, d_g), (expected, expected_gradient) = gradients(half, g, delta), gradients(full, g, delta)
    # 400 independent roundings of a and of b add up like a random walk; the terms do too.
    assert out.dtype == torch.float32
    assert_close(out, expected, rtol=4 * rounding)
    assert_close(d_g, expected_gradient, rtol=4 * rounding)


@pytest.mark.parametrize("storage", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1e-12, 1e-25, 1e-38])
def test_vanishing_gradients_do_not_spoil_half_precision_storage(storage, size):
    # Softmax on a sample that is already right: δ underflows.
    layer, g = layer_of(atoms(6, dtype=torch.float32), storage=storage), randn(3, 5, dtype=torch.float32)
    before = layer(g).detach()
    layer(g).backward(torch.full((3, 3), size))
    mupi.SGD(layer.parameters(), lr=1.0).step()
    assert_close(layer(g), before)


def test_half_precision_keeps_the_size_of_small_gradients():
    layer, g = layer_of(atoms(0, dtype=torch.float32), storage=torch.float16, bias=False), torch.ones(1, 5)
    layer(g).backward(torch.tensor([[3e-9, 4e-9, 0.0]]))
    mupi.SGD(layer.parameters(), lr=1.0).step()
    # κ(g, g) = |g|²/2 = 2.5; a float16 cannot hold 3e-9, but c and the direction can.
    assert_close(layer(g), -2.5 * torch.tensor([[3e-9, 4e-9, 0.0]]), rtol=2**-11)


def test_to_converts_atoms_and_keeps_half_precision_storage():
    layer, half = layer_of(atoms(300, dtype=torch.float32)), layer_of(atoms(300), storage=torch.bfloat16)
    g = randn(4, 5)
    before = layer(g.float())
    assert_close(layer.to(torch.float64)(g), before)
    stored = half.to(torch.float32).weight.expansion()
    assert (stored.c.dtype, stored.a.dtype, stored.b.dtype) == (torch.float32, torch.bfloat16, torch.bfloat16)
    assert half(g.float()).dtype == torch.float32
    half(g.float()).sum().backward()
    mupi.SGD(half.parameters(), lr=0.1).step()
    assert half.weight.num_atoms == 304


def test_to_works_while_a_gradient_is_pending():
    layer = layer_of(atoms(6, dtype=torch.float32))
    layer(randn(2, 5, dtype=torch.float32)).sum().backward()
    layer.to(torch.float64)
    assert layer(randn(2, 5)).dtype == torch.float64


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["deepcopy", "pickle"]
)
def test_a_copy_is_the_same_function_and_trains_apart(copied):
    layer, g = layer_of(atoms(600), activation=Erf()), randn(4, 5)
    layer(g).sum().backward()
    twin = copied(layer)
    assert_equal(twin(g), layer(g))
    before = layer(g).detach()
    assert pending(twin) == 0, "as with any leaf, the gradient stays behind"
    twin(g).sum().backward()
    mupi.SGD(twin.parameters(), lr=0.1).step()
    assert twin.weight.num_atoms == 604
    assert layer.weight.num_atoms == 600
    assert_equal(layer(g), before)
    assert pending(layer) == 4


def test_frozen_atoms_stay_frozen_in_copies():
    layer = layer_of(atoms(6))
    layer.weight.requires_grad_(False)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert not twin.weight.atoms.requires_grad
        assert twin.bias.requires_grad


@pytest.mark.parametrize("m", [0, 1, 256, 1000])
def test_atoms_of_any_size_load_into_a_fresh_layer(m):
    trained, fresh, g = layer_of(atoms(m)), layer_of(atoms(7, seed=3)), randn(4, 5)
    fresh.load_state_dict(trained.state_dict())
    assert fresh.weight.num_atoms == m
    assert_close(fresh(g), trained(g))
    fresh(g).sum().backward()
    mupi.SGD(fresh.parameters(), lr=0.1).step()
    assert fresh.weight.num_atoms == m + 4
    assert trained.weight.num_atoms == m


def test_loading_converts_to_the_dtype_of_the_layer():
    half = layer_of(atoms(7, dtype=torch.float32), storage=torch.bfloat16)
    half.load_state_dict(layer_of(atoms(20)).state_dict())
    stored = half.weight.expansion()
    assert (stored.c.dtype, stored.a.dtype) == (torch.float32, torch.bfloat16)


def test_a_state_dict_is_not_changed_by_further_training():
    layer, g = layer_of(atoms(6)), randn(4, 5)
    state = layer.state_dict()
    saved = copy.deepcopy(state)
    layer(g).sum().backward()
    mupi.SGD(layer.parameters(), lr=0.1, weight_decay=0.5).step()
    for name in ("weight.c", "weight.a", "weight.b"):
        assert_equal(state[name], saved[name])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s | {"weight.a": s["weight.a"][:, :2]}, "weight.a"),
        (lambda s: s | {"weight.b": s["weight.b"][:, :2]}, "weight.b"),
        (lambda s: s | {"weight.c": s["weight.c"][:2]}, "weight.c"),
        (lambda s: s | {"weight.a": s["weight.a"][:2]}, "weight.a"),
        (lambda s: s | {"weight.b": s["weight.b"][:2]}, "weight.b"),
        (lambda s: s | {"weight.c": s["weight.c"][:, None]}, "weight.c"),
        (lambda s: {k: v for k, v in s.items() if k != "weight.a"}, "weight.a"),
    ],
    ids=["rank-out", "rank-in", "fewer-c", "fewer-a", "fewer-b", "two-axes", "missing"],
)
def test_atoms_that_do_not_fit_are_refused_and_change_nothing(change, named):
    layer, g = layer_of(atoms(6)), randn(4, 5)
    before = layer(g)
    with pytest.raises(RuntimeError, match=named):
        layer.load_state_dict(change(layer_of(atoms(9)).state_dict()))
    assert_equal(layer(g), before)


def test_atoms_are_among_the_parameters_once():
    layer = layer_of(atoms(6))
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight.atoms"]
    assert isinstance(layer.weight.atoms, mupi.optim.AtomParameter)
    tensors = [name for name in layer.state_dict() if not name.endswith("_extra_state")]
    assert tensors == ["bias", "weight.c", "weight.a", "weight.b", "weight.blocks"]


def test_empty_initial_atoms_give_the_zero_function():
    layer = PiLinear(5, 3, features=Atoms(), activation=ReLU(), init_std=0.0, generator=seeded())
    assert layer.weight.num_atoms == 0
    assert torch.equal(layer(torch.ones(2, 5)), torch.zeros(2, 3))
