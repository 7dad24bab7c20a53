"""What notebooks show: formulas in LaTeX, tables without scripts, text that is escaped."""

from html.parser import HTMLParser

import pytest
import torch
from matplotlib.mathtext import MathTextParser

from mupi.programs import Program, apply, mean, outer
from mupi.programs.demos import DEMOS
from mupi.programs.notebook import latex, symbol


class Tags(HTMLParser):
    """What is opened and closed, and the text of cells."""

    def __init__(self):
        super().__init__()
        self.open, self.counts, self.cells = [], {}, []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells[-1] += data


def read(html):
    tags = Tags()
    tags.feed(html)
    assert not tags.open and set(tags.counts) == {"table", "thead", "tbody", "tr", "th", "td"}
    return tags


def test_lines_are_formulas():
    p = Program()
    W, x = p.matrix("W2", 1.5), p.vector("x")
    y = torch.tanh(W.T @ x)
    V = 0.5 * (W + outer(y, x))
    s = mean(V @ y, x)
    apply(lambda v, a: v * a, y, s[0, 0], name="scaled_by")
    assert [latex(line) for line in p.lines] == [
        r"W_{2} = \mathcal{N}(0, 1.5^2/n)", r"x = \text{initial vector}", r"v_{3} = W_{2}^\top x",
        r"v_{4} = \operatorname{tanh}(v_{3})", r"W_{5} = W_{2} + \tfrac{1}{n} v_{4} x^\top", r"W_{6} = 0.5 \, W_{5}",
        r"v_{7} = W_{6} v_{4}", r"s_{8} = \tfrac{1}{n} v_{7}^\top x", r"s_{9} = s_{8}[0, 0]",
        r"v_{10} = \operatorname{scaled\_by}(v_{4}, s_{9})",
    ]  # fmt: skip
    assert y._repr_latex_() == "$v_{4} = \\operatorname{tanh}(v_{3})$"


@pytest.mark.parametrize("name", DEMOS)
def test_every_demo_is_a_table_of_formulas_that_can_be_set(name):
    p = Program()
    DEMOS[name].write(p)
    tags = read(p._repr_html_())
    assert tags.counts["tr"] == len(p.lines) + 1
    formulas = [cell for cell in tags.cells if cell.startswith("$")]
    assert len(formulas) == len(p.lines)
    for formula in formulas:
        # Of what matplotlib does not set, \tfrac and \text are the same as others that it does.
        settable = formula.replace(r"\tfrac", r"\frac").replace(r"\text{", r"\mathrm{").replace(r"\textstyle", "")
        MathTextParser("path").parse(settable)


def test_explained_programs_are_text_and_a_table_with_the_same_numbers():
    p = Program()
    W, x = p.matrix("W"), p.vector("x")
    mean(x, W.T @ torch.tanh(W @ x))
    explained = p.explain()
    assert explained.startswith("  1  W = matrix of N(0, 1²/n)") and len(explained.splitlines()) == 9
    tags = read(explained._repr_html_())
    assert tags.counts["td"] == 4 * len(p.lines) and "→ 0.6057" in tags.cells
    assert any("Ż = 0.6057 x" in cell for cell in tags.cells)


def test_names_are_escaped():
    p = Program()
    x = p.vector("<script>alert('$x_1$')</script>")
    assert "<script" not in p._repr_html_() and "<script" not in p.explain()._repr_html_()
    assert symbol("a_b$") == r"\mathrm{a\_b\$}" and symbol("x'") == "x'" and symbol("φ") == "φ"
    assert x._repr_latex_().count("$") == 4
