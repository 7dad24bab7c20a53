import pytest
import torch

from mupi.optim import SGD
from mupi.training.schedule import DropAndAnneal


def optimizer(clip: float | None = 0.4) -> SGD:
    w = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    return SGD([dict(params=w[:1], lr=1.0), dict(params=w[1:], lr=4.0)], clip=clip)


def rates(schedule: DropAndAnneal, epochs: int) -> list[tuple[float, float]]:
    """Learning rate and clipping norm of the last group in each epoch."""
    out = []
    for _ in range(epochs):
        group = schedule.optimizer.param_groups[-1]
        out.append((group["lr"], group["clip"]))
        schedule.optimizer.step()
        schedule.step()
    return out


def test_rate_and_clipping_norm_drop_once_by_the_same_factor():
    full, dropped = (4.0, 0.4), (pytest.approx(1.0), pytest.approx(0.1))
    assert rates(DropAndAnneal(optimizer(), 3, 0.25), 5) == [full] * 3 + [dropped] * 2


def test_without_an_epoch_nothing_drops():
    assert rates(DropAndAnneal(optimizer(), None, 0.25), 3) == [(4.0, 0.4)] * 3


def test_without_clipping_there_is_no_norm_to_drop():
    assert rates(DropAndAnneal(optimizer(clip=None), 1, 0.5), 2) == [(4.0, None), (2.0, None)]


def test_a_schedule_that_is_loaded_goes_on_where_it_was():
    whole = rates(DropAndAnneal(optimizer(), 3, 0.25), 5)
    first = DropAndAnneal(optimizer(), 3, 0.25)
    part = rates(first, 2)
    second = DropAndAnneal(optimizer(), 3, 0.25)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert part + rates(second, 3) == whole


def test_in_the_last_epochs_the_rate_alone_falls_on_a_line_to_zero():
    schedule = DropAndAnneal(optimizer(), 2, 0.5, epochs=6, anneal=4)
    assert rates(schedule, 6) == [
        (4.0, 0.4),
        (4.0, 0.4),
        *((pytest.approx(2.0 * line), pytest.approx(0.2)) for line in (7 / 8, 5 / 8, 3 / 8, 1 / 8)),
    ]


def test_annealing_may_take_all_epochs():
    line = DropAndAnneal(optimizer(), None, 1.0, epochs=2, anneal=2)
    assert rates(line, 2) == [(pytest.approx(3.0), 0.4), (pytest.approx(1.0), 0.4)]
