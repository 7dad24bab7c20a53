import hashlib
import pickle
import struct
import tarfile
from pathlib import Path

import pytest
import torch

from mupi.data import cifar10 as module
from mupi.data import load_cifar10

IMAGES_A_FILE = 3


def official_layout(pixels: bytes, labels: list[int]) -> bytes:
    """A batch file as Python 2 pickled it: {"data": uint8 array (n, 3072), "labels": list of int}."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01M"
        + struct.pack("<HcH", len(labels), b"M", 3072)
        + b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(pixels))
        + pixels
        + b"tb"
    )
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return b"\x80\x02}(U\x06labels](" + numbers + b"eU\x04data" + array + b"u."


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small folder of official layout: file k is filled with the byte k, and its labels are k."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    md5 = {}
    for k, name in enumerate(module.FILE_MD5):
        content = official_layout(bytes([k]) * 3072 * IMAGES_A_FILE, [k] * IMAGES_A_FILE)
        (folder / name).write_bytes(content)
        md5[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(module, "FILE_MD5", md5)
    monkeypatch.setattr(module, "_download", no_download)
    return folder


def no_download(archive: Path):
    raise AssertionError(f"tried to download {archive}")


def pack(folder: Path) -> Path:
    """Turn the folder into the archive that it came from."""
    archive = folder.parent / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    return archive


def test_the_folder_is_read_in_order_and_normalized_by_channel(folder):
    data = load_cifar10(folder.parent)
    assert data.train_x.shape == (5 * IMAGES_A_FILE, 3072)
    assert data.test_x.shape == (IMAGES_A_FILE, 3072)
    assert data.train_y.tolist() == [k for k in range(5) for _ in range(IMAGES_A_FILE)]
    assert data.test_y.tolist() == [5] * IMAGES_A_FILE
    expected = (5 / 255 - torch.tensor(module.MEAN)) / torch.tensor(module.STD)
    torch.testing.assert_close(data.test_x.view(-1, 3, 1024).mean((0, 2)), expected)


def test_the_archive_gives_what_the_folder_gives(folder):
    from_folder = load_cifar10(folder.parent)
    pack(folder)
    from_archive = load_cifar10(folder.parent)
    assert torch.equal(from_folder.train_x, from_archive.train_x)
    assert torch.equal(from_folder.test_y, from_archive.test_y)


def test_a_missing_file_is_named_with_where_to_get_it(folder):
    (folder / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_3` is missing.*cifar-10-python\.tar\.gz"):
        load_cifar10(folder.parent)


def test_a_changed_byte_is_found_by_its_md5(folder):
    content = bytearray((folder / "data_batch_2").read_bytes())
    content[-100] ^= 1
    (folder / "data_batch_2").write_bytes(content)
    with pytest.raises(ValueError, match=r"data_batch_2` is damaged: its MD5 is \w+, the official"):
        load_cifar10(folder.parent)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.95])
def test_a_truncated_archive_is_refused_in_one_line(folder, kept):
    archive = pack(folder)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz.* is damaged: .* remove") as raised:
        load_cifar10(folder.parent)
    assert "\n" not in str(raised.value)


def test_a_failed_download_says_where_it_looked_what_it_wants_and_how_to_get_it(tmp_path, monkeypatch):
    def offline(*args: object, **kwargs: object):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr("pooch.retrieve", offline)
    with pytest.raises(FileNotFoundError) as raised:
        load_cifar10(tmp_path)
    message = str(raised.value)
    assert "\n" not in message
    for part in (
        str(tmp_path),
        "cifar-10-batches-py",
        module.URL,
        module.ARCHIVE_MD5,
        "--data-dir",
        "MUPI_DATA",
    ):
        assert part in message


def test_a_download_is_checked_by_the_official_md5(folder, monkeypatch):
    archive = pack(folder)
    packed = archive.read_bytes()
    archive.unlink()
    asked = {}

    def retrieve(url: str, known_hash: str, fname: str, path: Path):
        asked.update(url=url, known_hash=known_hash)
        (path / fname).write_bytes(packed)

    monkeypatch.undo()
    monkeypatch.setattr("pooch.retrieve", retrieve)
    with pytest.raises(ValueError, match="its MD5 is"):  # the real sums are back, and these are no real files
        load_cifar10(folder.parent)
    assert asked == {
        "url": "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "known_hash": "md5:c58f30108f718f92721af3b95e74349a",
    }


def test_a_pickle_that_asks_for_anything_else_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    with pytest.raises(ValueError, match="must not ask for"):
        module._decode(pickle.dumps(Harmful()))
    assert not (tmp_path / "harm").exists()


def test_the_real_files_hold_ten_balanced_classes(cifar10):
    assert cifar10.train_y.bincount().tolist() == [5000] * 10
    assert cifar10.test_y.bincount().tolist() == [1000] * 10
    assert cifar10.train_x.shape == (50_000, 3072)
    pixels = cifar10.train_x.view(-1, 3, 1024)
    torch.testing.assert_close(pixels.mean((0, 2)), torch.zeros(3), atol=2e-3, rtol=0)
    torch.testing.assert_close(pixels.std((0, 2)), torch.ones(3), atol=2e-3, rtol=0)
