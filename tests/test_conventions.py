"""A state dict says what its tensors do not; one of another function is refused by the argument that differs."""

import copy
import re

import pytest
import safetensors.torch
import torch
from torch import nn

from assertions import assert_equal
from cases import randn, seeded
from mupi import MLP, Atoms, Hermite, PiCNN, PiLinear, PiMLP, PiResNet, PiTransformer, RandomFeatures, ReLU, Tanh
from mupi.conventions import KEY
from mupi.nets import MuCNN, Patches, small_cnn

SHAPE = (1, 4, 8)


def perceptron(**options):
    options = dict(d_in=32, d_out=3, rank=6, depth=2, readout_std=0.3) | options
    return PiMLP(**options, generator=seeded(), dtype=torch.float64)


def images(make):
    def build(**options):
        options = dict(image_shape=SHAPE, d_out=3, rank=6, features=Hermite(2), readout_std=0.3) | options
        return make(**options, generator=seeded(), dtype=torch.float64)

    return build


def transformer(**options):
    options = dict(tokens=Patches(SHAPE, 2), d_out=3, rank=4, heads=2, rank_head=2, readout_std=0.3) | options
    return PiTransformer(**options, generator=seeded(), dtype=torch.float64)


def finite_cnn(**options):
    options = dict(image_shape=SHAPE, d_out=3, width=6, pools=(2,), input_stride=1) | options
    net = MuCNN(**options, generator=seeded(), dtype=torch.float64)
    net.last.data = randn(3, 6)
    return net


def finite(**options):
    return MLP(32, 3, 8, **options, generator=seeded(), dtype=torch.float64)


def scaled_layer(**options):
    layer = PiLinear(32, 3, features=Hermite(1), activation=ReLU(), generator=seeded(), dtype=torch.float64, **options)
    nn.init.normal_(layer.bias, generator=seeded(1))
    return layer


CNN = images(lambda **options: PiCNN(**dict(pools=(2,), input_stride=1) | options))
RESNET = images(lambda **options: PiResNet(**dict(blocks=(1, 2), input_stride=1) | options))
# How each is made, and other values of what its tensors do not say.
MADE = {
    "PiMLP": (
        perceptron,
        [
            dict(activation=Tanh()),
            dict(activation=torch.nn.functional.softplus),
            dict(input_scale=2.0),
            dict(output_scale=0.25),
            dict(bias_scale=1.0),
        ],
    ),
    "PiMLP-atoms": (lambda **o: perceptron(features=Atoms(), **o), [dict(activation=Tanh()), dict(input_scale=2.0)]),
    "PiMLP-random": (lambda **o: perceptron(features=RandomFeatures(16), **o), [dict(activation=Tanh())]),
    "PiCNN": (
        CNN,
        [
            dict(activation=ReLU()),
            dict(image_shape=(1, 8, 4)),
            dict(pools=(1,)),
            dict(input_stride=2),
            dict(normalized=False),
            dict(input_scale=2.0, normalized=False),
            dict(output_scale=0.5),
            dict(bias_scale=1.0),
        ],
    ),
    "PiResNet": (
        RESNET,
        [
            dict(activation=ReLU()),
            dict(blocks=(2, 1)),
            dict(branch_scale=0.1),
            dict(input_stride=2),
            dict(bias_scale=1.0),
        ],
    ),
    "PiTransformer": (
        transformer,
        [dict(activation=ReLU()), dict(heads=1, rank_head=4), dict(branch_scale=0.1), dict(output_scale=0.5)],
    ),
    "MuCNN": (
        finite_cnn,
        [
            dict(activation=ReLU()),
            dict(image_shape=(1, 8, 4)),
            dict(pools=(1,)),
            dict(normalized=False),
            dict(output_scale=0.5),
            dict(bias_scale=1.0),
        ],
    ),
    "MLP": (finite, [dict(activation=Tanh())]),
    "PiLinear": (scaled_layer, [dict(scale=0.5), dict(bias_scale=0.5)]),
}
CASES = [(name, other) for name, (_, others) in MADE.items() for other in others]


def move(net):
    """To other numbers than those that are loaded."""
    for name, p in net.named_parameters():
        if not name.endswith("atoms"):
            p.data = p.data + 1


