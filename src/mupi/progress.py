"""The one display of progress: what is done, how much of it, and how long the rest takes; on terminals only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Status(ProgressColumn):
    """What a task says under ``status``, if anything."""

    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("status", "")))


def progress_display(console: Console | None = None) -> Progress:
    """A display, to be entered, to which tasks are added; it goes away at the end.

    Args:
        console: Where; None for standard output. One that is no terminal shows nothing.
    """
    console = console or Console()
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(), _Status(),
        TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=console, transient=True, expand=True, disable=not console.is_terminal)


@contextmanager
def counted(total: int, console: Console | None) -> Iterator[Callable[..., None]]:
    """A bar of so many pieces of work; what it yields is told what each is, before it begins, and which of all it is.

    Args:
        total: How many steps there will be.
        console: Where; None for nowhere.
    """
    if console is None:
        yield lambda description, number=None: None
        return
    with progress_display(console) as progress:
        task = progress.add_task("", total=total)
        begun = iter(range(total + 1))

        def begin(description: str, number: int | None = None) -> None:
            progress.update(task, completed=next(begun) if number is None else number, description=description)

        yield begin
