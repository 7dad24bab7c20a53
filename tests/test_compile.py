"""`torch.compile` of a network, in a process of its own: the shape checks of tests do not go through a compiler."""

import subprocess
import sys

import pytest

SCRIPT = """
import torch, mupi

def draw(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

def train(net, run):
    optimizer = mupi.SGD(net.parameter_groups(lr=0.1))
    for step in range(25):
        ((run(draw(8, 4, seed=step)) - draw(8, 3, seed=1000 + step)) ** 2).mean().backward()
        optimizer.step()
    return net.eval()

def build():
    generator = torch.Generator().manual_seed(0)
    return mupi.PiMLP(4, 3, 6, {depth}, features={features}, readout_std=0.2, generator=generator, dtype=torch.float64)

plain, compiled, x = build(), build(), draw(5, 4, seed=99)
train(plain, plain)
train(compiled, torch.compile(compiled, backend="{backend}"))
difference = float((compiled(x) - plain(x)).abs().max().detach() / plain(x).abs().max().detach())
assert difference < 1e-10, difference
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "backend", "depth"),
    [
        ("mupi.Hermite(2)", "inductor", 2),
        ("mupi.RandomFeatures(16)", "inductor", 2),
        # Directions must be renewed there too: a subspace that stays random is a bad approximation, silently.
        ("mupi.Hermite(2, subspace=3)", "eager", 2),
        # A graph would keep the list of atoms of the time of compilation.
        ("mupi.Atoms()", "eager", 2),
        # More layers than variants of one piece of code that a compiler makes; the others it runs as they are.
        ("mupi.Atoms()", "eager", 12),
    ],
)
def test_training_compiled_is_training(features, backend, depth):
    script = SCRIPT.format(features=features, backend=backend, depth=depth)
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


ARCHITECTURES = """
import torch, mupi
from mupi.architecture import zoo

text, images = torch.arange(12).reshape(2, 6) % 5, torch.linspace(-1, 1, 256).reshape(2, 2, 8, 8)
for network, x in [(zoo.gpt(5, 6, 1, 2, gated=True), text), (zoo.resnet((2, 8, 8), 3), images)]:
    net = network.pi(4, mupi.Hermite(2), readout_std=0.5).eval()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert (compiled(x) - net(x)).abs().max() <= 1e-5 * net(x).abs().max()
"""


@pytest.mark.slow
def test_in_evaluation_mode_a_description_is_one_graph():
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", ARCHITECTURES], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