def tensors(net):
    return {name: value.clone() for name, value in net.state_dict().items() if not name.endswith(KEY)}


@pytest.mark.parametrize(
    ("name", "other"), CASES, ids=lambda value: value if isinstance(value, str) else ",".join(value)
)
def test_another_convention_is_refused_by_name_and_no_tensor_is_copied(name, other):
    make = MADE[name][0]
    state, net = make().state_dict(), make(**other)
    move(net)
    before = tensors(net)
    named = "|".join(other)
    with pytest.raises(ValueError, match=rf"`{name.split('-')[0]}\(({named})=\.\.\.\)` must be .* as in") as error:
        net.load_state_dict(state)
    assert "\n" not in str(error.value) and "0x" not in str(error.value)
    assert isinstance(error.value, RuntimeError), "as torch raises for other shapes"
    with pytest.raises(ValueError):  # not what strict is about
        net.load_state_dict(state, strict=False)
    with pytest.raises(ValueError, match=rf"`{name.split('-')[0]}\(({named})=\.\.\.\) at 1`"):
        nn.Sequential(nn.Identity(), net).load_state_dict({f"1.{key}": value for key, value in state.items()})
    for key, value in tensors(net).items():
        assert_equal(value, before[key])


@pytest.mark.parametrize("name", MADE)
def test_the_same_conventions_load_by_every_way(name, tmp_path):
    net, x = MADE[name][0](), randn(5, 32)
    expected = net.eval()(x)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    safetensors.torch.save_file(net.state_dict(), tmp_path / "net.safetensors")
    average = {key: 0.3 * value + 0.7 * value for key, value in net.state_dict().items()}
    old = {key: value for key, value in net.state_dict().items() if not key.endswith(KEY)}
    for state in (
        torch.load(tmp_path / "net.pt", weights_only=True),
        safetensors.torch.load_file(tmp_path / "net.safetensors"),
        average,
        old,
    ):
        fresh = MADE[name][0]()
        move(fresh)
        if state is old and name != "MLP":  # whose multipliers were always asked for
            with pytest.warns(UserWarning, match="does not say which activation"):
                fresh.load_state_dict(state)
        elif state is not old:
            fresh.load_state_dict(state)
        else:
            continue
        torch.testing.assert_close(fresh.eval()(x), expected)
    if "atoms" not in name:
        assert_equal(torch.func.functional_call(net, net.state_dict(), x), expected)
    copy.deepcopy(net).load_state_dict(net.state_dict())


def test_a_function_is_known_by_its_values():
    """Its name and address may differ from one process, or version, to the next."""
    net = perceptron(activation=torch.nn.functional.softplus)
    same = perceptron(activation=lambda x: torch.nn.functional.softplus(x))
    other = perceptron(activation=lambda x: torch.nn.functional.softplus(x, beta=2.0))
    same.load_state_dict(net.state_dict())
    with pytest.raises(ValueError, match=re.escape("`PiMLP(activation=...)` must be")):
        other.load_state_dict(net.state_dict())


def test_features_of_another_kind_are_refused_where_they_are():
    with pytest.raises(ValueError, match=r"`HermiteWeight\(features=\.\.\.\) at layers\.0\.weight` must be Atoms as"):
        perceptron(features=Hermite(2)).load_state_dict(perceptron(features=Atoms()).state_dict())
    # Before torch tells the shapes apart, which say less.
    state = perceptron(features=Hermite(2, subspace=3)).state_dict()
    with pytest.raises(
        ValueError, match=r"must be Hermite of degrees 0, 1, 2 in 3 directions as in the state dict; got"
    ):
        perceptron(features=Hermite(2, subspace=2)).load_state_dict(state)


def test_a_network_that_subtracts_the_mean_is_another_one():
    net = small_cnn((1, 8, 8), 3, rank=4, generator=seeded())
    with pytest.raises(
        ValueError, match=r"`PiCNN\(subtract_mean=\.\.\.\)` must be True as in the state dict; got False"
    ):
        small_cnn((1, 8, 8), 3, rank=4, subtract_mean=False).load_state_dict(net.state_dict())
