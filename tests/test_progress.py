"""Progress is shown on terminals only, and leaves nothing."""

import io

import pytest
from rich.console import Console

from mupi.progress import counted, progress_display


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def said(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def test_each_piece_of_work_is_named_before_it_begins_and_counted_after():
    to = console(terminal=True)
    with counted(2, to) as begin:
        for i in range(2):
            begin(f"network {i}")
            to.file.flush()
    # What the display was when it ended: the second is at work, the first is done.
    assert "network 1" in said(to) and "1/2" in said(to)


def test_tasks_may_have_a_status_or_none():
    with progress_display(to := console(terminal=True)) as progress:
        progress.add_task("plain", total=3)
        progress.add_task("epoch", total=3, status="loss 0.5")
    assert "plain" in said(to) and "loss 0.5" in said(to)


@pytest.mark.parametrize("to", [None, console(terminal=False)])
def test_elsewhere_nothing_is_shown_and_lines_are_printed_as_they_are(to, capsys):
    with counted(1, to) as begin:
        begin("network")
    with progress_display(to) as progress:
        progress.console.print("epoch 1")
    assert (capsys.readouterr().out if to is None else said(to)) == "epoch 1\n"
