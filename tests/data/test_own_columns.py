"""Columns of a table as inputs: against scikit-learn's pipeline, and as JSON has them."""

import json

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mupi.data.dataset import Pixels
from mupi.data.own.columns import Category, fit_columns
from mupi.data.own.meaning import Images, Meaning
from mupi.data.own.raw import RawTable
from mupi.data.own.targets import Classes
from mupi.data.targets import Numbers


def table(seed: int, offset: float) -> RawTable:
    """Numbers far from 0, words, and missing entries of both."""
    draw = np.random.default_rng(seed)
    numbers = offset + draw.standard_normal(60)
    numbers[draw.random(60) < 0.2] = np.nan
    words = draw.choice(["a", "b", "c", None], 60)
    written = np.array([None if v != v else repr(v) for v in numbers.tolist()], object)
    return RawTable({"n": numbers, "w": words.astype(object), "text": written, "same": np.full(60, 3.0)})


@given(st.integers(0, 1000), st.sampled_from([0.0, -5.0, 1.7e9]))
@settings(max_examples=5, deadline=None)
def test_inputs_are_those_of_scikit_learns_pipeline(seed, offset):
    data, rows = table(seed, offset), np.arange(40)
    columns = fit_columns(data, "here", rows)
    found = columns.module()(torch.from_numpy(columns.coded(data, "here", "data").codes))
    n, w = data.columns["n"], np.array([word or "none" for word in data.columns["w"]], object)
    X = np.stack([n.astype(object), w, n.astype(object), data.columns["same"].astype(object)], 1)
    known = sorted(set(w[:40]) - {"none"})
    one_hot = OneHotEncoder(categories=[known], handle_unknown="ignore", sparse_output=False)
    parts = make_column_transformer((SimpleImputer(), [0]), (one_hot, [1]), (SimpleImputer(), [2, 3]))
    pipeline = make_pipeline(parts, StandardScaler()).fit(X[:40])
    expected = torch.from_numpy(np.asarray(pipeline.transform(X))).float()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
    assert columns.inputs == ["n", *["w"] * len(known), "text", "same"]


def test_words_that_training_had_not_are_told_and_are_none():
    data = table(0, 0.0)
    columns = fit_columns(data, "here", np.arange(60))
    new = RawTable({**data.columns, "w": np.array(["a", None, *["zebra"] * 58], object)})
    coded = columns.coded(new, "there", "data")
    assert coded.unknown == {"w": ["zebra"]} and coded.missing["w"] == 1
    x = columns.module()(torch.from_numpy(coded.codes))
    assert torch.equal(x[1, 1:4], x[2, 1:4]) and not torch.equal(x[0, 1:4], x[1, 1:4])
    assert isinstance(columns.columns[1], Category) and columns.columns[1].words == ("a", "b", "c")


def test_a_meaning_is_what_its_file_says():
    columns = fit_columns(table(1, 2.0), "here", np.arange(60))
    images = Images((3, 2, 2), Pixels((1.0, 2.0, 3.0), (1.0, 1.0, 2.0), 255))
    for inputs in (columns, images):
        for targets in (Classes(("no", "yes")), Numbers(1.5, 2.5)):
            meaning = Meaning("here", inputs, "y", targets)
            assert Meaning.from_plain(json.loads(json.dumps(meaning.as_plain()))) == meaning
            assert meaning.description.outputs == (2 if isinstance(targets, Classes) else 1)
