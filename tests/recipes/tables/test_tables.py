"""`mupi recipe tables`: ranks by hand, every method on a small table, and going on."""

import json
from pathlib import Path

import numpy as np
import pytest

from mupi.cli import main
from mupi.recipes.tables.scores import Score, compare


def test_ranks_are_means_over_tables_that_all_have_finished():
    accuracy = {("a", "x"): 0.9, ("a", "y"): 0.8, ("a", "z"): 0.8, ("b", "x"): 0.5, ("b", "y"): 0.7, ("b", "z"): 0.6}
    scores = [Score(t, m, 0, fold, value, 1.0) for (t, m), value in accuracy.items() for fold in (0, 1)]
    found = compare([*scores, Score("c", "x", 0, 0, 1.0, 1.0)])
    assert found.tables == ("a", "b") and found.methods == ("x", "y", "z")
    assert found.ranks.tolist() == [[1, 2.5, 2.5], [3, 1, 2]]
    assert found.seconds.tolist() == [4, 4, 4]
    # Demšar (2006), table 5: q for three methods is 2.343.
    assert found.critical_difference == pytest.approx(2.343 * np.sqrt(3 * 4 / 12), abs=2e-3)


def test_scores_are_kept_and_a_second_call_computes_what_is_missing(tmp_path):
    (tmp_path / "keel").mkdir()
    random = np.random.RandomState(0)
    rows = [f"{a:.3f},{'red' if b > 0 else 'blue'},{'yes' if a > 0 else 'no'}" for a, b in random.randn(60, 2)]
    for name in ("one", "two"):
        (tmp_path / "keel" / f"{name}.dat").write_text("\n".join(rows))
    call = f"tables --data-dir {tmp_path} --folds 2 --repeats 1 --threads 1 --models ntk nngp svm"
    assert main(call.split()) == 0
    folder = Path("runs/tables")
    first = (folder / "scores.jsonl").read_text()
    found = json.loads((folder / "tables.json").read_text())
    assert min(found["accuracy"]["one"]) > 0.9 and (folder / "tables.png").exists()
    assert main(call.replace("--repeats 1", "--repeats 2").split()) == 0
    lines = (folder / "scores.jsonl").read_text().splitlines()
    assert set(first.splitlines()[:-1]) <= set(lines) and sum('"svm"' in line for line in lines) == 8


def test_one_method_is_no_comparison(capsys):
    assert main(["tables", "--models", "ntk"]) == 2
    assert "`--models` must be at least three" in capsys.readouterr().err


@pytest.mark.slow
def test_numbers_are_compared_by_their_r2(tmp_path, capsys):
    call = "tables --task regression --names friedman1 diabetes --folds 2 --repeats 1 --models ntk nngp svm"
    assert main([*call.split(), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "tables.json").read_text())
    assert "mean R²" in said and f"{np.mean([row[0] for row in found['accuracy'].values()]):.4f}" in said
    assert min(found["accuracy"]["friedman1"]) > 0.7 and 0.3 < min(found["accuracy"]["diabetes"]) < 0.6
    assert main([*call.replace("diabetes", "iris").split(), "--out", str(tmp_path)]) == 2
    assert "no table `iris` of numbers" in capsys.readouterr().err
