"""The progress bar of a training run, and one line for each finished epoch."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from mupi.progress import progress_display


class EpochProgress:
    """Shows the steps of the epoch in progress with loss and, where there are such, accuracy, memory and atoms.

    Args:
        progress: The display that it is shown in.
        epochs: How many epochs there will be.
        title: What is trained; with a title finished epochs are not printed.
    """

    def __init__(self, progress: Progress, epochs: int, title: str | None = None):
        self.progress = progress
        self.epochs = epochs
        self.title = title
        self.task = progress.add_task("")

    def begin(self, epoch: int, done: int, steps: int) -> None:
        """Start the bar of an epoch, of which some steps may be done."""
        label = f"epoch {epoch}/{self.epochs}"
        label = label if self.title is None else f"{self.title}, {label}"
        self.progress.reset(self.task, total=steps, completed=done, description=label, status="")

    def advance(self, steps: int, loss: float, accuracy: float | None, megabytes: float | None, atoms: int) -> None:
        """So many steps further, with means over the epoch so far."""
        status = f"loss {loss:.4f}" + ("" if accuracy is None else f" accuracy {accuracy:.2%}")
        status += "" if megabytes is None else f" {megabytes:,.0f} MB"
        self.show(steps, status + (f" {atoms:,} atoms" if atoms else ""))

    def show(self, steps: int, status: str) -> None:
        """So many steps further, with what is to be said of them."""
        self.progress.update(self.task, advance=steps, status=status)

    def finish(self, epoch: int, line: str) -> None:
        """Print an epoch and what is to be said of it."""
        if self.title is None:
            number = f"epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}"
            self.progress.console.print(f"{number}  {line}", highlight=False, soft_wrap=True)


@contextmanager
def epoch_progress(epochs: int, title: str | None = None, console: Console | None = None) -> Iterator[EpochProgress]:
    """Show an `EpochProgress` inside the block; the bar goes away after it, the printed lines stay."""
    with progress_display(console) as progress:
        yield EpochProgress(progress, epochs, title)
