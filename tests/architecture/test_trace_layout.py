"""What views and transposes do to axes, held against PyTorch's own, number by number."""

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mupi.architecture.trace.extents import Experiment, Scaling, neat
from mupi.architecture.trace.layout import Unreadable, narrowed, size_of, viewed, whole

BATCH, ROWS, COLUMNS, WIDTH = 0, -3, -2, -1
SIZES = {BATCH: 3, ROWS: 2, COLUMNS: 4, WIDTH: 12}


def start():
    """A value and its axes."""
    x = torch.arange(prod(SIZES.values())).reshape(*SIZES.values())
    return x, tuple(whole(name, (size, size)) for name, size in SIZES.items())


def numbers(axes, sizes=SIZES, value=None):
    """The tensor that axes say, from the value's numbers."""
    value = start()[0] if value is None else value
    shape = [size_of(axis)[0] for axis in axes]
    index = dict.fromkeys(sizes, torch.zeros([], dtype=torch.long))
    for d, axis in enumerate(axes):
        rest = torch.arange(shape[d]).reshape([-1 if i == d else 1 for i in range(len(shape))])
        for atom in reversed(axis):
            index[atom.axis] = index[atom.axis] + rest % atom.size[0] * atom.inner[0]
            rest = rest // atom.size[0]
    return value[tuple(i.expand(shape) for i in index.values())]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_axes_follow_any_views_and_permutations(data):
    x, axes = start()
    for _ in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()):
            order = data.draw(st.permutations(range(x.ndim)))
            x, axes = x.permute(order), tuple(axes[i] for i in order)
        else:
            shape = list(x.shape)
            at = data.draw(st.integers(0, len(shape) - 1))
            divisor = data.draw(st.sampled_from([k for k in range(1, shape[at] + 1) if shape[at] % k == 0]))
            shape[at : at + 1] = [divisor, shape[at] // divisor]
            if data.draw(st.booleans()):
                at = data.draw(st.integers(0, len(shape) - 2))
                shape[at : at + 2] = [shape[at] * shape[at + 1]]
            try:
                axes = viewed(axes, [(size, size) for size in shape])
            except Unreadable:
                continue
            x = x.reshape(shape)
        assert torch.equal(numbers(axes), x)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([(3, 4), (2, 2, 3), (4, 3), (2, 6)]), st.data())
def test_a_part_of_the_width_has_the_axes_of_the_smaller_width(factors, data):
    x, axes = start()
    shape = [3, 2, 4, *factors]
    x, axes = x.reshape(shape), viewed(axes, [(size, size) for size in shape])
    at = data.draw(st.integers(3, len(shape) - 1))
    first = data.draw(st.integers(0, shape[at] - 1))
    last = data.draw(st.integers(first + 1, shape[at]))
    x = x.narrow(at, first, last - first)
    part, _ = narrowed(axes, at, (first, first), (last, last), keep=True)
    kept = x.reshape(3, 2, 4, -1)  # the value of which only the part is computed
    assert torch.equal(numbers(part, SIZES | {WIDTH: kept.shape[-1]}, kept), x)


def test_a_view_that_no_axis_explains_is_refused():
    _, axes = start()
    with pytest.raises(Unreadable, match="no common divisor"):
        viewed(axes[:2], [(2, 2), (3, 3)])
    with pytest.raises(Unreadable, match="leaves axes out"):
        viewed(axes, [(3, 3), (2, 2)])


def test_sizes_and_numbers_are_read_from_two_widths():
    experiment = Experiment((6720, 13440), (11, 13))
    assert experiment.size((7, 7)) == 7 and str(experiment.size((4 * 6720, 4 * 13440))) == "4n"
    assert str(experiment.size((1680, 3360))) == "n/4"
    assert experiment.size((6721, 13441)) is None and experiment.size((11, 13)) is None
    assert experiment.scaling(6720**-0.5, 13440**-0.5) == Scaling(1.0, -0.5)
    assert experiment.scaling(3.0, 3.0) == Scaling(3.0) and experiment.scaling(12 / 6720, 12 / 13440) == Scaling(
        12.0, -1.0
    )
    assert experiment.scaling(6721.0, 13441.0) is None and experiment.scaling(11.0, 13.0) is None
    assert experiment.scaling(1.0, -1.0) is None and experiment.scaling(0.0, 0.0) == Scaling(0.0)
    singles = (float(torch.tensor(width**-0.5, dtype=torch.float32)) for width in (6720, 13440))
    assert experiment.scaling(*singles, 1e-6) == Scaling(1.0, -0.5)
    assert neat(0.1 + 0.2) == 0.3 and neat(1 / 3) == 1 / 3
