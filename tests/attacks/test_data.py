"""Hostile and broken data files: each is refused in one line, in little time and memory, or read rightly."""

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import Limits, refused
from PIL import Image

from imagenet32_batches import write_batches
from mupi.data import Dataset, cifar10, load_cifar10, omniglot
from mupi.data.imagenet32 import TRAIN, load_imagenet32
from mupi.data.omniglot import load_omniglot
from mupi.recipes.word2vec.corpus import encode, load_corpus
from mupi.recipes.word2vec.text import words
from mupi.recipes.word2vec.wikifil import letters, wikifil
from mupi.recipes.word2vec.word_vectors import WordVectors
from omniglot_archives import ALPHABETS, drawing, write_archive, write_archives

MB = 1 << 20
GOOD = {"data": np.arange(4 * 3072, dtype=np.uint8).reshape(4, 3072), "labels": [1, 2, 3, 1]}


def attack(record, kind: str, case: str, load: Callable[[], object], memory: int = 600 * MB) -> None:
    """What a load that must be refused comes to; ``memory`` is 1.5 times what the loader says that it takes."""
    outcome, words_ = refused(load, Limits(memory=memory, seconds=30))
    if outcome == "returned":
        outcome = "silent"
    record(kind, f"{case}: {words_}", outcome)


# ImageNet32: pickles


def pickled(data: object = GOOD["data"], labels: object = GOOD["labels"], protocol: int = 2) -> bytes:
    return pickle.dumps({"data": data, "labels": labels}, protocol=protocol)


