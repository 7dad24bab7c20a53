"""`Hermite`: the truncated kernel as a finite feature map, and its directions as training goes on."""

import copy
import pickle

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import mupi
from assertions import assert_close, assert_equal
from cases import ACTIVATIONS, SMOOTH, randn, seeded
from mupi import Abs, Atoms, Cos, Erf, Expansion, Hermite, Identity, PiLinear, PiMLP, Polynomial, ReLU, Sin, Tanh
from mupi.features.symmetric import power_size
from mupi.layers import layer_error

FEATURES = [
    Hermite(0),
    Hermite(1),
    Hermite(2),
    Hermite(3),
    Hermite(5),
    Hermite(2, subspace=2),
    Hermite(4, subspace=3),
    Hermite(4, subspace={2: 4, 4: 2}),
    Hermite(3, subspace={3: 2}),
]


@pytest.fixture(scope="module")
def digits():
    """Real images of handwritten digits, normalised, and their labels."""
    x, y = load_digits(return_X_y=True)
    x = torch.from_numpy(x / 16).float()
    return (x - x.mean()) / x.std(), torch.from_numpy(y)


def layer_with(features, activation=None, b=None, dtype=torch.float64):
    """A layer whose output is its kernel with the rows of b: Σ_m e_m κ(b_m, g)."""
    m = len(b)
    initial = Expansion(torch.ones(m, dtype=dtype), torch.eye(m, dtype=dtype), b)
    return PiLinear(
        b.shape[1], m, features=features, activation=activation or ReLU(), initial=initial, bias=False,
        dtype=dtype, generator=seeded(),
    )  # fmt: skip


def directions(weight):
    """P_k of each degree that has one."""
    return {k: getattr(weight, f"directions_{k}") for k in weight.sizes if hasattr(weight, f"directions_{k}")}


def note_renewals(weight, measure=lambda: None):
    """Have each renewal of this weight's directions add (what ``measure`` gave before, and after) to a list."""
    notes, renew = [], weight.renew_directions

    def renew_and_note():
        before = measure()
        renew()
        notes.append((before, measure()))

    weight.renew_directions = renew_and_note
    return notes


# The kernel


@pytest.mark.parametrize("features", FEATURES, ids=str)
@pytest.mark.parametrize("name", ["relu", "gelu", "leaky", "polynomial"])
def test_inner_products_of_features_are_the_kernel(features, name):
    b, g = randn(6, 5), randn(4, 5, seed=1)
    layer = layer_with(features, ACTIVATIONS[name], b)
    assert_close(layer(g), layer.weight.kernel(g, b), rtol=1e-12)


