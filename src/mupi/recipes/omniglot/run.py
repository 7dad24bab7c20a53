"""The folder of a few-shot run."""

from mupi.recipes.omniglot.config import OmniglotConfig, current
from mupi.recipes.omniglot.few_shot_records import Progress
from mupi.reports import page_files
from mupi.training.folder_name import folder_name
from mupi.training.run_folder import RunFolder

KERNELS = "kernels.pt"
RESULT = "result.json"
CURVES = "curves.png"
CLASSES = "classes.png"
WRITER = "mupi omniglot"


def few_shot_folder(config: OmniglotConfig, seed: int) -> RunFolder[Progress]:
    """Where the run of one seed is.

    Beside the files of every run, ``result.json`` has accuracies, seconds of meta-training, MB by which memory grew,
    and how far layers of Hermite features are from the exact limit's; ``kernels.pt`` inner products of representations
    of some test images, by name, and their classes, which ``classes.png`` shows.

    Args:
        config: The configuration.
        seed: The seed whose folder it is.

    Raises:
        ValueError: If its name is none of a folder.
    """
    folder_name("--name", config.name)
    return RunFolder(
        directory=config.directory(seed),
        settings=config.as_plain() | {"seed": seed},
        identity=config.identity(),
        record=Progress,
        counted_by="batch",
        writer=WRITER,
        outputs=(RESULT, KERNELS, *page_files(CURVES, CLASSES)),
        current=current,
        argument=lambda field: f"--{field.replace('_', '-')}",
    )
