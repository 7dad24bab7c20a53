import pytest
import torch

from assertions import assert_equal
from cases import seeded
from mupi.data.episodes import EpisodeSampler
from mupi.data.omniglot import Characters


def numbered(classes: int, drawings: int) -> Characters:
    """Each image holds the number of its class and of its drawing."""
    numbers = torch.stack(torch.meshgrid(torch.arange(classes), torch.arange(drawings), indexing="ij"), -1)
    return Characters(numbers.to(torch.uint8), tuple(map(str, range(classes))))


def drawn(classes, drawings, ways, shots, queries, tasks=400, seed=0):
    """Class and drawing of each support and query image."""
    episodes = EpisodeSampler(numbered(classes, drawings), ways, shots, queries).draw(tasks, seeded(seed))
    support, query = ((255 * x).round().long() for x in (episodes.support, episodes.query))
    return episodes, support.view(tasks, ways, shots, 2), query.view(tasks, ways, queries, 2)


@pytest.mark.parametrize("ways, shots, queries", [(5, 1, 1), (2, 3, 2), (7, 1, 3), (1, 2, 2)])
def test_a_task_has_distinct_classes_and_distinct_drawings_of_each(ways, shots, queries):
    episodes, support, query = drawn(7, 5, ways, shots, queries)
    both = torch.cat([support, query], 2)
    classes = both[..., 0]
    assert (classes == classes[:, :, :1]).all(), "support and query images of a label are of one class"
    assert all(len(set(task.tolist())) == ways for task in classes[:, :, 0])
    assert all(len(set(row.tolist())) == shots + queries for row in both[..., 1].flatten(0, 1))
    assert_equal(episodes.support_y, torch.arange(ways).repeat_interleave(shots))
    assert_equal(episodes.query_y, torch.arange(ways).repeat_interleave(queries))
    assert episodes.ways == ways


def test_all_ordered_choices_are_equally_likely():
    tasks = 24_000
    _, support, _ = drawn(4, 3, 3, 1, 1, tasks)
    orders, counts = support[:, :, 0, 0].unique(dim=0, return_counts=True)
    assert len(orders) == 4 * 3 * 2
    expected = tasks / 24
    assert ((counts - expected) ** 2 / expected).sum() < 49.7  # chi² with 23 degrees of freedom: p = 0.001


def test_all_classes_and_all_drawings_can_be_used_up():
    _, support, query = drawn(5, 4, 5, 3, 1, tasks=50)
    assert (support[:, :, 0, 0].sort(1).values == torch.arange(5)).all()
    drawings = torch.cat([support, query], 2)[..., 1]
    assert (drawings.sort(2).values == torch.arange(4)).all()


def test_the_generator_decides_the_tasks():
    sampler = EpisodeSampler(numbered(30, 20))
    one, same, other = (sampler.draw(8, seeded(seed)) for seed in (1, 1, 2))
    assert_equal(one.support, same.support)
    assert_equal(one.query, same.query)
    assert not torch.equal(one.support, other.support)


@pytest.mark.parametrize(
    "sizes, message",
    [
        (dict(ways=8), "`ways` must be at most 7, the number of classes; got 8"),
        (dict(shots=3, queries=3), r"`shots \+ queries` must be at most 5, the number of drawings of a class; got 6"),
        (dict(ways=0), "`ways` must be an integer ≥ 1; got 0"),
    ],
)
def test_more_than_there_is_and_less_than_one_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(numbered(7, 5), **sizes)
