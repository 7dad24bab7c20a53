"""What `import mupi` costs and needs, each in a process of its own."""

import subprocess
import sys

import pytest

# Each takes .1 s or more to import; torch imports none of them either.
LATER = {
    "torch._dynamo", "torch._inductor", "sympy", "scipy.integrate", "scipy.optimize", "scipy.sparse", "scipy.special",
    "scipy.stats",
    "matplotlib", "sklearn", "pandas", "PIL", "tyro", "pooch", "requests", "typeguard", "safetensors",
    "gpytorch", "linear_operator", "botorch", "plotly", "pyarrow", "datasets", "onnx", "onnxscript",
}  # fmt: skip

WITHOUT_THE_EXTRAS = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""

EXTRAS = (
    "tyro",
    "matplotlib",
    "sklearn",
    "PIL",
    "pooch",
    "safetensors",
    "beartype",
    "hypothesis",
    "gensim",
    "gpytorch",
    "plotly",
    "pyarrow",
    "datasets",
    "onnx",
    "onnxscript",
)


def python(code: str) -> str:
    """What it prints."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_it_imports_nothing_that_takes_long_beside_torch():
    imported = set(python("import sys, mupi; print(*sys.modules)").split())
    assert "torch" in imported
    assert not imported & LATER


def test_no_pass_imports_a_compiler():  # torch's optimisers and torch.func do, by themselves
    passes = """
import sys, torch, mupi
for features in (mupi.Atoms(), mupi.Hermite(2, subspace=2), mupi.RandomFeatures(8)):
    net = mupi.PiMLP(4, 3, 6, 2, features=features)
    net(torch.ones(2, 4)).square().sum().backward()
assert "torch._dynamo" not in sys.modules
"""
    python(passes)


def test_the_core_dependencies_are_enough():
    everything = "import mupi, mupi.data; print(all(hasattr(mupi, name) for name in mupi.__all__))"
    assert python(WITHOUT_THE_EXTRAS.format(absent=EXTRAS) + everything) == "True\n"


@pytest.mark.parametrize(
    ("use", "needs"),
    [
        ("import mupi.figures", "a figure needs matplotlib: pip install 'mupi[cli]'"),
        ("import mupi; mupi.GPyTorchKernel", "mupi.GPyTorchKernel needs gpytorch: pip install 'mupi[gpytorch]'"),
        (
            "from mupi.data import load; load('digits')",
            "digits needs scikit-learn: pip install 'mupi[cli]'",
        ),
    ],
)
def test_what_needs_an_extra_says_which(use, needs):
    attempt = f"""
try:
    {use}
except ModuleNotFoundError as error:
    print(error)
"""
    assert python(WITHOUT_THE_EXTRAS.format(absent=EXTRAS) + attempt) == f"{needs}\n"