@pytest.mark.parametrize("features", FEATURES, ids=str)
def test_the_kernel_is_the_truncated_mehler_sum(features):
    φ, b, g = ReLU(), randn(6, 5), randn(4, 5, seed=1)
    weight = layer_with(features, φ, b).weight
    norm_b, norm_g = b.norm(dim=1), g.norm(dim=1)
    expected = torch.zeros(4, 6, dtype=torch.float64)
    for k in range(features.degree + 1):
        kept = features.directions(k, 5)
        p = torch.eye(5, dtype=torch.float64) if kept is None else directions(weight).get(k, torch.zeros(5, 0).double())
        cosine = (g / norm_g[:, None]) @ p @ p.T @ (b / norm_b[:, None]).T
        if kept != 0:
            expected += φ.hermite(k, norm_g)[:, None] * φ.hermite(k, norm_b) * cosine**k
    assert_close(weight.kernel(g, b), expected, rtol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_kernel_converges_to_the_exact_one(name):
    b, g = randn(6, 5) / 5, randn(4, 5, seed=1) / 5
    errors = []
    for degree in (1, 3, 5, 7):
        weight = layer_with(Hermite(degree), SMOOTH[name], b).weight
        errors.append(float((weight.kernel(g, b) - weight.feature_kernel(g, b)).abs().max()))
    assert errors[-1] < 1e-4
    assert all(later <= earlier + 1e-15 for earlier, later in zip(errors, errors[1:], strict=False))


@pytest.mark.parametrize("shape", [(2, 4, 4, 0), (0, 4, 4, 3), (4, 4, 0)])
def test_averages_of_nothing_have_their_shape_and_gradient(shape):
    x = torch.zeros(shape, requires_grad=True)
    y = mupi.features.AveragePool(2, 1)(x)
    assert y.shape == (*shape[:-3], 2, 4, shape[-1])
    y.sum().backward()
    assert_equal(x.grad, torch.zeros(shape))


def test_feature_kernel_is_the_exact_kernel_whatever_the_degree():
    b, g = randn(6, 5), randn(4, 5, seed=1)
    expected = ReLU().dual(b.square().sum(1), g @ b.T, g.square().sum(1, keepdim=True))
    assert_close(layer_with(Hermite(0), ReLU(), b).weight.feature_kernel(g, b), expected)


@pytest.mark.parametrize("features", FEATURES, ids=str)
def test_gradients_are_those_of_the_truncated_kernel(features):
    layer = layer_with(features, ReLU(), randn(6, 5)).eval()
    assert torch.autograd.gradcheck(layer, (randn(3, 5, seed=1).requires_grad_(),))


def test_gradcheck_passes_in_training_mode():
    # It sends an undefined gradient through the hook of the layer that keeps samples.
    layer = layer_with(Hermite(2), ReLU(), randn(6, 5))
    assert torch.autograd.gradcheck(layer, (randn(3, 5, seed=1).requires_grad_(),))


@pytest.mark.parametrize(
    ("activation", "degree", "present"),
    [
        (ReLU(), 4, [0, 1, 2, 4]),
        (Erf(), 4, [1, 3]),
        (Abs(), 3, [0, 2]),
        (Identity(), 3, [1]),
        (Polynomial((0.0, 0.0, 1.0)), 3, [0, 2]),
    ],
)
def test_absent_degrees_cost_nothing(activation, degree, present):
    weight = layer_with(Hermite(degree), activation, randn(2, 5)).weight
    assert list(weight.sizes) == present
    assert weight.weight.numel() == weight.rank_out * sum(power_size(5, k) for k in present)


@pytest.mark.parametrize(
    ("activation", "degree"), [(Sin(), 0), (Erf(), 0), (Tanh(), 0), (Polynomial((0.0,)), 2), (Cos(), 0)], ids=str
)
def test_a_kernel_without_any_degree_is_0(activation, degree):
    layer = PiLinear(4, 3, features=Hermite(degree), activation=activation, bias=False, generator=seeded())
    g = randn(2, 4, dtype=torch.float32).requires_grad_()
    out = layer(g)
    assert out.shape == (2, 3)
    if isinstance(activation, Cos):
        assert out.abs().min() > 0
    else:
        assert torch.equal(out, torch.zeros(2, 3))
    assert torch.equal(layer.weight.kernel(g, g), torch.zeros(2, 2)) != isinstance(activation, Cos)
    if not isinstance(activation, Cos):
        error = layer_error("", layer.weight, g)
        lost = float(activation != Polynomial((0.0,)))
        assert (error.output, error.gradient) == pytest.approx((lost, lost))


def test_subspaces_hold_as_many_features_as_they_say():
    weight = layer_with(Hermite(4, subspace={2: 4, 4: 2}), ReLU(), randn(3, 6)).weight
    assert weight.sizes == {0: 1, 1: 6, 2: power_size(4, 2), 4: power_size(2, 4)}
    larger = layer_with(Hermite(2, subspace=40), ReLU(), randn(3, 6)).weight
    assert larger.sizes == {0: 1, 1: 6, 2: power_size(6, 2)}
    for p in directions(weight).values():
        assert_close(p.T @ p, torch.eye(p.shape[1]).double())


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_at_a_zero_vector_are_those_of_the_exact_layer(name, dtype):
    # κ has no direction at g = 0, and neither may its polynomial approximation: degrees 0 and 1 decide.
    φ, b, g = ACTIVATIONS[name], randn(6, 5, dtype=dtype) / 5, torch.zeros(2, 5, dtype=dtype)
    g[1] = randn(5, dtype=dtype) / 5
    results = []
    for features in (Hermite(2), Atoms()):
        inputs = g.clone().requires_grad_()
        out = layer_with(features, φ, b, dtype)(inputs)
        (d_g,) = torch.autograd.grad(out, inputs, randn(2, 6, dtype=dtype))
        assert torch.isfinite(d_g).all()
        results.append((out.detach()[0], d_g[0]))
    (out, d_g), (expected, expected_gradient) = results
    # b has a norm of about 0.4: at g = 0 an entire φ loses degree 2 of E φ(u)φ(0), c_2(|b|) c_2(0) = 0: nothing.
    rtol = 1e-10 if dtype == torch.float64 else 1e-5
    assert_close(out, expected, rtol=rtol, scale=1.0)
    assert_close(d_g, expected_gradient, rtol=rtol, scale=1.0)


@pytest.mark.parametrize("features", [Hermite(3), Hermite(4, subspace=2)], ids=str)
def test_tiny_inputs_in_float32_have_finite_gradients(features):
    layer = layer_with(features, ReLU(), randn(6, 5, dtype=torch.float32), torch.float32)
    g = (randn(3, 5, dtype=torch.float32) * torch.tensor([[1e-15], [1e-25], [1e-38]])).requires_grad_()
    (d_g,) = torch.autograd.grad(layer(g).sum(), g)
    assert torch.isfinite(d_g).all()
    assert d_g.abs().max() < 100


# Directions


def test_renewed_directions_are_the_leading_ones_of_the_inputs():
    # Inputs in three of eight directions, of falling variance.
    basis = torch.linalg.qr(randn(8, 8)).Q
    inputs = randn(600, 3) * torch.tensor([3.0, 2.0, 1.0]) @ basis[:, :3].T
    layer = layer_with(Hermite(2, subspace=2), ReLU(), randn(3, 8))
    optimizer = mupi.SGD(layer.parameters(), lr=0.0)
    for g in inputs.split(20):
        layer(g).sum().backward()
        optimizer.step()
    layer.weight.renew_directions()
    unit = torch.nn.functional.normalize(inputs)
    leading = torch.linalg.svd(unit).Vh[:2].T
    p = directions(layer.weight)[2]
    assert_close(p.T @ p, torch.eye(2).double())
    # The second moment is a running one, and the initial atoms are in it: the span agrees to a few degrees.
    assert torch.linalg.svdvals(leading.T @ p).min() > 0.98


@pytest.mark.parametrize("features", [Hermite(2, subspace=3), Hermite(3, subspace={2: 3, 3: 2})], ids=str)
def test_a_renewal_loses_only_what_leaves_the_span(features):
    φ = Polynomial((0.2, 1.0, 0.3, -0.1))
    layer = layer_with(features, φ, randn(4, 6))
    optimizer = mupi.SGD(layer.parameters(), lr=0.1, clip=1.0)
    for step in range(12):
        g = randn(20, 6, seed=step) * torch.tensor([4.0, 3.0, 2.0, 1.0, 1.0, 1.0]).double()
        layer(g).square().sum().backward()
        optimizer.step()
    old = copy.deepcopy(layer.eval())
    layer.weight.renew_directions()
    before, after = directions(old.weight), directions(layer.weight)
    for k in after:
        assert torch.linalg.svdvals(before[k].T @ after[k]).min() < 0.999, "the span has moved"
    # The smaller span is inside the larger one: both are leading directions of the same inputs.
    inside = randn(5, after[max(after)].shape[1]) @ after[max(after)].T
    assert_close(layer(inside), old(inside), rtol=1e-10)
    outside = randn(5, 6)
    assert (layer(outside) - old(outside)).abs().max() > 1e-3


@pytest.mark.parametrize("subspace", [5, {2: 5, 3: 5}], ids=str)
@pytest.mark.parametrize("degree", [2, 3])
def test_a_subspace_of_all_directions_is_the_full_degree_across_renewals(degree, subspace):
    if degree == 2 and not isinstance(subspace, int):
        subspace = {2: 5}
    nets = [
        PiMLP(4, 3, 5, 2, features=features, activation=Polynomial((0.2, 1.0, 0.3, -0.1)), readout_std=0.3,
              generator=seeded(), dtype=torch.float64)
        for features in (Hermite(degree), Hermite(degree, subspace=subspace, renew_every=128))
    ]  # fmt: skip
    renewals = note_renewals(nets[1].readout.weight)
    optimizers = [mupi.SGD(net.parameter_groups(lr=0.05, weight_decay=0.01), clip=0.3, momentum=0.5) for net in nets]
    for step in range(40):
        x, y = randn(16, 4, seed=step), randn(16, 3, seed=100 + step)
        for net, optimizer in zip(nets, optimizers, strict=True):
            ((net(x) - y) ** 2).mean().backward()
            optimizer.step()
    assert len(renewals) >= 3
    x = randn(9, 4, seed=999)
    assert_close(nets[1](x), nets[0](x), rtol=1e-10)


def snapshot(weight):
    """Everything that a renewal changes."""
    return {k: p.clone() for k, p in directions(weight).items()}, weight.weight.detach().clone()


def test_directions_are_renewed_only_after_a_step_of_the_optimizer():
    layer = layer_with(Hermite(2, subspace=2), ReLU(), randn(3, 6))
    optimizer = mupi.SGD(layer.parameters(), lr=0.1)
    start, weight = snapshot(layer.weight)
    losses = [layer(randn(200, 6, seed=seed)).sum() for seed in range(4)]  # due, but no step yet
    for loss in losses:
        loss.backward()  # in-place changes of what a graph needs would raise here
        layer(randn(200, 6)).sum()
    assert_equal(directions(layer.weight)[2], start[2])
    assert_equal(layer.weight.weight, weight)
    optimizer.step()
    assert_equal(directions(layer.weight)[2], start[2])
    layer(randn(2, 6)).sum()
    assert not torch.equal(directions(layer.weight)[2], start[2]), "800 inputs and a step: due"


def test_gradients_for_inputs_only_are_no_training():
    # As in adversarial training, whose inner loop differentiates by the images many times a step.
    layer = layer_with(Hermite(2, subspace=2), ReLU(), randn(3, 6))
    before = copy.deepcopy(layer.state_dict())
    for seed in range(5):
        g = randn(50, 6, seed=seed).requires_grad_()
        torch.autograd.grad(layer(g).sum(), g)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("mode", ["eval", "no_grad"])
def test_evaluation_changes_nothing(mode):
    layer = layer_with(Hermite(2, subspace=2), ReLU(), randn(3, 6))
    optimizer = mupi.SGD(layer.parameters(), lr=0.1)
    for seed in range(3):
        layer(randn(100, 6, seed=seed)).sum().backward()
        optimizer.step()
    state = copy.deepcopy(layer.state_dict())
    if mode == "eval":
        layer.eval()
    for seed in range(3):
        with torch.set_grad_enabled(mode == "eval"):
            out = layer(randn(100, 6, seed=seed).requires_grad_())
        if mode == "eval":
            torch.autograd.grad(out.sum(), layer.weight.weight)
    for name, value in layer.state_dict().items():
        assert_equal(value, state[name])


def test_no_renewal_jumps_by_more_than_the_error_of_the_layer(digits):
    x, y = digits
    net = PiMLP(64, 10, 24, 2, features=Hermite(2, subspace=8, renew_every=256), readout_std=1 / 24, generator=seeded())
    optimizer = mupi.SGD(net.parameter_groups(lr=1.0, first=0.1, last=4.0, bias=0.5), clip=0.4)
    held = [g.detach() for g in net.eval().hidden(x[:100])]

    def output(layer, g):
        """The layer's output on fixed inputs, whatever the mode."""
        weight, mode = layer.weight, layer.weight.training
        with torch.no_grad():
            out = weight.eval()(g)
        weight.train(mode)
        return out

    notes = [
        note_renewals(layer.weight, lambda layer=layer, g=g: output(layer, g))
        for layer, g in zip(net.layers, held, strict=True)
    ]
    errors = [layer_error("", layer.weight, g).output for layer, g in zip(net.layers, held, strict=True)]
    counts, jumps = [0, 0], []
    net.train()
    for batch in torch.randperm(len(x), generator=seeded(1)).split(16):
        loss = cross_entropy(net(x[batch]), y[batch])
        for i, layer in enumerate(net.layers):
            if len(notes[i]) > counts[i]:
                before, after = notes[i][-1]
                jumps.append((float((after - before).norm() / before.norm()), errors[i]))
                counts[i] += 1
            errors[i] = layer_error("", layer.weight, held[i]).output
        loss.backward()
        optimizer.step()
    assert min(counts) >= 6, "renewals after 128, 256, 512, … inputs"
    for jump, error in jumps:
        assert jump <= error, f"a renewal moved the layer by {jump:.3f}, its error was {error:.3f}"


def test_renewed_directions_are_better_than_the_first_ones(digits):
    x, y = digits
    errors = {}
    for renew_every in (128, 10**9):
        features = Hermite(2, subspace=8, renew_every=renew_every)
        net = PiMLP(64, 10, 24, 2, features=features, readout_std=1 / 24, generator=seeded())
        if renew_every > 128:
            for layer in net.layers:
                layer.weight.tracker.next_renewal.fill_(10**9)
        optimizer = mupi.SGD(net.parameter_groups(lr=1.0, first=0.1, last=4.0, bias=0.5), clip=0.4)
        for batch in torch.randperm(len(x), generator=seeded(1))[:1200].split(16):
            cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        errors[renew_every] = net.error_report(x[:200])
    for renewed, first in zip(errors[128], errors[10**9], strict=True):
        assert renewed.output < 0.7 * first.output


# The atoms kept to measure the error on


@pytest.mark.parametrize("window", [1, 12, 20, 1000])
@pytest.mark.parametrize("batch", [8, 30])
def test_the_last_atoms_are_kept_as_the_exact_layer_has_them(window, batch):
    # The activation has degree 2, so both layers take the same steps; windows that batches fit in, straddle and exceed.
    φ, initial = Polynomial((0.2, 1.0, 0.3)), Expansion(randn(4), randn(4, 3, seed=1), randn(4, 5, seed=2))
    kept = {}
    for features in (Hermite(2, window=window), Atoms()):
        layer = PiLinear(5, 3, features=features, activation=φ, initial=initial, dtype=torch.float64)
        optimizer = mupi.SGD(layer.parameters(), lr=0.1, clip=0.5)
        for step in range(4):
            (layer(randn(batch, 5, seed=10 + step)) - 1).square().mean().backward()
            optimizer.step()
        layer(randn(2, 5))  # what the last step multiplied the gradient by shows in the next forward pass
        atoms = layer.weight.sample_atoms()
        kept[features] = torch.cat([atoms.c[:, None] * atoms.a, atoms.b], 1)
    ring, everything = kept.values()
    assert len(ring) == min(window, 4 + 4 * batch)
    expected = everything[-len(ring) :]
    # In a ring they come in no order that matters; the first coordinate of b sorts them.
    assert_close(ring[ring[:, 3].argsort()], expected[expected[:, 3].argsort()], rtol=1e-10)


# A module like any other


def grown(features=None, steps=30, seed=0):
    """A network in the middle of training, and its optimiser."""
    net = PiMLP(4, 3, 6, 2, features=features or Hermite(3, subspace=3, renew_every=64), readout_std=0.2,
                generator=seeded(seed), dtype=torch.float64)  # fmt: skip
    optimizer = mupi.SGD(net.parameter_groups(lr=0.1, weight_decay=0.01), clip=0.5, momentum=0.5)
    advance(net, optimizer, range(steps))
    return net, optimizer


def advance(net, optimizer, steps):
    """Train on the batches of these numbers."""
    for step in steps:
        ((net(randn(8, 4, seed=step)) - randn(8, 3, seed=1000 + step)) ** 2).mean().backward()
        optimizer.step()


@pytest.mark.parametrize("half", [30, 32, 33])
def test_a_resumed_run_is_the_whole_run(half):
    # Around step 32 (256 inputs) a renewal is due: it must come at the same step on either side of the interruption.
    whole, _ = grown(steps=45)
    first, optimizer = grown(steps=half)
    saved, saved_optimizer = copy.deepcopy(first.state_dict()), copy.deepcopy(optimizer.state_dict())
    resumed, optimizer = grown(steps=0, seed=7)
    resumed.load_state_dict(saved)
    optimizer.load_state_dict(saved_optimizer)
    advance(resumed, optimizer, range(half, 45))
    for (name, value), expected in zip(resumed.state_dict().items(), whole.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name
    x = randn(5, 4)
    assert resumed.error_report(x) == whole.error_report(x)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"]
)
def test_a_copy_continues_as_the_original(copied):
    net, optimizer = grown()
    twin = copied(net)
    twin_optimizer = mupi.SGD(twin.parameter_groups(lr=0.1, weight_decay=0.01), clip=0.5, momentum=0.5)
    twin_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # loading shares the tensors
    advance(net, optimizer, range(30, 40))
    advance(twin, twin_optimizer, range(30, 40))
    x = randn(5, 4)
    assert_equal(twin(x), net(x))
    assert twin.error_report(x) == net.error_report(x)


@pytest.mark.parametrize("features", [Hermite(2), Hermite(3, subspace=3)], ids=str)
def test_adam_trains_it(features):
    net = PiMLP(4, 3, 6, 2, features=features, readout_std=0.2, generator=seeded())
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    x, y = randn(32, 4, dtype=torch.float32), randn(32, 3, seed=1, dtype=torch.float32)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch on batching unfold's gradient
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("features", [Hermite(2), Hermite(3, subspace=3), mupi.RandomFeatures(16)], ids=str)
def test_gradients_of_single_samples_by_vmap_add_up_to_that_of_the_batch(features, mode):
    net, _ = grown(features)
    net.train(mode == "train")
    x, y = randn(5, 4), randn(5, 3, seed=1)
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    before = copy.deepcopy(net.state_dict())

    def loss(parameters, x, y):
        return ((torch.func.functional_call(net, parameters, (x,)) - y) ** 2).sum()

    single = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, x, y)
    for name, value in net.state_dict().items():
        assert_equal(value, before[name])
    net.eval()
    batch = torch.autograd.grad(((net(x) - y) ** 2).sum(), list(net.parameters()))
    for (name, gradients), expected in zip(single.items(), batch, strict=True):
        assert gradients.shape == (5, *expected.shape), name
        assert_close(gradients.sum(0), expected)


