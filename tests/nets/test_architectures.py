"""`PiCNN`, `PiResNet`, `PiTransformer`: starts, samples, kernels, learning rates, presets, bad input."""

import pytest
import torch

import mupi
from assertions import assert_close, assert_equal
from cases import randn, seeded
from mupi import Atoms, Hermite, Patches, PiCNN, PiResNet, PiTransformer, RandomFeatures, ReLU, Tokens
from mupi.nets import CENTERED, MuCNN, small_cnn, small_mu_cnn, small_resnet, small_transformer

SHAPE = (2, 4, 4)


def build(kind, features=None, seed=0, **options):
    options = dict(features=features or Atoms(), generator=seeded(seed), dtype=torch.float64, readout_std=0.5) | options
    if kind is PiTransformer:
        return PiTransformer(Patches(SHAPE, 2), 3, 4, 2, heads=2, **options)
    shape = dict(pools=(2, 1)) if kind is PiCNN else dict(blocks=(1, 2))
    return kind(SHAPE, 3, 4, input_kernel=3, input_stride=1, **shape, **options)


KINDS = [PiCNN, PiResNet, PiTransformer]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_start_as_the_same_function_whatever_the_features(kind):
    x = randn(5, *SHAPE)
    exact, hermite, random = (
        build(kind, f, activation=CENTERED)(x) for f in (Atoms(), Hermite(2), RandomFeatures(2**14))
    )
    assert_close(hermite, exact, rtol=1e-11)
    assert_close(random, exact, rtol=0.4)


@pytest.mark.parametrize("kind", [mupi.PiMLP, *KINDS])
@pytest.mark.parametrize(
    "features", [Hermite(2), Hermite(2, subspace=2), Hermite(3, subspace={3: 1}), RandomFeatures(16)], ids=str
)
def test_equal_seeds_start_from_equal_atoms_whatever_the_features(kind, features):
    """Of which each feature map has what it can: a subspace less than all."""

    def made(features):
        if kind is not mupi.PiMLP:
            return build(kind, features, activation=ReLU())
        return mupi.PiMLP(4, 3, 5, 3, features=features, readout_std=0.5, generator=seeded(), dtype=torch.float64)

    exact, net = made(Atoms()), made(features)
    first, others = dict(exact.named_parameters()), dict(net.named_parameters())
    for name in first.keys() & others.keys():
        assert_equal(first[name], others[name])
    for theirs, ours in zip(exact.pi_layers, net.pi_layers, strict=True):
        atoms = theirs.weight.sample_atoms()
        kept = ours.weight.sample_atoms()
        if kept is None:  # a finite weight is Σ_m c_m a_m ψ(b_m)
            psi = ours.weight._features(atoms.b)
            assert_close(ours.weight.weight, psi.T @ (atoms.c[:, None] * atoms.a))
        else:
            assert_equal(kept.a, atoms.c[:, None] * atoms.a)
            assert_equal(kept.b, atoms.b)
            psi = ours.weight._features(atoms.b)
            assert_close(ours.weight.weight, psi.T @ kept.a)


