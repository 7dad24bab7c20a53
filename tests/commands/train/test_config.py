import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mupi.activations import Activation, NormalizedPolynomial, ReLU, Tanh
from mupi.cli import main
from mupi.commands.train.activation_names import ACTIVATIONS, activation_name, activation_of, tell_of_kernel
from mupi.commands.train.architectures import architecture_protocol
from mupi.commands.train.config import TrainConfig, current
from mupi.commands.train.networks import MuConvolutional, MuPerceptron, PiPerceptron, StandardPerceptron
from mupi.commands.train.presets import CIFAR10, DIGITS, PROTOCOLS
from mupi.features import Atoms, Hermite, RandomFeatures
from mupi.nets import CENTERED


def test_the_cifar10_protocol_is_that_of_the_paper():
    """Yang, Santacroce & Hu (2022), π-limit on CIFAR-10."""
    c = CIFAR10
    net = c.network
    assert isinstance(net, PiPerceptron)
    assert (net.rank, net.depth, c.batch_size, c.epochs) == (400, 2, 8, 50)
    assert (c.lr, c.lr_first, c.lr_last, c.lr_bias) == (1.0, 0.1, 4.0, 0.5)
    assert (net.input_scale, net.output_scale, net.bias_scale, net.readout_init) == (1.0, 0.5, 0.5, 1.0)
    assert (c.clip, c.weight_decay, c.momentum) == (0.4, 1e-5, 0.0)
    assert (c.drop_epoch, c.drop, net.activation) == (40, 0.15, ReLU())


CONFIGS = [
    DIGITS,
    DIGITS.changed(features=Atoms()),
    DIGITS.changed(features=Atoms(storage=torch.bfloat16), activation=Tanh()),
    DIGITS.changed(features=Hermite(4, subspace={2: 5, 3: 3, 4: 3}), rank=7),
    DIGITS.changed(features=Hermite(2, renew_every=3)),
    DIGITS.changed(features=RandomFeatures(99)),
    DIGITS.changed(kind=MuPerceptron, width=3, sigma_first=0.5),
    DIGITS.changed(kind=StandardPerceptron),
    *(architecture_protocol(DIGITS, arch) for arch in ("cnn", "resnet", "transformer")),
    architecture_protocol(DIGITS, "cnn").changed(kind=MuConvolutional),
    *PROTOCOLS.values(),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.directory.name)
def test_a_configuration_is_what_its_file_says(config):
    assert TrainConfig.from_plain(json.loads(json.dumps(config.as_plain()))) == config
    assert current(config.identity()) == config.identity()


def test_what_earlier_versions_wrote_is_read_as_what_it_meant():
    """Until then a file named every option of every network."""
    others = dict(network="pi", arch="mlp", features="hermite", degree=2, subspace=5, subspace_high=None, width=2048)
    others |= dict(sigma_w=2**0.5, sigma_first=None)
    assert current(DIGITS.identity() | others) == DIGITS.changed(features=Hermite(2, subspace=5)).identity()
    high = current(DIGITS.identity() | others | dict(degree=4, subspace_high=3))
    assert high == DIGITS.changed(features=Hermite(4, subspace={2: 5, 3: 3, 4: 3})).identity()
    full = current(DIGITS.identity() | others | dict(degree=3, subspace=None, subspace_high=3))
    assert full == DIGITS.changed(features=Hermite(3, subspace={2: 64, 3: 3})).identity()
    assert current(DIGITS.identity() | others | dict(features="atoms")) == DIGITS.changed(features=Atoms()).identity()
    random = current(DIGITS.identity() | others | dict(features="random"))
    assert random == DIGITS.changed(features=RandomFeatures(2048)).identity()
    mup = current(DIGITS.identity() | others | dict(network="mup"))
    assert mup == DIGITS.changed(kind=MuPerceptron).identity()


def test_every_activation_can_be_chosen():
    assert all(isinstance(φ, Activation) for φ in ACTIVATIONS.values())
    assert all(activation_of(activation_name(φ)) == φ for φ in ACTIVATIONS.values())


@given(st.lists(st.floats(0, 1e30), min_size=1, max_size=5).filter(lambda weights: any(weights[1:])))
def test_an_activation_of_any_weights_is_written_by_them_and_read_back(weights):
    φ = NormalizedPolynomial.with_weights(*weights)
    assert activation_of(activation_name(φ)) == φ


def test_weights_that_have_a_name_are_written_by_it():
    assert activation_of("0,.25,1") == CENTERED
    assert activation_name(activation_of("0,.25,1")) == "centred"
    assert activation_name(activation_of("0,.25,2")) == "0,0.25,2"  # not the square of a rounded root
    negative = NormalizedPolynomial((0.0, -1.0))
    assert activation_name(negative) == repr(negative)


@pytest.mark.parametrize(
    "words, said",
    [
        ("0,0.25,4", "activation 0,0.25,4 has the kernel |b||g|(0.25q + 4q²)"),
        ("0.25,4", "activation 0.25,4 has the kernel |b||g|(0.25 + 4q)"),  # degree 0 forgotten
        ("1e-3,0,0,2", "activation 0.001,0,0,2 has the kernel |b||g|(0.001 + 2q³)"),
        ("0,1", "activation 0,1 has the kernel |b||g|(1q)"),
        ("relu", ""),
        ("0,0.25,1", ""),  # it has a name
    ],
)
def test_of_an_activation_by_weights_the_kernel_that_is_understood_is_said(words, said, capsys):
    tell_of_kernel(activation_of(words))
    assert capsys.readouterr().err == (f"mupi: {said}\n" if said else "")


def test_the_kernel_is_said_before_training(tmp_path, capsys):
    options = ["--train-size", "50", "--epochs", "1", "--rank", "3", "--runs-dir", str(tmp_path)]
    main(["train", "--activation", "0.25,4", *options])
    assert capsys.readouterr().err.startswith("mupi: activation 0.25,4 has the kernel |b||g|(0.25 + 4q)\n")


@pytest.mark.parametrize("text", ["sigmoid", "", "1,", "0,x", "0,.25,-1", "0,nan", "0,inf", "0,0", "1", "2,0"])
def test_what_is_no_activation_is_refused(text):
    with pytest.raises(ValueError, match="`activation` must be"):
        activation_of(text)


@pytest.mark.parametrize(
    "field, value",
    [
        ("lr", -1.0),
        ("batch_size", 0),
        ("epochs", 0),
        ("rank", 0),
        ("shift", -1),
        ("drop", float("nan")),
        ("label_smoothing", 2.0),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"`{field}` must be .*; got {value}"):
        DIGITS.changed(**{field: value}).check()


def test_resume_and_overwrite_exclude_each_other():
    with pytest.raises(ValueError, match="`resume` must be without overwrite"):
        DIGITS.changed(resume=True, overwrite=True).check()


def test_a_run_is_named_after_what_it_trains_unless_it_has_a_name():
    assert DIGITS.changed(features=Atoms()).directory == Path("runs/digits-atoms-r64-seed0")
    assert DIGITS.changed(features=RandomFeatures(99)).directory == Path("runs/digits-random-r64-n99-seed0")
    assert DIGITS.changed(kind=MuPerceptron, width=99).directory == Path("runs/digits-mup-n99-seed0")
    assert DIGITS.changed(name="mine").directory == Path("runs/mine")