def test_a_functional_call_leaves_the_module_alone():
    # As in MAML: fast weights, a plain backward pass, and the module's own directions in train mode.
    layer = layer_with(Hermite(2, subspace=2), ReLU(), randn(3, 6))
    optimizer = mupi.SGD(layer.parameters(), lr=0.1)
    for seed in range(3):
        layer(randn(40, 6, seed=seed)).square().sum().backward()
        optimizer.step()
    layer(randn(10, 6)).square().sum().backward()  # 130 inputs and no step: a renewal will be due after the next one
    held = randn(4, 6, seed=9)
    before = layer.eval()(held).detach()
    layer.train()
    fast = {name: (p * 1.5).detach().requires_grad_() for name, p in layer.named_parameters()}
    kept = {name: p.detach().clone() for name, p in fast.items()}
    for seed in range(3):
        out = torch.func.functional_call(layer, fast, (randn(10, 6, seed=seed),))
        torch.autograd.grad(out.square().sum(), list(fast.values()))
    for name, p in fast.items():
        assert_equal(p, kept[name])
    assert_equal(layer.eval()(held), before)


def test_polynomials_of_higher_degree_than_kept_differ():
    # Guards the tests that expect equality: they would see the lack of one degree.
    b, g = randn(6, 5), randn(4, 5, seed=1)
    φ = Polynomial((0.2, 1.0, 0.3, -0.1))
    exact = layer_with(Atoms(), φ, b)(g)
    assert_close(layer_with(Hermite(3), φ, b)(g), exact, rtol=1e-12)
    assert (layer_with(Hermite(2), φ, b)(g) - exact).abs().max() > 1e-3 * exact.abs().max()


