"""Names of earlier versions still lead to what they named; state dicts have the keys that theirs had."""

import ast
import re
from pathlib import Path

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


BRITISH = re.compile(
    r"isation|colour|centre|neighbour|behaviour|ised(_|$)|(?<![a-z])(normal|optim|initial|summar|factor)ise", re.I
)
KEPT = {
    "Centre", "CENTRED", "centred_alignment", "centred_one_hot", "conv_initialisation", "pi_initialisation",
    "readout_maximally_initialised",  # names of earlier versions
    "centres",  # keys of state dicts
    "normalise",  # an option of a command, and a key of its runs' files
}  # fmt: skip


def test_identifiers_are_spelled_as_torch_spells_its_own():
    found = {}
    for path in Path(mupi.__file__).parent.rglob("*.py"):
        assert not BRITISH.search(path.stem), path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [getattr(node, field, None) for field in ("id", "attr", "name", "arg")]
            for name in names:
                if isinstance(name, str) and name not in KEPT and "raise" not in name and BRITISH.search(name):
                    found[name] = path.name
    assert not found
