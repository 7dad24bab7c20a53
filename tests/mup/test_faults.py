"""Faults that no initial value can mend: found, with the line, and gone once the line is changed as is said."""

import warnings

import pytest
import torch
from networks import GPT, TOKENS
from torch import nn

import mupi
from mupi.architecture import Attention, Dense, Description, Draft, Embed, Input, Scale, Width
from mupi.architecture.zoo import perceptron
from mupi.mup.faults import faults

N = Width()


def tied(*, before=0.0, behind=0.0, bias=False):
    """An embedding that is read out by its own weight."""
    draft = Draft()
    x = Embed(11, N)(draft.write(Input((6,), integers=True), ()), name="tokens")
    x = Scale(16.0, before)(x) if before else x
    x = x.then(Dense(11, bias=bias), name="head", weights="tokens", source="model.py:7")
    x = Scale(16.0, behind)(x) if behind else x
    return Description(draft.finish(x))


def attending(exponent, factor=1.0):
    """Attention of four heads on vectors."""
    draft = Draft()
    x = Dense(N)(draft.write(Input((6, 8)), ()))
    q, k, v = (Dense(N)(x) for _ in range(3))
    return Description(
        draft.finish(Dense(3)(Attention(4, factor=factor, exponent=exponent)(q, k, v, name="attention")))
    )


def kinds(net, base=16):
    return [fault.kind for fault in faults(net, base)]


def test_what_is_in_mup_has_no_fault():
    assert kinds(perceptron(8, 3, 2)) == kinds(attending(-1.0)) == []
    assert kinds(tied(behind=-1.0)) == kinds(tied(before=-1.0)) == []


def test_a_tied_embedding_wants_its_logits_multiplied():
    (fault,) = faults(tied(), 16)
    assert fault.kind == "tied" and fault.where == "model.py:7 (head)" and "by 16 / n" in fault.remedy
    assert kinds(tied(before=-0.5)) == ["tied", "multiplier"]
    assert kinds(tied(behind=-1.0, bias=True)) == ["tied"] and kinds(tied(before=-1.0, bias=True)) == []


@pytest.mark.parametrize(("exponent", "factor", "scale"), [(-0.5, 1.0, 2), (0.0, 0.25, 1), (-0.5, 3.0, 6)])
def test_attention_wants_logits_divided_by_the_size_of_a_head(exponent, factor, scale):
    (fault,) = faults(attending(exponent, factor), 16)
    # At the base a head has 4 coordinates: factor·4^exponent = scale/4.
    assert fault.kind == "attention" and f"scale={scale} / q.shape[-1]" in fault.remedy
    assert factor * 4**exponent == scale / 4


def test_a_multiplier_of_the_width_wants_its_value_at_the_base():
    draft = Draft()
    x = Dense(N)(draft.write(Input((8,)), ()))
    x = x.then(Scale(1.0, 0.5), source="model.py:5")
    (fault,) = faults(Description(draft.finish(Dense(3)(x))), 16)
    assert fault.kind == "multiplier" and fault.where.startswith("model.py:5") and "the number 4 " in fault.remedy


def test_faults_of_a_module_are_said_once_with_their_lines_and_gone_when_they_are_mended():
    with pytest.warns(UserWarning, match="no initial value can mend") as record:
        p = mupi.parametrize(lambda n: GPT(n, 1, c=None, tied=True, scale=lambda n: n**0.5), 64, 16, TOKENS)
    assert len(record) == 1
    assert sorted(fault.kind for fault in p.faults) == ["attention", "multiplier", "tied"]
    assert all(fault.where.startswith("networks.py:") for fault in p.faults)
    assert all(fault.where.split()[0] in p.explain() for fault in p.faults)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert p.at(32).faults == p.faults  # not said again


@pytest.mark.slow
def test_mended_as_is_said_nothing_changes_at_the_base_and_the_faults_are_gone():
    def faulty(n):
        torch.manual_seed(0)
        return GPT(n, 1, c=None, tied=True, scale=lambda n: n**0.5)

    def mended(n):
        torch.manual_seed(0)
        return GPT(n, 1, c=2.0, tied=True, scale=4.0, times=lambda n: 16 / n)

    i = torch.randint(11, (2, 6))
    torch.testing.assert_close(mended(16)(i), faulty(16)(i))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = mupi.parametrize(mended, 64, 16, TOKENS)
    assert p.faults == () and "No fault was found" in p.explain()
    assert {row.name: row.role for row in p.plan}["tokens.weight"] == "input"


def attending_by_torch(heads):
    return lambda n: nn.Sequential(nn.Linear(8, n), nn.TransformerEncoderLayer(n, heads(n), 2 * n), nn.Linear(n, 3))


def test_without_a_graph_kinds_of_modules_show_what_they_can():
    with pytest.warns(UserWarning, match=r"1.self_attn: nn.MultiheadAttention .* scale=2 / q.shape"):
        mupi.parametrize(attending_by_torch(lambda n: 4), 32, 16)
    with pytest.warns(UserWarning, match="tokens.weight: an embedding that is read out too.* by 16 / n"):
        p = mupi.parametrize(lambda n: GPT(n, 1, tied=True), 32, 16)
    assert {row.name: row.role for row in p.plan}["tokens.weight"] == "input"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mupi.parametrize(attending_by_torch(lambda n: n // 4), 32, 16)  # heads of one size