# Steps that are not taken as usual


@pytest.mark.parametrize("features", [Hermite(2, subspace=4), Hermite(3, subspace={3: 3})], ids=str)
def test_a_pending_gradient_goes_along_when_directions_are_renewed(features):
    """That of inputs in the old span becomes their gradient in the new basis, where some of each is lost."""
    layer = layer_with(features, Polynomial((0.2, 1.0, 0.3, -0.1)), randn(4, 6))
    layer(randn(50, 6) * torch.tensor([4.0, 3.0, 2.0, 1.0, 0.5, 0.5]).double()).sum().backward()
    ((_, old),) = snapshot(layer.weight)[0].items()
    g, delta = randn(20, old.shape[1]) @ old.T, randn(20, 4)
    before = layer.weight.weight.grad = layer.weight._features(g).detach().T @ delta
    before = before.clone()
    layer.weight.renew_directions()
    expected = layer.weight._features(g).detach().T @ delta
    assert (before - expected).abs().max() > 0.1 * expected.abs().max()
    assert_close(layer.weight.weight.grad, expected, rtol=1e-10)


def test_directions_wait_for_a_gradient_that_is_kept_as_factors():
    layer = mupi.factor_gradients(layer_with(Hermite(2, subspace=2), ReLU(), randn(3, 6)))
    layer(randn(200, 6)).sum().backward()
    start, _ = snapshot(layer.weight)
    with torch.no_grad():
        layer.weight.weight.mul_(0.5)  # not a step, which would have consumed the gradient
    layer(randn(200, 6)).sum()
    assert_equal(directions(layer.weight)[2], start[2])
    mupi.SGD(layer.parameters(), lr=0.1).step()
    layer(randn(2, 6)).sum()
    assert not torch.equal(directions(layer.weight)[2], start[2])


