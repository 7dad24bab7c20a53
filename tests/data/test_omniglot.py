import io
import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from assertions import assert_equal
from mupi.data import data_directory
from mupi.data import omniglot as module
from mupi.data.omniglot import Omniglot, load_omniglot
from omniglot_archives import ALPHABETS, drawing, write_archive, write_archives


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """With small archives, and no network."""
    monkeypatch.setattr(module, "_download", no_download)
    return write_archives(tmp_path, monkeypatch)


def no_download(folder, name):
    raise AssertionError(f"tried to download {name}")


def test_the_split_is_by_alphabets_and_the_end_of_the_evaluation_set(directory):
    data = load_omniglot(directory)
    assert data.test.names == tuple(f"ULOG/character0{i}" for i in range(1, 8))
    assert data.validation.names[:6] == tuple(f"Armenian/character0{i}" for i in range(1, 7))
    train = [f"Alphabet_of_the_Magi/character0{i}" for i in range(1, 8)] + [
        "Angelic/character01",
        "Angelic/character02",
    ]
    assert list(data.train.names[:9]) == train


def test_rotations_are_classes_of_their_own_in_training_and_validation_only(directory):
    data = load_omniglot(directory)
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 24, 7)
    assert data.train.images.shape == (36, 20, 784)
    upright = data.train.images[3].view(20, 28, 28)
    for k in range(1, 4):
        assert_equal(data.train.images[3 + 9 * k].view(20, 28, 28), upright.rot90(k, (1, 2)))
        assert data.train.names[3 + 9 * k] == f"Alphabet_of_the_Magi/character04 at {90 * k}°"


def test_images_are_resampled_as_pillow_does_with_ink_as_255(directory):
    image = load_omniglot(directory).train.images[2, 5]
    seed = 2 * 20 + 5
    ink = Image.fromarray(~np.asarray(Image.open(io.BytesIO(drawing(seed)))).astype(bool)).convert("L")
    expected = np.asarray(ink.resize((28, 28), Image.Resampling.BILINEAR))
    assert expected.max() > 100
    assert_equal(image, torch.from_numpy(expected.copy()).flatten())


def test_an_archive_that_is_missing_is_named_with_what_to_do(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr("pooch.retrieve", offline)
    with pytest.raises(FileNotFoundError) as raised:
        load_omniglot(tmp_path)
    message = str(raised.value)
    assert "\n" not in message
    for part in (str(tmp_path), "images_background.zip", module.URL, "MD5", "--data-dir", "MUPI_DATA"):
        assert part in message


def test_a_download_is_checked_by_the_official_md5(directory, monkeypatch):
    monkeypatch.undo()
    packed = {name: (directory / "omniglot" / name).read_bytes() for name in ALPHABETS}
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes(packed[fname])

    monkeypatch.setattr("pooch.retrieve", retrieve)
    with pytest.raises(ValueError, match="holds 260 images of 13 characters, not 19280 of 964"):
        load_omniglot(directory / "new")
    base = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
    assert asked == [
        (base + "images_background.zip", "md5:68d2efa1b9178cc56df9314c21c6e718"),
        (base + "images_evaluation.zip", "md5:6b91aef0f799c5bb55b94e3f2daec811"),
    ]


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.98])
def test_a_truncated_archive_is_refused(directory, kept):
    path = directory / "omniglot" / "images_evaluation.zip"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"images_evaluation\.zip.* is damaged: it cannot be unpacked .*; remove"):
        load_omniglot(directory)


def test_a_flipped_bit_in_an_image_is_found(directory):
    path = directory / "omniglot" / "images_evaluation.zip"
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: it cannot be unpacked .*CRC"):
        load_omniglot(directory)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no image", "it is no image"),
        (drawing(3)[:60], "it is no image"),
        (None, "it is 10 × 20 pixels, not 105 × 105"),
    ],
)
def test_an_image_that_is_none_or_of_another_size_is_named(directory, content, reason):
    if content is None:
        buffer = io.BytesIO()
        Image.new("1", (10, 20)).save(buffer, "PNG")
        content = buffer.getvalue()
    path = directory / "omniglot" / "images_evaluation.zip"
    name = "images_evaluation/ULOG/character03/1085_06.png"
    write_archive(path, ALPHABETS[path.name], {name: content})
    with zipfile.ZipFile(path) as archive:
        assert name in archive.namelist()
    with pytest.raises(ValueError, match=f"{name}.* is damaged: {reason}"):
        load_omniglot(directory)


@pytest.fixture(scope="session")
def omniglot() -> Omniglot:
    """The real one; skips where $MUPI_DATA has no archives."""
    if not os.environ.get("MUPI_DATA") or not (data_directory() / "omniglot" / "images_background.zip").is_file():
        pytest.skip("needs Omniglot: set $MUPI_DATA to a directory with omniglot/images_background.zip")
    return load_omniglot(data_directory())


@pytest.mark.slow
def test_the_real_archives_hold_the_papers_split(omniglot):
    assert (len(omniglot.train), len(omniglot.validation), len(omniglot.test)) == (4 * 1028, 4 * 172, 423)
    assert omniglot.test.names[0] == "Gurmukhi/character42"
    base = [
        set(part.names[:n]) for part, n in ((omniglot.train, 1028), (omniglot.validation, 172), (omniglot.test, 423))
    ]
    assert len(set.union(*base)) == 1623, "no character is in two parts"
    ink = omniglot.train.images[:1028].float().mean() / 255
    assert 0.06 < ink < 0.1