@pytest.mark.parametrize("kind", KINDS)
def test_flattened_images_are_the_same_images(kind):
    net, x = build(kind), randn(5, *SHAPE)
    assert_equal(net(x.flatten(1)), net(x))
    assert net(x).shape == (5, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_feature_kernel_is_the_mean_over_pairs_of_positions(kind):
    net, x = build(kind, activation=ReLU()), randn(3, *SHAPE)
    g = net.hidden(x)[-1].flatten(1, -2).detach()
    expected = torch.stack([torch.stack([net.readout.weight.feature_kernel(a, b).mean() for b in g]) for a in g])
    assert_close(net.feature_kernel(x, x), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_carries_the_network(kind):
    net, twin, x = build(kind, Hermite(2, subspace=2)), build(kind, Hermite(2, subspace=2), seed=1), randn(2, *SHAPE)
    twin.load_state_dict(net.state_dict())
    assert_equal(twin.eval()(x), net.eval()(x))


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_in_one_group(kind):
    net = build(kind)
    groups = net.parameter_groups(lr=2.0, first=0.5, last=4.0, bias=0.25, weight_decay=0.1)
    assert [g["name"] for g in groups] == ["first", "hidden", "last", "bias"]
    grouped = [id(p) for g in groups for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters())
    assert groups[2]["params"] == list(net.readout.weight.parameters())


def test_the_layers_of_a_stream_share_their_omega():
    for net in (build(PiResNet, RandomFeatures(16)), build(PiResNet).sample(16, seeded())):
        omegas = [layer.weight.omega for layer in net.pi_layers]
        for omega in omegas:
            assert_equal(omega, omegas[0])
    for net in (build(PiCNN, RandomFeatures(16)), build(PiCNN).sample(16, seeded())):
        first, second, _ = (layer.weight.omega for layer in net.pi_layers)
        assert not torch.equal(first, second)


def test_branches_are_scaled_by_the_root_of_their_number():
    assert [layer.scale for layer in build(PiResNet).pi_layers[:-1]] == [3**-0.5] * 3
    assert [layer.scale for layer in build(PiResNet, branch_scale=1.0).pi_layers[:-1]] == [1.0] * 3
    net = build(PiTransformer)
    assert net.attention[0].out.scale == net.layers[0].scale == 0.5


def test_a_causal_network_does_not_see_the_future():
    net = PiTransformer(Tokens(5, 6), 3, 4, 2, heads=2, features=Atoms(), readout_std=0.5, generator=seeded())
    x = torch.tensor([[0, 1, 2, 3, 4]])
    other = torch.tensor([[0, 1, 2, 4, 0]])
    assert net(x).shape == (1, 5, 3)
    assert_close(net(other)[:, :3], net(x)[:, :3])
    whole = PiTransformer(Tokens(5, 6, causal=False), 3, 4, 1, heads=2, generator=seeded())
    assert whole(x).shape == (1, 3)


def test_the_small_networks_fit_small_and_large_images():
    for shape in ((1, 8, 8), (3, 32, 32)):
        x = torch.zeros(2, *shape)
        for make in (small_cnn, small_resnet, small_transformer):
            for depth in (1, 2, 5):
                assert make(shape, 10, depth, rank=4, generator=seeded())(x).shape == (2, 10)
        assert small_mu_cnn(shape, 10, width=8, generator=seeded())(x).shape == (2, 10)
    assert small_resnet((3, 32, 32), 10, 5, rank=4).blocks == (1, 2, 2)


def test_the_cnn_in_mup_starts_with_pre_activations_of_order_one_and_learns_at_every_width():
    x, y = randn(8, 3, 8, 8), torch.arange(8) % 3
    changes = []
    for n in (32, 512):
        net = MuCNN((3, 8, 8), 3, n, (2,), normalized=False, activation=ReLU(), generator=seeded(), dtype=torch.float64)
        optimizer = mupi.SGD(net.parameter_groups(0.5))
        before = [h.detach() for h in net.hidden(x)]
        assert 0.3 < float(before[0].square().mean()) < 3
        for _ in range(3):
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        changes.append(float((net.hidden(x)[1].detach() - before[1]).square().mean().sqrt()))
    assert 0.4 < changes[1] / changes[0] < 2.5


def test_bad_input_is_named():
    for make, message in [
        (lambda: PiCNN((3, 0, 8), 10), "height"),
        (lambda: PiCNN((3, 32, 32), 10, pools=(3,)), r"divide the positions, 16 × 16 here; got 3"),
        (lambda: PiResNet((3, 30, 30), 10, blocks=(1, 1)), "divide the positions, 15 × 15"),
        (lambda: PiResNet((3, 32, 32), 10, blocks=()), "blocks"),
        (lambda: PiTransformer(Patches((3, 32, 32), 4), 10, 30), "divisor of the rank 30"),
        (lambda: Patches((3, 32, 32), 5), "divisor"),
        (lambda: build(PiCNN)(randn(2, 31)), r"\(batch, 2, 4, 4\) or \(batch, 32\)"),
        (lambda: build(PiCNN)(torch.full((1, *SHAPE), torch.nan).double()), "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("kind", [PiCNN, PiResNet])
def test_centered_networks_train_alike_in_the_limit_and_at_constant_memory(kind):
    # The activation has degree 2, which Hermite(2) has exactly; running means are part of the comparison.
    x, y, held = randn(8, *SHAPE), torch.arange(8) % 3, randn(4, *SHAPE, seed=1)
    nets = [build(kind, features, activation=CENTERED, subtract_mean=True) for features in (Atoms(), Hermite(2))]
    for net in nets:
        optimizer = mupi.SGD(net.parameter_groups(0.1), clip=0.5, momentum=0.5)
        for _ in range(3):
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        net.eval()
    assert_close(nets[1](held), nets[0](held), rtol=1e-9)


def test_the_centered_cnn_in_mup_has_channels_of_mean_zero():
    net, x = MuCNN(SHAPE, 3, 8, (2,), normalized=False, subtract_mean=True, dtype=torch.float64), randn(5, *SHAPE)
    for h in net.hidden(x):
        assert_close(h.mean((0, 1, 2)), torch.zeros(8, dtype=torch.float64), scale=1.0)