@pytest.mark.parametrize("features", [Hermite(2), Hermite(2, subspace=2)], ids=str)
def test_trained_in_eval_mode_it_reports_the_error_of_that_training(features):
    nets = [
        PiMLP(4, 3, 5, 2, features=features, readout_std=0.3, generator=seeded(), dtype=torch.float64).train(mode)
        for mode in (True, False)
    ]
    x, directions_before = randn(9, 4, seed=999), snapshot(nets[1].readout.weight)[0]
    at_start = nets[1].error_report(x)
    for net in nets:
        optimizer = mupi.SGD(net.parameter_groups(lr=0.3), clip=0.1)
        for step in range(10):  # of fewer inputs than a renewal is due after
            ((net(randn(8, 4, seed=step)) - randn(8, 3, seed=100 + step)) ** 2).mean().backward()
            optimizer.step()
    report = nets[1].error_report(x)
    assert report == nets[0].error_report(x)
    assert [r.atoms for r in report] == [85, 85] and report != at_start
    for step in range(20):
        nets[1](randn(8, 4, seed=step)).sum().backward()
    for k, p in directions_before.items():  # in eval mode a forward pass changes no function
        assert_equal(directions(nets[1].readout.weight)[k], p)


def test_a_report_on_atoms_of_other_steps_than_the_last_says_so():
    net = PiMLP(4, 3, 5, 1, features=Hermite(2), readout_std=0.3, generator=seeded(), dtype=torch.float64)
    optimizer, x = mupi.SGD(net.parameters(), lr=0.1), randn(8, 4)
    net.error_report(x)  # warnings are errors in these tests
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    gradients = torch.func.grad(lambda p: torch.func.functional_call(net, p, (x,)).square().sum())(parameters)
    for name, p in net.named_parameters():
        p.grad = gradients[name]
    optimizer.step()
    with pytest.warns(UserWarning, match="the weight has changed since the atoms that its error is measured on"):
        net.error_report(x)
    net(x).square().sum().backward()
    optimizer.step()
    net.error_report(x)
    fresh = PiMLP(4, 3, 5, 1, features=Hermite(2), dtype=torch.float64)
    fresh.load_state_dict(net.state_dict())
    fresh.error_report(x)
