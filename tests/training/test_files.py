"""Files that are whole, say so, and are written by one process at a time."""

import json
import os
import random
import signal
import zlib
from dataclasses import dataclass

import pytest
import torch

from mupi.training.atomic import replacing, write_text
from mupi.training.cached import cached
from mupi.training.damaged import DamagedFile
from mupi.training.folder_name import folder_name
from mupi.training.lock import held
from mupi.training.sealed import read_sealed, write_sealed


def test_a_file_that_could_not_be_written_is_as_it_was(tmp_path):
    write_text(path := tmp_path / "a", "old")
    with pytest.raises(OSError, match="no space"), replacing(path) as partial:
        partial.write_text("half of it")
        raise OSError("no space left on device")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.json", "a.pt"])
def test_a_bit_that_flipped_is_seen_or_means_nothing(tmp_path, name):
    """In zip archives some bits do: times, and what fills the gaps between tensors."""
    fields = {"lr": 0.25, "epochs": 3, "name": "x"}
    if name == "a.pt":
        fields["weight"] = torch.arange(100.0)  # pyright: ignore[reportArgumentType]
    write_sealed(path := tmp_path / name, fields)
    contents, seen = path.read_bytes(), 0
    for bit in random.Random(0).sample(range(8 * len(contents)), 150):
        changed = bytearray(contents)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found = read_sealed(path)
        except DamagedFile as error:
            seen += 1
            assert str(error).startswith(f"`{path}` is damaged or of another version; ")
        else:
            assert found.keys() == fields.keys() or "crc32" not in found
            assert all(torch.equal(torch.as_tensor(found[k]), torch.as_tensor(fields[k])) for k in ("lr", "epochs"))
            assert "weight" not in fields or torch.equal(found["weight"], torch.arange(100.0))
    assert seen > 50


def test_files_of_versions_without_checksums_are_read(tmp_path):
    (path := tmp_path / "config.json").write_text('{"lr": 0.5}')
    assert read_sealed(path) == {"lr": 0.5}


@dataclass(frozen=True)
class Found:
    value: float


def test_a_result_is_computed_once_for_its_settings_and_not_taken_for_that_of_others(tmp_path):
    calls = []

    def compute() -> dict:
        calls.append(1)
        return {"value": 2.0}

    def ask(settings: dict, **how) -> Found:
        return cached(tmp_path / "deep" / "r.json", settings, compute, lambda fields: Found(**fields), **how)

    assert ask({"lr": 1, "widths": (1, 2)}) == ask({"lr": 1, "widths": (1, 2)}) == Found(2.0)
    assert len(calls) == 1
    for other in ({"lr": 2, "widths": (1, 2)}, {"lr": 1}, {"lr": 1, "widths": (1, 2), "new": 3}):
        with pytest.raises(ValueError, match=r"is a result of (lr|widths|new) = .*; replace it with --overwrite"):
            ask(other)
    ask({"lr": 2}, overwrite=True)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"settings": {}, "result": {"value": "a"}}', '{"settings": {}, "result": {"other": 1}}']
)
def test_a_result_that_is_none_is_named(tmp_path, text):
    (path := tmp_path / "r.json").write_text(text)
    with pytest.raises(DamagedFile, match=r"r\.json` is damaged or of another version; replace"):
        cached(path, {}, dict, lambda fields: Found(**fields))


def test_a_folder_is_held_by_one_process_until_it_ends_however_it_does(tmp_path):
    reading, writing = os.pipe()
    if not (holder := os.fork()):
        with held(tmp_path / "x"):
            os.write(writing, b"held")
            signal.pause()
    assert os.read(reading, 4) == b"held"
    refused = pytest.raises(ValueError, match=r"x` is in use by another process; wait until that ends, or choose")
    with refused, held(tmp_path / "x"):
        pass
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    for end in (reading, writing):
        os.close(end)
    with held(tmp_path / "x"):
        (tmp_path / "x" / "file").touch()
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["file"]


def test_what_a_killed_process_was_writing_is_removed_and_a_folder_that_stays_empty_too(tmp_path):
    (tmp_path / ".partial-1-a.json").touch()
    (tmp_path / "a.json").touch()
    with held(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    with held(tmp_path / "b" / "c"):
        assert (tmp_path / "b" / "c").is_dir()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/a", "a/b", "a\\b", ".a", "a\0", "a\nb"])
def test_a_name_stays_in_its_folder(name):
    with pytest.raises(ValueError, match="^`name` must be a folder's name"):
        folder_name("name", name)


def test_names_are_names():
    for name in (None, "a", "μ-net, n = 8", "a.b"):
        folder_name("name", name)


def test_json_has_the_checksum_of_what_it_says(tmp_path):
    text = b'{"a": [1, 2.5, null]}'
    write_sealed(path := tmp_path / "a.json", {"a": (1, 2.5, None)})
    assert json.loads(path.read_text()) == {"a": [1, 2.5, None], "crc32": f"{zlib.crc32(text):08x}"}