def array_pickle(shape: bytes, dtype: bytes, content: bytes) -> bytes:
    """A dict whose data are an array by hand: opcodes of its shape, of its type, of its bytes."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    array += b"(K\x01" + shape + dtype + b"\x89" + content + b"tb"
    return b"\x80\x02}(U\x06labels](K\x01K\x02eU\x04data" + array + b"u."


def dtype_pickle(name: bytes, state: bytes) -> bytes:
    return b"cnumpy\ndtype\n(S'" + name + b"'\nI0\nI1\ntR(" + state + b"tb"


UINT8 = dtype_pickle(b"u1", b"I3\nS'|'\nNNNI-1\nI-1\nI0\n")
BYTES = b"T" + struct.pack("<i", 6144) + bytes(6144)

HOSTILE_TYPES = {
    "named fields of no type": (b"V8", b"I3\nS'|'\nN(S'a'\nt(dS'a'\nI1\nsI8\nI1\nI16\n"),
    "fields that are a number": (b"V8", b"I3\nS'|'\nN(S'a'\ntI7\nI8\nI1\nI16\n"),
    "a subtype of huge shape": (b"V8", b"I3\nS'|'\n(S'u1'\n(I1000000000\nttNNI8\nI1\nI0\n"),
    "huge element size": (b"V8", b"I3\nS'|'\nNNNI2147483647\nI1\nI0\n"),
    "negative element size": (b"V8", b"I3\nS'|'\nNNNI-8\nI-1\nI0\n"),
    "objects": (b"O8", b"I3\nS'|'\nNNNI-1\nI-1\nI63\n"),
    "state of no version": (b"u1", b"I99\nS'|'\nNNNI-1\nI-1\nI0\n"),
    "byte order of two letters": (b"u1", b"I3\nS'<>'\nNNNI-1\nI-1\nI0\n"),
    "byte order that is a number": (b"u1", b"I3\nI3\nNNNI-1\nI-1\nI0\n"),
    "short state": (b"u1", b"I3\n"),
    "no state": (b"u1", b""),
    "a type of text": (b"S5", b"I3\nS'|'\nNNNI5\nI1\nI0\n"),
    "complex numbers": (b"c16", b"I3\nS'<'\nNNNI-1\nI-1\nI0\n"),
    "dates": (b"M8", b"I4\nS'<'\nNNNI-1\nI-1\nI0\n((S's'\nI1\nI1\nI1\ntt"),
    "a name of no type": (b"nonsense", b"I3\nS'|'\nNNNI-1\nI-1\nI0\n"),
}
HOSTILE_SHAPES = {
    "negative": b"(I-2\nI3072\nt",
    "huge": b"(I2000000000\nI2000000000\nt",
    "of too many axes": b"(" + b"I1\n" * 100 + b"t",
    "a number": b"I2\n",
    "of floats": b"(F2.0\nF3072.0\nt",
    "of booleans": b"(\x88\x88t",
    "none": b"N",
    "of no axes": b")",
    "larger than its bytes": b"(I3\nI3072\nt",
    "zero": b"(I0\nI3072\nt",
}
HOSTILE_LABELS = {
    "NaN": [1, 2, float("nan"), 1],
    "minus five": [1, -5, 2, 1],
    "zero": [0, 1, 2, 1],
    "beyond 1,000": [1, 1001, 2, 1],
    "huge": [1, 2**63, 2, 1],
    "beyond 64 bits": [1, 2**70, 2, 1],
    "fractions": [1, 1.5, 2, 1],
    "whole floats": [1.0, 2.0, 1.0, 2.0],
    "strings": ["1", "2", "1", "2"],
    "none": [1, None, 2, 1],
    "booleans": [True, True, False, True],
    "lists": [[1], [2], [1], [2]],
    "of unequal lengths": [[1], [2, 3], [1], [2]],
    "too few": [1, 2, 3],
    "too many": [1, 2, 3, 1, 2],
    "no list": 1,
    "bytes": b"\x01\x02\x03\x01",
    "a dict": {0: 1},
    "an array of floats": np.array([1.0, 2.0, 1.0, 2.0]),
    "an array of NaN": np.full(4, np.nan),
    "a matrix": np.ones((4, 1), dtype=np.int64),
    "an array below zero": np.array([-1, 2, 1, 2]),
    "unsigned and huge": np.array([1, 2, 2**64 - 1, 2], dtype=np.uint64),
    "empty": [],
}
HOSTILE_DATA = {
    "floats": np.ones((4, 3072), dtype=np.float32),
    "integers": np.ones((4, 3072), dtype=np.int64),
    "of 64 pixels": np.ones((4, 12288), dtype=np.uint8),
    "of one axis": np.ones(4 * 3072, dtype=np.uint8),
    "lists": [[1] * 3072] * 4,
    "bytes": bytes(4 * 3072),
    "none": None,
    "an object": np.array([[None] * 3072] * 4),
}
HOSTILE_PROGRAMS = {
    "an empty file": b"",
    "text": b"hello, world\n" * 100,
    "no data": pickle.dumps({"labels": [1]}),
    "no labels": pickle.dumps({"data": GOOD["data"]}, protocol=2),
    "a list": pickle.dumps([1, 2]),
    "a number": pickle.dumps(3),
    "a call of the system": b"cposix\nsystem\n(S'true'\ntR.",
    "an evaluation": b"cbuiltins\neval\n(S'1'\ntR.",
    "a compressing codec": b"c_codecs\nencode\n(S'a'\nS'zlib'\ntR.",
    "an unknown codec": b"c_codecs\nencode\n(S'a'\nS'nonsense'\ntR.",
    "a huge index of the memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "bytes of an exabyte": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
    "bytes of a gigabyte": b"\x80\x04B" + struct.pack("<I", 1 << 30) + b"x.",
    "a frame of an exabyte": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
    "a number of a million digits": b"I" + b"9" * 10**6 + b"\n.",
    "a long of a million digits": b"L" + b"9" * 10**6 + b"L\n.",
    "keys that double, sixty deep": b"\x80\x02}" + b"K\x01" + b"2\x86" * 60 + b"K\x01s.",
    "lists, a million deep": b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".",
    "an array of arrays": array_pickle(b"(I1\nt", UINT8, b"cnumpy.core.multiarray\n_reconstruct\n(tR"),
    "a persistent name": b"Pname\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "a pop of nothing": b"0.",
    "a build of nothing": b"Nb.",
    "protocol 99": b"\x80\x63N.",
    "a buffer from elsewhere": b"\x80\x05\x97.",
    "no stop": pickled()[:-1],
    **{f"cut at {share} %": pickled()[: len(pickled()) * share // 100] for share in (1, 20, 50, 90)},
}


def imagenet_cases() -> Iterator[tuple[str, bytes]]:
    for name, (kind, state) in HOSTILE_TYPES.items():
        yield f"type: {name}", array_pickle(b"(I2\nI3072\nt", dtype_pickle(kind, state), BYTES)
    for name, shape in HOSTILE_SHAPES.items():
        yield f"shape: {name}", array_pickle(shape, UINT8, BYTES)
    for name, labels in HOSTILE_LABELS.items():
        yield f"labels: {name}", pickled(labels=labels)
    for name, data in HOSTILE_DATA.items():
        yield f"data: {name}", pickled(data=data)
    for name, program in HOSTILE_PROGRAMS.items():
        yield f"program: {name}", program


def test_pickles_of_imagenet32(record, tmp_path):
    directory = write_batches(tmp_path)
    target = directory / "imagenet32" / TRAIN[0]
    for case, content in imagenet_cases():
        target.write_bytes(content)
        attack(record, "pickles", case, lambda: load_imagenet32(directory, n_classes=None, batches=1))
    for protocol in range(pickle.HIGHEST_PROTOCOL):
        target.write_bytes(pickled(protocol=protocol))
        data = load_imagenet32(directory, n_classes=None, batches=1)
        record("pickles", f"a right one of protocol {protocol}", "right" if len(data.train_x) == 4 else "silent")


# CIFAR-10: tar archives


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo, io.BufferedIOBase | None]]) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for member, content in members:
            tar.addfile(member, content)


def member(name: str, size: int = 0, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    return info


class Zeros(io.RawIOBase):
    """As many as are asked for."""

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def test_archives_of_cifar10(record, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "_download", lambda archive: None)
    path = tmp_path / cifar10.ARCHIVE

    def small() -> list:
        return [(member(name, 10), io.BytesIO(bytes(10))) for name in cifar10.FILE_MD5]

    def cases() -> Iterator[str]:
        tar_of(path, [(member("data_batch_1", 1500 * MB), Zeros())])  # pyright: ignore[reportArgumentType]
        yield "a batch that unpacks to 1.5 GB"
        tar_of(path, [(member("junk", 1500 * MB), Zeros())])  # pyright: ignore[reportArgumentType]
        yield "junk that unpacks to 1.5 GB"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        yield "a cut one"
        tar_of(path, [(member("x", 900 * MB, type=tarfile.XHDTYPE), Zeros())])  # pyright: ignore[reportArgumentType]
        yield "a header of 900 MB"
        tar_of(path, [(member(n, type=tarfile.SYMTYPE, linkname="/etc/passwd"), None) for n in cifar10.FILE_MD5])
        yield "symbolic links out of it"
        tar_of(path, [(member(n, type=tarfile.SYMTYPE, linkname=n), None) for n in cifar10.FILE_MD5])
        yield "symbolic links to themselves"
        tar_of(path, [(member(n, type=tarfile.LNKTYPE, linkname="elsewhere"), None) for n in cifar10.FILE_MD5])
        yield "hard links to nothing"
        tar_of(path, [(member(n, type=tarfile.FIFOTYPE), None) for n in cifar10.FILE_MD5])
        yield "pipes"
        tar_of(path, [(member(n, type=tarfile.CHRTYPE), None) for n in cifar10.FILE_MD5])
        yield "devices"
        tar_of(path, small())
        yield "files of other contents"
        tar_of(path, small()[:2])
        yield "missing files"
        path.write_bytes(b"")
        yield "an empty file"
        path.write_bytes(b"no archive" * 100)
        yield "text"
        path.write_bytes(gzip.compress(b"no archive" * 100))
        yield "packed text"
        path.write_bytes(gzip.compress(bytes(800 * MB), compresslevel=1))
        yield "800 MB of zeros"
        path.write_bytes(bz2.compress(b"no archive" * 100))
        yield "another compression"

    for case in cases():
        attack(record, "tar archives", case, lambda: load_cifar10(tmp_path))
    path.unlink()
    path.mkdir()
    attack(record, "tar archives", "a folder of its name", lambda: load_cifar10(tmp_path))


# Omniglot: zip archives of PNGs


def png(size: int) -> bytes:
    """White, of one bit a pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes(size * (1 + -(-size // 8))), 1)
    header = struct.pack(">IIBBBBB", size, size, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_archives_of_omniglot(record, tmp_path, monkeypatch):
    monkeypatch.setattr(omniglot, "_download", lambda folder, name: None)
    write_archives(tmp_path, monkeypatch)
    path = tmp_path / "omniglot" / "images_background.zip"
    alphabets = ALPHABETS[path.name]
    good = path.read_bytes()
    first = "images_background/Armenian/character01"
    name = sorted(n for n in zipfile.ZipFile(path).namelist() if n.startswith(first))[0]

    def replaced(content: bytes) -> None:
        write_archive(path, alphabets, {name: content})

    def rewritten(change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]], **how: int) -> None:
        with zipfile.ZipFile(io.BytesIO(good)) as archive:
            entries = [(entry, archive.read(entry)) for entry in archive.namelist()]
        with zipfile.ZipFile(path, "w", **how) as archive:
            for entry, content in change(entries):
                archive.writestr(entry, content)

    def patched(offset_local: int, offset_central: int, value: int) -> None:
        content = bytearray(good)
        local = content.index(name.encode()) - 30
        central = content.rindex(name.encode()) - 46
        content[local + offset_local : local + offset_local + 2] = struct.pack("<H", value)
        content[central + offset_central : central + offset_central + 2] = struct.pack("<H", value)
        path.write_bytes(content)

    jpeg = io.BytesIO()
    Image.new("L", (105, 105)).save(jpeg, "JPEG")

    def cases() -> Iterator[str]:
        rewritten(lambda es: [(e.replace("character01", "character02") if e == name else e, c) for e, c in es])
        yield "a drawing moved from one character to another"
        rewritten(lambda entries: [(e, c) for e, c in entries if e != name])
        yield "a drawing missing"
        rewritten(lambda entries: [(e.replace("Armenian", "Other"), c) for e, c in entries[:-1]] + [("x.png", b"")])
        yield "a stranger"
        rewritten(
            lambda es: [(e, bytes(900 * MB) if e == name else c) for e, c in es], compression=zipfile.ZIP_DEFLATED
        )
        yield "a drawing that unpacks to 900 MB"
        replaced(png(30000))
        yield "a drawing of 30,000² pixels"
        replaced(png(9000))
        yield "a drawing of 9,000² pixels"
        replaced(drawing(0)[:70])
        yield "a cut drawing"
        replaced(jpeg.getvalue())
        yield "another format"
        replaced(b"no image")
        yield "text"
        patched(6, 8, 1)
        yield "a password"
        patched(8, 10, 97)
        yield "an unknown method"
        path.write_bytes(good[: len(good) // 2])
        yield "a cut archive"
        flipped = bytearray(good)
        flipped[len(good) // 3] ^= 16
        path.write_bytes(flipped)
        yield "a flipped bit"
        path.write_bytes(b"")
        yield "an empty file"
        path.write_bytes(bytes(80 * MB))
        yield "80 MB of zeros"

    for case in cases():
        attack(record, "zip archives", case, lambda: load_omniglot(tmp_path))


# Texts


def test_texts(record, tmp_path):
    numbers = count()

    def file(suffix: str, content: bytes) -> Path:
        path = tmp_path / f"text{next(numbers)}{suffix}"
        path.write_bytes(content)
        return path

    def read(path: Path, normalise=None) -> Callable[[], object]:
        return lambda: encode(words(path, normalise), 1)

    text = b"the cat sat on the mat " * 1000
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text", text)
    encrypted, unknown = bytearray(zipped.getvalue()), bytearray(zipped.getvalue())
    encrypted[6], encrypted[encrypted.rindex(b"PK\x01\x02") + 8] = 1, 1
    unknown[8], unknown[unknown.rindex(b"PK\x01\x02") + 10] = 97, 97
    two = io.BytesIO()
    with zipfile.ZipFile(two, "w") as archive:
        archive.writestr("a", text)
        archive.writestr("b", text)
    cases = {
        "a word of 300 MB, packed": read(file(".gz", gzip.compress(b"a" * 300 * MB, 1))),
        "a word of 100 MB": read(file(".txt", b"a" * 100 * MB)),
        "a gigabyte of one word a line, packed": read(file(".xz", lzma.compress(b"a b\n" * (64 * MB), preset=0))),
        "zeros, packed": read(file(".bz2", bz2.compress(bytes(300 * MB), 1))),
        "300 MB without a tag": read(file(".gz", gzip.compress(b"a b " * 75 * MB, 1)), wikifil),
        "letters of 300 MB, packed": read(file(".gz", gzip.compress(b"a" * 300 * MB, 1)), letters),
        "a password": read(file(".zip", bytes(encrypted))),
        "an unknown method": read(file(".zip", bytes(unknown))),
        "two files": read(file(".zip", two.getvalue())),
        "no file": read(file(".zip", b"PK\x05\x06" + bytes(18))),
        "not packed at all": read(file(".gz", text)),
        "packed otherwise": read(file(".xz", gzip.compress(text))),
        "empty": read(file(".txt", b"")),
        "one word": read(file(".txt", b"word")),
        **{
            f"cut, {suffix}": read(file(suffix, content[: len(content) // 2]))
            for suffix, content in {
                ".gz": gzip.compress(text),
                ".bz2": bz2.compress(np.random.default_rng(0).bytes(9000)),
                ".xz": lzma.compress(text),
                ".zip": zipped.getvalue(),
            }.items()
        },
    }
    for case, load in cases.items():
        attack(record, "texts", case, load)
    for suffix, packed in {".gz": gzip.compress(text), ".xz": lzma.compress(text), ".zip": zipped.getvalue()}.items():
        found = list(words(file(suffix, packed)))
        record("texts", f"a right one, {suffix}", "right" if found == text.decode().split() else "silent")


def test_kept_corpora(record, tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"the cat sat on the mat with the other cat " * 100)

    def load() -> object:
        return load_corpus(path, tmp_path / "kept", min_count=1)

    load()
    (kept,) = (tmp_path / "kept").iterdir()
    for file in ("ids.npy", "vocabulary.txt"):
        good = (kept / file).read_bytes()
        changes = {f"cut at {share} %": good[: len(good) * share // 100] for share in (0, 3, 50, 99)}
        for place in np.random.default_rng(0).integers(0, 8 * len(good), 40):
            flipped = bytearray(good)
            flipped[place // 8] ^= 1 << (place % 8)
            changes[f"bit {place} flipped"] = bytes(flipped)
        for case, content in changes.items():
            (kept / file).write_bytes(content)
            attack(record, "kept corpora", f"{file}, {case}", load)
        (kept / file).write_bytes(good)


# Word vectors


def test_word_vectors(record, tmp_path):
    rows = {f"word{i}": [0.5 * i, 1.0] for i in range(20)}

    def text(changed: dict[str, str] | None = None, header: str = "20 2") -> bytes:
        lines = [(changed or {}).get(word, f"{word} {a} {b}") for word, (a, b) in rows.items()]
        return "\n".join([header, *lines, ""]).encode()

    def binary(header: bytes = b"20 2\n", number: float = 1.0) -> bytes:
        return header + b"".join(
            w.encode() + b" " + struct.pack("<ff", a, number) + b"\n" for w, (a, _) in rows.items()
        )

    cases = {
        "NaN": (text({"word7": "word7 nan 1"}), False),
        "infinite": (text({"word7": "word7 inf 1"}), False),
        "beyond float32": (text({"word7": "word7 1e300 1"}), False),
        "NaN, binary": (binary(number=float("nan")), True),
        "infinite, binary": (binary(number=float("inf")), True),
        "10⁹ rows": (text(header="1000000000 300"), False),
        "10⁹ rows, binary": (binary(b"1000000000 300\n"), True),
        "10⁹ columns": (text(header="20 1000000000"), False),
        "10³⁰ rows": (text(header="1" + "0" * 30 + " 2"), False),
        "no rows": (text(header="0 2"), False),
        "no columns": (text(header="20 0"), False),
        "negative": (text(header="-20 2"), False),
        "more rows than there are": (text(header="21 2"), False),
        "a column too many": (text({"word7": "word7 1 2 x"}, header="20 3"), False),
        "a column too few": (text({"word7": "word7 1"}), False),
        "no numbers": (text({"word7": "word7 one two"}), False),
        "text as binary": (text(), True),
        "binary as text": (binary(), False),
        "cut, binary": (binary()[:-20], True),
        "a word of 100 MB": (b"1 1\n" + b"a" * 100 * MB, False),
        "a word of 100 MB, binary": (b"1 1\n" + b"a" * 100 * MB, True),
        "a header only": (b"20 2\n", False),
        "empty": (b"", False),
        "zeros": (bytes(1000), True),
    }
    path = tmp_path / "vectors"
    for case, (content, is_binary) in cases.items():
        path.write_bytes(content)
        attack(record, "word vectors", case, lambda is_binary=is_binary: WordVectors.load(path, binary=is_binary))
    (tmp_path / "right").write_bytes(text())
    vectors = WordVectors.load(tmp_path / "right", binary=False).vectors
    record("word vectors", "right ones", "right" if vectors.tolist() == list(rows.values()) else "silent")


# Data sets by hand


@pytest.mark.parametrize("part", ["train", "test"])
def test_data_sets(record, part):
    x, y = torch.zeros(4, 6), torch.tensor([0, 1, 2, 0])
    cases = {
        "labels below zero": (x, torch.tensor([0, -5, 1, 2])),
        "labels beyond the classes": (x, torch.tensor([0, 3, 1, 2])),
        "labels that are fractions": (x, torch.tensor([0, 1.5, 1, 2])),
        "labels that are NaN": (x, torch.full((4,), torch.nan)),
        "labels of 32 bits": (x, y.int()),
        "too few labels": (x, y[:3]),
        "labels with an axis more": (x, y[:, None]),
        "NaN images": (x + torch.nan, y),
        "infinite images": (x - torch.inf, y),
        "images of another size": (x[:, :5], y),
        "images with axes": (x.view(4, 1, 2, 3), y),
    }
    for case, (bad_x, bad_y) in cases.items():
        bad, good = (bad_x, bad_y), (x, y)
        first, second = (bad, good) if part == "train" else (good, bad)
        attack(
            record,
            "data sets",
            f"{part}: {case}",
            lambda first=first, second=second: Dataset("mine", *first, *second, (1, 2, 3), ("a", "b", "c")),
        )
