"""Files and folders, read by what they are."""

from pathlib import Path

from mupi.checks import fail
from mupi.data.own.array_file import read_npz, read_pt
from mupi.data.own.arrow_table import read_parquet
from mupi.data.own.csv_table import read_csv
from mupi.data.own.hub import PREFIX, read_hub
from mupi.data.own.image_folder import SUFFIXES, load_images, read_folder
from mupi.data.own.raw import Raw, RawImages
from mupi.data.own.wanted import Wanted

KINDS = ".csv, .csv.gz, .tsv, .parquet, .npz, .pt, a folder of images, or hf:NAME"


def read_raw(source: str, wanted: Wanted) -> Raw:
    """What a file holds; targets as well, unless it is to be predicted and has none.

    Args:
        source: A path, or ``hf:`` and a name.
        wanted: Which columns.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else, or no such columns.
    """
    if source.startswith(PREFIX):
        raw = read_hub(source, "train", wanted)
        assert raw is not None
        return raw
    path, name = Path(source), source.lower()
    if not path.exists():
        raise FileNotFoundError(f"`{wanted.argument}` must be a file or folder that exists; got `{source}`")
    if path.is_dir():
        return read_folder(path, wanted)
    if not path.is_file():
        fail(wanted.argument, f"one of {KINDS}", f"`{source}`, which is no file")
    if not path.stat().st_size:
        fail(wanted.argument, "a file with something in it", f"`{source}`, which is empty")
    if name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        return read_csv(path, wanted)
    if name.endswith((".parquet", ".pq")):
        return read_parquet(path, wanted)
    if name.endswith(".npz"):
        return read_npz(path, wanted)
    if name.endswith((".pt", ".pth")):
        return read_pt(path, wanted)
    if path.suffix.lower() in SUFFIXES and wanted.only is not None:
        return Raw(source, RawImages(load_images([path], wanted), (path.name,)))
    fail(wanted.argument, f"one of {KINDS}", f"`{source}`")


def read_test_part(source: str, wanted: Wanted) -> Raw | None:
    """The test part that a data set brings with it; None if there is none."""
    return read_hub(source, "test", wanted) if source.startswith(PREFIX) else None
