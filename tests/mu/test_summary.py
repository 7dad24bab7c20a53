"""What a limit in training shows of itself: a line, and in notebooks tables that hold its own numbers."""

import re

import pytest

import mupi
from cases import randn, seeded
from mupi import MuLimit, Roles
from mupi.architecture import Dense, Normalize, Width, chain, describe, residual

n, TANH = Width(), mupi.Tanh()
NET = describe((3,), chain(Dense(n), residual(Normalize(), TANH, Dense(n)), TANH, Dense(4 * n), TANH, Dense(2)))
X, Y = randn(3, 3), randn(3, 2, seed=1)


def tables(limit):
    """Rows of cells of each table."""
    html = limit._repr_html_()
    assert html.count("<td") == html.count("</td>") and "<script" not in html
    return [
        [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", part)]
        for part in re.findall(r"<table>(.*?)</table>", html)
    ]


def test_a_limit_shows_its_steps_and_the_ranks_of_its_matrices():
    limit = MuLimit(NET, lr=0.2, samples=200, generator=seeded())
    assert repr(limit) == "MuLimit(10 operations, μP, SGD(lr=0.2), 4 × 200 samples): not trained"
    assert tables(limit) == []
    limit.fit(X, Y, 12)
    first, last, error = limit.losses[0], limit.losses[-1], limit.loss_errors[-1]
    assert repr(limit).endswith(f": 12 steps, loss {first:.3g} → {last:.3g} ± {error:.1g} before the last")
    steps, matrices = tables(limit)
    assert [row[0] for row in steps] == ["step", "0", "1", "2", "4", "8", "11"]
    assert steps[-1][1:3] == [f"{last:.3g}", f"{error:.3g}"]
    assert steps[3][3] == f"{limit.outputs[2].square().mean().sqrt():.3g}"
    assert [row[0] for row in matrices[1:]] == ["dense_2.weight", "dense_3.weight"]
    assert [(int(row[1]), int(row[3])) for row in matrices[1:]] == limit.ranks
    limit.step(X, Y)
    assert ": 13 steps, loss" in repr(limit)


@pytest.mark.parametrize("centered", [True, False])
def test_a_limit_in_the_kernel_regime_has_no_ranks(centered):
    limit = MuLimit(
        1, mupi.Erf(), Roles.ntk(), centered=centered, momentum=0.5, samples=50, replicates=2, generator=seeded()
    )
    limit.fit(X, Y, 1)
    start = "centered" if centered else "from a random f_0"
    assert repr(limit).startswith(f"MuLimit(perceptron of depth 1, kernel regime, {start}, SGD(lr=1.0, momentum=0.5), ")
    assert [len(table) for table in tables(limit)] == [2]


def test_names_are_escaped():
    arch = describe((3,), chain(Dense(n), lambda x: Dense(n)(x, name="<b>&"), TANH, Dense(2)))
    limit = MuLimit(arch, samples=50, replicates=2, generator=seeded()).fit(X, Y, 1)
    assert tables(limit)[1][1][0] == "&lt;b&gt;&amp;.weight"
