"""`mupi check`: a user's own file in, verdict, JSON and figure out."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from mupi.cli import main

MODEL = """
from torch import nn


def perceptron(width):
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 1, bias=False))


def language(width):
    return nn.Sequential(nn.Embedding(5, width), nn.LayerNorm(width), nn.Linear(width, 5, bias=False))


def pair(width):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = nn.Linear(4, width)

        def forward(self, x):
            return self.read(x), x

    return Pair()
"""


@pytest.fixture(autouse=True)
def with_a_model(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(MODEL)


SMALL = ["--base-width", "8", "--widths", "8", "16", "32", "--seeds", "2", "--steps", "2"]


def test_a_users_file_is_checked(capsys):
    np.savez("data.npz", x=np.random.default_rng(0).normal(size=(12, 4)), y=np.linspace(-1, 1, 12))
    assert main(["check", "model.py:perceptron", "--data", "data.npz", "--lr", "0.01", *SMALL]) == 0
    said = capsys.readouterr().out
    assert "learns features at every layer" in said and said.rstrip().endswith("passed")
    read = json.loads(Path("runs/check/check.json").read_text())
    assert read["passed"] and read["config"]["factory"] == "model.py:perceptron"
    assert Path("runs/check/check.png").stat().st_size > 0


def test_as_it_is_a_module_has_one_rate_for_all(capsys):
    options = ["--shape", "6", "--tokens", "5", "--as-it-is", "--out", "here"]
    assert main(["check", "model.py:language", *options, *SMALL]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith("not passed") and "its 1/n is forgotten" in said
    kinds = {(c["kind"], c["part"]) for c in json.loads(Path("here/check.json").read_text())["causes"]}
    assert kinds == {("start", "2.weight"), ("rate", "2.weight")}


@pytest.mark.parametrize(
    "line, refusal",
    [
        ("model.py:perceptron", "given --shape, the axes of one input, or --data; got neither"),
        ("model.py:nothing --shape 4", "given a function of model.py; got 'nothing'"),
        ("none.py:perceptron --shape 4", "given a file that exists; got `none.py`"),
        ("no.such.module:f --shape 4", "given a module that can be imported; got `no.such.module`"),
        ("perceptron --shape 4", "given MODULE:FUNCTION or FILE.py:FUNCTION; got 'perceptron'"),
        ("model.py:pair --shape 4", r"a module that returns one tensor \(batch, ..., outputs\); got tuple"),
        ("model.py:perceptron --shape 4 --optimizer Adma", r"`--optimizer` must be one of ASGD, .*; got 'Adma'"),
        ("model.py:perceptron --shape 4 --widths 8", "`--widths` must be at least two different widths; got 8"),
        ("model.py:perceptron --data none.npz", "`--data` must be a file that exists; got `none.npz`"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_a_line(line, refusal, capsys):
    assert main(["check", *line.split()]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and re.search(refusal, said), said
