"""Bad input is refused in one line that names the argument, as a user meets it: without the shape checks of tests."""

import json
import re
import subprocess
import sys

import pytest

SETUP = """
import json, sys, torch, mupi, warnings
from mupi import *
from mupi.training import Trainer
from torch import ones, zeros
g = torch.Generator().manual_seed(0)
nan, inf = float("nan"), float("inf")
net = PiMLP(3, 2, 4, 2, generator=g)
descent = SGD(net.parameters(), lr=0.1)
exact = PiMLP(3, 2, 4, 2, features=Atoms(), generator=g)
layer = PiLinear(4, 2, features=Atoms(), activation=ReLU(), generator=g)
A, B = ones(3, 4), ones(5, 4)
hidden, readout = (ones(5), ones(5, 4), B, None), (ones(5), ones(5, 2), B, None)
"""

SCRIPT = (
    SETUP
    + """
for expression in json.load(sys.stdin):
    try:
        eval(expression)
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error)]))
    else:
        print(json.dumps(["nothing", ""]))
"""
)

# expression → what the message must hold
CASES = {
    # sizes
    "PiMLP(3, 2, rank=0)": r"`PiMLP\(rank=\.\.\.\)` must be an integer ≥ 1; got 0",
    "PiMLP(3, 2, rank=4.0)": r"`PiMLP\(rank=\.\.\.\)` must be an integer ≥ 1; got 4\.0",
    "PiMLP(3, 2, rank=True)": r"`PiMLP\(rank=\.\.\.\)`.*got True",
    "PiMLP(-3, 2, 4)": r"`PiMLP\(d_in=\.\.\.\)`.*got -3",
    "PiMLP(3, 0, 4)": r"`PiMLP\(d_out=\.\.\.\)`.*got 0",
    "PiMLP(3, 2, 4, depth=0)": r"`PiMLP\(depth=\.\.\.\)`.*got 0",
    "PiMLP(3, 2, 4, depth='2')": r"`PiMLP\(depth=\.\.\.\)`.*got '2'",
    "DenseMatrix(0, 2)": r"`DenseMatrix\(d_in=\.\.\.\)`",
    "DenseMatrix(2, 0)": r"`DenseMatrix\(rank=\.\.\.\)`",
    "PiLinear(0, 2, features=Atoms(), activation=ReLU())": r"`PiLinear\(rank_in=\.\.\.\)`",
    "PiLinear(2, 2.5, features=Atoms(), activation=ReLU())": r"`PiLinear\(rank_out=\.\.\.\)`.*got 2\.5",
    # scales
    "PiMLP(3, 2, 4, input_scale=-1)": r"`PiMLP\(input_scale=\.\.\.\)` must be a finite number ≥ 0; got -1",
    "PiMLP(3, 2, 4, output_scale=nan)": r"`PiMLP\(output_scale=\.\.\.\)`.*got nan",
    "PiMLP(3, 2, 4, bias_scale=inf)": r"`PiMLP\(bias_scale=\.\.\.\)`.*got inf",
    "PiMLP(3, 2, 4, readout_std=-1)": r"`PiMLP\(readout_std=\.\.\.\)`",
    "PiMLP(3, 2, 4, input_scale='1')": r"`PiMLP\(input_scale=\.\.\.\)`",
    "PiMLP(3, 2, 4, input_scale=None)": r"`PiMLP\(input_scale=\.\.\.\)`",
    "PiLinear(2, 2, features=Atoms(), activation=ReLU(), init_std=-1.0)": r"`PiLinear\(init_std=\.\.\.\)`",
    "PiLinear(2, 2, features=Atoms(), activation=ReLU(), scale=nan)": r"`PiLinear\(scale=\.\.\.\)`",
    "DenseMatrix(2, 2, bias_scale=nan)": r"`DenseMatrix\(bias_scale=\.\.\.\)`",
    # features and activations
    "PiMLP(3, 2, 4, features=Atoms)": r"`PiMLP\(features=\.\.\.\)` must be a feature map.*pass mupi\.Atoms\(\)",
    "PiMLP(3, 2, 4, features='atoms')": r"`PiMLP\(features=\.\.\.\)` must be a feature map; got 'atoms'",
    "PiMLP(3, 2, 4, activation='relu')": r"`PiMLP\(activation=\.\.\.\)`.*got 'relu'; pass mupi\.ReLU\(\)",
    "MLP(3, 2, 4, activation='GELU')": r"`MLP\(activation=\.\.\.\)`.*got 'GELU'; pass mupi\.GELU\(\)",
    "NNGP(2, None)": r"`NNGP\(activation=\.\.\.\)`.*got None",
    "NTK(2, torch.nn.PReLU())": r"`NTK\(activation=\.\.\.\)` must be without parameters of its own; got PReLU",
    "mupi.kernels.ConvNNGP((1, 4, 4), 2, ReLU)": r"`ConvNNGP\(activation=\.\.\.\)`.*the class mupi\.ReLU",
    "mupi.kernels.ConvNTK((1, 4, 4), 2, torch.nn.ReLU)": r"`ConvNTK\(activation=\.\.\.\)`.*the class ReLU; write",
    "MuLimit(2, torch.sign)": r"`MuLimit\(activation=\.\.\.\)` must be continuous; got sign, which jumps by 2 at 0",
    "PiCNN((1, 8, 8), 2, activation=torch.nn.Dropout())": r"`PiCNN\(activation=\.\.\.\)`.*another result each time",
    "PiLinear(4, 2, features=Atoms(), activation=torch.nn.Softmax(-1))": r"`PiLinear\(act.*mixes coordinates",
    "PiMLP(3, 2, 4, features=RandomFeatures(3))": r"`.*width.*` must be at least the rank 4; got 3",
    "RandomFeatures(0)": r"`RandomFeatures\(width=\.\.\.\)`.*got 0",
    "RandomFeatures(2.5)": r"`RandomFeatures\(width=\.\.\.\)`.*got 2\.5",
    "Hermite(-1)": r"`Hermite\(degree=\.\.\.\)`.*got -1",
    "Hermite(2.0)": r"`Hermite\(degree=\.\.\.\)`.*got 2\.0",
    "Hermite(100)": r"`Hermite\(degree=\.\.\.\)`.*got 100",
    "Hermite(2, subspace=0)": r"`Hermite\(subspace=\.\.\.\)`.*got 0",
    "Hermite(2, subspace={2: 0})": r"`Hermite\(subspace=\{2: \.\.\.\}\)`.*got 0",
    "Hermite(2, subspace={4: 3})": r"`Hermite\(subspace=\.\.\.\)`.*degree 4",
    "Hermite(2, subspace={1: 3})": r"`Hermite\(subspace=\.\.\.\)`.*degree 1",
    "Hermite(2, renew_every=0)": r"`Hermite\(renew_every=\.\.\.\)`.*got 0",
    "Hermite(2, window=-5)": r"`Hermite\(window=\.\.\.\)`.*got -5",
    "Atoms(storage=torch.int8)": r"`Atoms\(storage=\.\.\.\)`.*torch\.int8",
    "PiMLP(3, 2, 400, features=Hermite(6))": r"`Hermite\(degree=\.\.\.\)`.*subspace",
    "Polynomial(())": r"`Polynomial\(coefficients=\.\.\.\)`",
    "Quadrature(3)": r"`Quadrature\(function=\.\.\.\)`.*got 3",
    "Quadrature(torch.tanh, nodes=1)": r"`Quadrature\(nodes=\.\.\.\)`.*got 1",
    "Quadrature(torch.tanh, nodes=1000)": r"`Quadrature\(nodes=\.\.\.\)`.*got 1000",
    # data
    "net(ones(5, 4))": r"`x` must be of shape \(\.\.\., 3\); got shape \(5, 4\)",
    "net(torch.tensor(1.))": r"`x` must be of shape \(\.\.\., 3\); got shape \(\)",
    "net(ones(5, 3).int())": r"`x` must be of a floating dtype; got torch\.int32; use x\.float\(\)",
    "net(ones(5, 3).double())": r"`x` must be .*float32.*got torch\.float64",
    "net(torch.tensor([[1., nan, 2.]]))": r"`x` must be finite; got 1 NaN or infinite of 3 entries",
    "net(torch.tensor([[inf, nan, 2.]]))": r"`x` must be finite; got 2 NaN or infinite of 3",
    "net.hidden(torch.tensor([[1., nan, 2.]]))": r"`x` must be finite",
    "net.feature_kernel(ones(2, 3), ones(2, 4))": r"`x` must be of shape \(\.\.\., 3\)",
    "net.error_report(ones(2, 4))": r"`x` must be of shape",
    "layer(ones(2, 3))": r"`PiLinear\.forward\(g\)` must be of shape \(\.\.\., 4\); got shape \(2, 3\)",
    "layer(ones(2, 4).long())": r"`PiLinear\.forward\(g\)` must be of a floating dtype",
    # optimiser
    "SGD(net.parameters(), lr=-1)": r"`SGD\(lr=\.\.\.\)` must be a finite number ≥ 0; got -1",
    "SGD(net.parameters(), lr='1')": r"`SGD\(lr=\.\.\.\)`",
    "SGD(net.parameters(), clip=0)": r"`SGD\(clip=\.\.\.\)`.*got 0",
    "SGD(net.parameters(), clip='1')": r"`SGD\(clip=\.\.\.\)`",
    "SGD(net.parameters(), momentum=-1)": r"`SGD\(momentum=\.\.\.\)`",
    "SGD(net.parameters(), weight_decay=-1)": r"`SGD\(weight_decay=\.\.\.\)`",
    "SGD([])": r"empty parameter list",
    "net.parameter_groups(lr=-1)": r"`parameter_groups\(lr=\.\.\.\)`.*got -1",
    "net.parameter_groups(lr=1, first=-1)": r"`parameter_groups\(first=\.\.\.\)`",
    "net.parameter_groups(lr=1, last=nan)": r"`parameter_groups\(last=\.\.\.\)`.*got nan",
    "net.parameter_groups(lr=1, bias=-1)": r"`parameter_groups\(bias=\.\.\.\)`",
    "net.parameter_groups(lr=1, weight_decay=-1)": r"`parameter_groups\(weight_decay=\.\.\.\)`",
    # training
    "Trainer(lambda x: x, descent)": r"`Trainer\(net=\.\.\.\)` must be a torch.nn.Module; got function",
    "Trainer(net, 'adam')": r"`Trainer\(optimizer=\.\.\.\)` must be a torch.optim.Optimizer; got str",
    "Trainer(net, torch.optim.LBFGS(net.parameters()))": r"`Trainer\(optimizer=\.\.\.\)` must be one that steps",
    "Trainer(net, descent, loss='mse')": r"`Trainer\(loss=\.\.\.\)` must be a function.*got str",
    "Trainer(net, descent, batch_size=2.5)": r"`Trainer\(batch_size=\.\.\.\)` must be an integer ≥ 1; got 2\.5",
    "Trainer(net, descent, schedule=3)": r"`Trainer\(schedule=\.\.\.\)` must be an LRScheduler.*got int",
    "Trainer(net, descent, augmentation='flip')": r"`Trainer\(augmentation=\.\.\.\)`.*got str",
    "Trainer(net, descent, generator=0)": r"`Trainer\(generator=\.\.\.\)` must be a generator.*got another int",
    "Trainer(net, descent, autocast='bfloat16')": r"`Trainer\(autocast=\.\.\.\)`.*got 'bfloat16'",
    "Trainer(net, descent).fit((ones(4, 3), ones(4, 2)), epochs=2.5)": r"`fit\(epochs=\.\.\.\)`.*got 2\.5",
    "Trainer(net, descent).fit((ones(4, 3), ones(4, 2)), epochs=1, callbacks=print)": r"`fit\(callbacks=\.\.\.\)`",
    "Trainer(net, descent).fit((ones(4, 3), ones(4, 2)), epochs=1, directory=3)": r"`fit\(directory=\.\.\.\)`.*got int",
    "Trainer(net, descent).fit((ones(4, 4), ones(4, 2)), epochs=1)": r"`x` must be of shape \(\.\.\., 3\)",
    # from_atoms
    "PiMLP.from_atoms(A, None, [])": r"`PiMLP\.from_atoms\(layers=\.\.\.\)` must be at least the readout; got none",
    "PiMLP.from_atoms(ones(3), None, [readout])": r"`PiMLP\.from_atoms\(input_weight=\.\.\.\)`",
    "PiMLP.from_atoms(A, ones(5), [readout])": r"`PiMLP\.from_atoms\(input_bias=\.\.\.\)` must be of shape \(4,\)",
    "PiMLP.from_atoms(A, None, [(ones(4), ones(5, 2), B, None)])": r"`PiMLP\.from_atoms\(layers\[0\]\)`",
    "PiMLP.from_atoms(A, None, [hidden, (ones(5), ones(5), B, None)])": r"`PiMLP\.from_atoms\(layers\[1\]\)`",
    "PiMLP.from_atoms(A, None, [hidden, (ones(5), ones(5, 2), ones(5, 3), None)])": r"from_atoms\(layers\[1\]\)`.*4.*3",
    "PiMLP.from_atoms(A, None, [(ones(5), ones(5, 3), B, None), readout])": r"from_atoms\(layers\[0\]\)`.*4.*3",
    "PiMLP.from_atoms(A, None, [(ones(5), ones(5, 2), B, ones(3))])": r"`PiMLP\.from_atoms\(layers\[0\]\) bias`",
    "PiMLP.from_atoms(A, ones(4), [readout], bias_scale=0)": r"`PiMLP\.from_atoms\(input_bias=\.\.\.\)` must be None",
    # sample
    "exact.sample(0)": r"`.*sample\(width=\.\.\.\)`.*got 0",
    "exact.sample(3)": r"`.*width.*` must be at least the rank 4; got 3",
    "exact.sample(8).sample(8)": r"finite already",
    "mupi.nets.plain(PiCNN((1, 4, 4), 2, 4, (), features=Random(8)))": r"must be a chain of mupi.PiLinear",
}


@pytest.fixture(scope="module")
def outcomes():
    """What each expression raised, in a process of its own without runtime type checks."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        input=json.dumps(list(CASES)),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(CASES, map(json.loads, result.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("expression", CASES)
def test_bad_input_is_refused_in_one_line_that_names_it(outcomes, expression):
    kind, message = outcomes[expression]
    assert kind in ("ValueError", "TypeError"), f"{kind}: {message}"
    assert "\n" not in message
    assert re.search(CASES[expression], message), message
