"""Names of earlier versions still lead to what they named; state dicts have the keys that theirs had."""

import pytest

import mupi
from mupi import features, kernels, layers, nets

ALIASES = {
    "InputLayer": (mupi, mupi.DenseMatrix),
    "Random": (mupi, mupi.RandomFeatures),
    "layers.InputLayer": (layers, mupi.DenseMatrix),
    "layers.Centre": (layers, layers.Center),
    "layers.pi_initialisation": (layers, layers.pi_initialization),
    "layers.conv_initialisation": (layers, layers.conv_initialization),
    "features.Random": (features, mupi.RandomFeatures),
    "kernels.centred_alignment": (kernels, kernels.centered_alignment),
    "kernels.centred_one_hot": (kernels, kernels.centered_one_hot),
    "nets.CENTRED": (nets, nets.CENTERED),
}


@pytest.mark.parametrize("name", ALIASES)
def test_an_old_name_is_the_same_thing(name):
    package, now = ALIASES[name]
    assert getattr(package, name.split(".")[-1]) is now


def test_state_dicts_have_the_keys_and_conventions_of_earlier_versions():
    net = mupi.PiCNN((3, 8, 8), 2, 4, (2,), features=mupi.RandomFeatures(8), subtract_mean=True)
    keys = {
        "input.weight",
        "centres.0.mean",
        "centres.1.batches",
        "layers.0.weight.omega",
        "layers.1.weight.omega",
    }
    assert keys <= net.state_dict().keys()
    assert net.readout.weight.conventions()["features"] == "Random(width=8)"
    assert {"input.weight", "input.bias"} <= mupi.PiMLP(3, 2, 4).state_dict().keys()
