"""CIFAR-10 (Krizhevsky 2009) from the files of its official python version."""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mupi.data.bounded import AtMost, TooLargeError
from mupi.data.dataset import Dataset, Pixels
from mupi.data.pickled_arrays import load_arrays
from mupi.extras import require

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
FOLDER = "cifar-10-batches-py"
FILE_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

MOST_BYTES = 32 << 20
"""Of a file; the largest official one has 31,035,999."""

# Per channel, after scaling to [0, 1]: the constants of Yang, Santacroce & Hu (2022).
MEAN = (0.49137255, 0.48235294, 0.44666667)
STD = (0.24705882, 0.24352941, 0.26156863)


def load_cifar10(directory: Path) -> Dataset:
    """Return CIFAR-10: 50,000 images to train, 10,000 to test, each channel normalised by `MEAN` and `STD`.

    Read from the folder ``cifar-10-batches-py`` in ``directory``, else from ``cifar-10-python.tar.gz`` there,
    else from that archive after it was downloaded to there.

    Args:
        directory: The data directory, see `data_directory`.

    Raises:
        FileNotFoundError: If a file is missing and cannot be downloaded.
        ValueError: If a file is not, byte for byte, the official one.
    """
    if (directory / FOLDER).is_dir():
        files = _read_folder(directory / FOLDER)
    else:
        archive = directory / ARCHIVE
        if not archive.exists():
            _download(archive)
        files = _read_archive(archive)
    batches = [_decode(content) for content in files]
    train_x, train_y = zip(*batches[:-1], strict=True)
    test_x, test_y = batches[-1]
    return Dataset(
        name="cifar10",
        train_x=torch.cat(train_x),
        train_y=torch.cat(train_y),
        test_x=test_x,
        test_y=test_y,
        image_shape=(3, 32, 32),
        classes=CLASSES,
        pixels=Pixels(tuple(255 * m for m in MEAN), tuple(255 * s for s in STD), largest=255),
    )


def _read_folder(folder: Path) -> Iterator[bytes]:
    """The files of `FILE_MD5` in its order."""
    for name, md5 in FILE_MD5.items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(
                f"`{path}` is missing; wanted CIFAR-10's python version, the files {', '.join(FILE_MD5)}; "
                f"remove `{folder}` to have {URL} downloaded, or unpack that archive there"
            )
        if (size := path.stat().st_size) > MOST_BYTES:
            _damaged(str(path), f"it has {size:,} bytes", f"remove `{folder}` to have {URL} downloaded")
        content = path.read_bytes()
        _verify(str(path), content, md5, f"remove `{folder}` to have {URL} downloaded")
        yield content


def _read_archive(archive: Path) -> Iterator[bytes]:
    """The same from the packed archive."""
    again = f"remove `{archive}` to have {URL} downloaded again"
    try:
        with gzip.open(archive) as packed:
            # As a stream, so that no more is unpacked than the official files have, whatever the archive says.
            bounded = AtMost(packed, 2 * len(FILE_MD5) * MOST_BYTES)
            with tarfile.open(fileobj=cast(Any, bounded), mode="r|") as tar:
                files = dict(_regular_files(tar, archive, again))
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, TooLargeError, ValueError) as error:
        _damaged(str(archive), f"it cannot be unpacked ({error})", again)
    for name, md5 in FILE_MD5.items():
        if name not in files:
            _damaged(str(archive), f"it has no file {FOLDER}/{name}", again)
        content = files.pop(name)
        _verify(f"{archive}:{FOLDER}/{name}", content, md5, again)
        yield content


def _regular_files(tar: tarfile.TarFile, archive: Path, again: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the members that are wanted; links lead nowhere, since none of the official ones is one."""
    for member in tar:
        name = Path(member.name).name
        stream = tar.extractfile(member) if name in FILE_MD5 and member.isreg() and not member.issparse() else None
        if stream is not None:
            if member.size > MOST_BYTES:
                _damaged(f"{archive}:{member.name}", f"it has {member.size:,} bytes", again)
            yield name, stream.read()


def _download(archive: Path) -> None:
    require("pooch", "the download of CIFAR-10")
    import pooch

    try:
        pooch.retrieve(URL, known_hash=f"md5:{ARCHIVE_MD5}", fname=archive.name, path=archive.parent)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FileNotFoundError(
            f"found neither `{FOLDER}` nor `{ARCHIVE}` in `{archive.parent}`, and the download failed "
            f"({reason}); fetch {URL} (MD5 {ARCHIVE_MD5}) to there by hand, or name another directory by "
            "--data-dir or $MUPI_DATA"
        ) from error


def _verify(place: str, content: bytes, md5: str, remedy: str) -> None:
    got = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if got != md5:
        _damaged(place, f"its MD5 is {got}, the official file's is {md5}", remedy)


def _damaged(place: str, reason: str, remedy: str) -> NoReturn:
    raise ValueError(f"`{place}` is damaged: {reason}; {remedy}")


def _decode(content: bytes) -> tuple[Float[Tensor, "n 3072"], Int64[Tensor, " n"]]:
    """Normalised images and labels of one batch file: a pickle of a dict, rows of 1,024 R, then G, then B."""
    batch: Any = load_arrays(content, encoding="bytes")
    x = torch.from_numpy(batch[b"data"]).float()
    channels = x.view(-1, 3, 1024)
    channels.sub_(255 * torch.tensor(MEAN)[:, None]).div_(255 * torch.tensor(STD)[:, None])
    return x, torch.tensor(batch[b"labels"])
