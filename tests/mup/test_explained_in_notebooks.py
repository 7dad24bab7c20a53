"""In a notebook, where rich prints by itself, `explain` still returns all of its text."""

import rich.console
import torch
from torch import nn

import mupi


def make_model(width):
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))


def test_the_table_is_in_the_text(monkeypatch, capsys):
    p = mupi.parametrize(make_model, width=64, base_width=16, example=torch.zeros(1, 8))
    in_a_terminal = p.explain()
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    assert p.explain() == in_a_terminal
    assert "readout" in in_a_terminal and not capsys.readouterr().out
