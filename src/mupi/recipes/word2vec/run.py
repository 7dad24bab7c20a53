"""The folder of a run of `mupi word2vec`."""

from mupi.recipes.word2vec.config import Word2VecConfig
from mupi.recipes.word2vec.metrics import Word2VecMetrics
from mupi.reports import page_files
from mupi.training.folder_name import folder_name
from mupi.training.run_folder import RunFolder

VECTORS = "vectors.bin"
FIGURE = "accuracy.png"
WRITER = "mupi word2vec"


def word2vec_folder(config: Word2VecConfig) -> RunFolder[Word2VecMetrics]:
    """Where a configuration's run is; at its end with ``vectors.bin``, in word2vec's binary format, and a figure.

    Raises:
        ValueError: If its name is none of a folder.
    """
    folder_name("name", config.name)
    return RunFolder(
        directory=config.directory,
        settings=config.as_plain(),
        identity=config.identity(),
        record=Word2VecMetrics,
        counted_by="epoch",
        writer=WRITER,
        outputs=(VECTORS, *page_files(FIGURE)),
    )
