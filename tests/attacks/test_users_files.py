"""Attacks by files of users: tables, arrays and folders that are not what they should be, to train on or to predict."""

import csv
import gzip
import pickle
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from commands import attempt, begin_nothing, outcome

# Here once, and not in each copy of the process.
for name in ("sklearn.impute", "sklearn.preprocessing", "pyarrow.parquet", "PIL.Image", "mupi.estimators", "tyro"):
    with suppress(ModuleNotFoundError):
        import_module(name)
for name in ("train", "predict"):
    with suppress(ModuleNotFoundError):
        import_module(f"mupi.commands.train.{name}")

ROWS = 40
TRAIN = "train --data FILE --target label --epochs 1 --drop-epoch None --overwrite"


def rows(seed: int = 0) -> list[dict[str, str]]:
    draw = np.random.default_rng(seed)
    return [
        dict(age=f"{draw.normal(40, 9):.2f}", city="ab"[i % 2], size=f"{i % 7}", label=["no", "yes"][i // 2 % 2])
        for i in range(ROWS)
    ]


def table(path: Path, found: Iterable[dict[str, str]], header: bool = True) -> None:
    found = list(found)
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, list(found[0]))
        if header:
            lines.writeheader()
        lines.writerows(found)


def changed(**changes: Callable[[int], str]) -> list[dict[str, str]]:
    return [row | {name: to(i) for name, to in changes.items()} for i, row in enumerate(rows())]


TABLES: dict[str, tuple[list[dict[str, str]], str]] = {
    "no target in some rows": (changed(label=lambda i: "" if i == 3 else "ab"[i % 2]), "missing"),
    "no target at all": (changed(label=lambda i: ""), "missing"),
    "one class": (changed(label=lambda i: "yes"), "two classes"),
    "a class for each row": (changed(label=lambda i: f"name {i}"), "come again"),
    "numbers that are all the same": (changed(label=lambda i: "1.5"), "differ"),
    "an infinite target": (changed(label=lambda i: "inf" if i == 2 else f"{i}.5"), "finite"),
    "an infinite number": (changed(age=lambda i: "inf" if i == 2 else f"{i}"), "finite"),
    "a huge number": (changed(age=lambda i: "1e300" if i == 2 else f"{i}"), "`age`"),
    "a column of names": (changed(city=lambda i: f"name {i}"), "--ignore city"),
    "a column without entries": (changed(age=lambda i: "NA"), "`age`"),
    "two rows": (rows()[:2], "`data`"),
    "one row": (rows()[:1], "`data`"),
    "a target only": ([{"label": row["label"]} for row in rows()], "beside the target"),
    "no such target": ([{"age": row["age"], "city": row["city"]} for row in rows()], "`target`"),
}


def more_than_a_hundred_words(path: Path) -> None:
    found = rows() * 50
    table(path, ({**row, "city": f"w{i % 1000}"} for i, row in enumerate(found)))


def write(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


HEAD = b"age,city,label\n"
FILES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "an empty file": ("a.csv", write(b""), "empty"),
    "a blank line": ("a.csv", write(b"\n"), "first line is empty"),
    "names only": ("a.csv", write(HEAD), "none"),
    "a short row": ("a.csv", write(HEAD + b"1,a,x\n2,b\n3,a,y\n"), "in line 3"),
    "a long row": ("a.csv", write(HEAD + b"1,a,x,9\n2,b,y,9\n"), "in line 2"),
    "two columns of one name": ("a.csv", write(b"age,age,label\n1,2,x\n2,3,y\n"), "two columns"),
    "a column without a name": ("a.csv", write(b"age,,label\n1,2,x\n2,3,y\n"), "column 2"),
    "an open quote": ("a.csv", write(HEAD + b'1,"a,x\n2,b,y\n'), "CSV"),
    "Latin-1": ("a.csv", write(HEAD + "1,Köln,x\n".encode("latin-1")), "UTF-8"),
    "UTF-16": ("a.csv", write("age,label\n1,x\n".encode("utf-16")), "UTF-8"),
    "null bytes": ("a.csv", write(HEAD + b"1,\0,x\n2,b,y\n"), "`data`"),
    "noise": ("a.csv", write(bytes(range(256)) * 9), "`data`"),
    "a damaged gzip": ("a.csv.gz", write(gzip.compress(HEAD * 99)[:40]), "`data`"),
    "no gzip": ("a.csv.gz", write(HEAD), "`data`"),
    "a thousand words": ("a.csv", more_than_a_hundred_words, "--ignore city"),
    "no Parquet": ("a.parquet", write(b"PAR1 and no more"), "Parquet"),
    "an Excel sheet": ("a.xlsx", write(b"PK\3\4"), ".csv"),
    "a text": ("a.txt", write(HEAD), ".csv"),
    "no npz": ("a.npz", write(b"x"), ".npz"),
    "objects in an npz": ("a.npz", lambda p: np.savez(p, x=np.array([{}], object), y=[1]), "Object arrays"),
    "an npz without x": ("a.npz", lambda p: np.savez(p, a=np.ones(3)), "x and y"),
    "an npz without y": ("a.npz", lambda p: np.savez(p, x=np.ones((9, 2))), "x and y"),
    "x and y of other lengths": ("a.npz", lambda p: np.savez(p, x=np.ones((9, 2)), y=np.arange(8)), "each row"),
    "channels last": ("a.npz", lambda p: np.savez(p, x=np.ones((9, 8, 8, 3)), y=np.arange(9) % 2), "transpose"),
    "NaN in images": ("a.npz", lambda p: np.savez(p, x=np.full((9, 8, 8), np.nan), y=np.arange(9) % 2), "finite"),
    "complex x": ("a.npz", lambda p: np.savez(p, x=np.ones((9, 2)) * 1j, y=np.arange(9) % 2), "complex"),
    "NaN in y": ("a.npz", lambda p: np.savez(p, x=np.ones((9, 2)), y=[np.nan] + [1.0] * 8), "missing"),
    "no tensors": ("a.pt", write(b"x" * 99), "torch.save"),
    "a pickle that runs code": ("a.pt", write(pickle.dumps(print)), "torch.save"),
    "a module": ("a.pt", lambda p: torch.save(torch.nn.Linear(2, 2), p), "torch.save"),
    "a tensor": ("a.pt", lambda p: torch.save(torch.ones(3), p), "pair"),
}


@pytest.fixture(autouse=True)
def nothing_begins(monkeypatch, request):
    if "predict" not in request.node.name:
        begin_nothing(monkeypatch)


def judge(record, case: str, args: str, directory: Path, names: str | None) -> None:
    """Refused with these words in one line, or accepted if there are none."""
    end = attempt(args.split(), directory)
    found = outcome(end, [names or ""], sensible=names is None)
    if found == "refused" and names is None:
        found = "lost"
    if found == "refused" and end.said.strip().count("\n"):
        found = "traceback"
    record("files", f"{case}: {end}", found)


def test_tables_that_cannot_be_learned_are_a_line(tmp_path, record):
    for case, (found, said) in TABLES.items():
        table(tmp_path / "a.csv", found)
        judge(record, case, TRAIN.replace("FILE", "a.csv"), tmp_path, said)


def test_files_that_are_none_are_a_line(tmp_path, record):
    for case, (name, make, said) in FILES.items():
        make(tmp_path / name)
        target = "--target label " if name.split(".")[1] in ("csv", "parquet", "xlsx", "txt") else ""
        judge(record, case, f"train --data {name} {target}--rank 4 --epochs 1", tmp_path, said)
        (tmp_path / name).unlink()
    judge(record, "no file", TRAIN.replace("FILE", "nothing.csv"), tmp_path, "exists")
    judge(record, "a device", TRAIN.replace("FILE", "/dev/null"), tmp_path, "no file")


def test_options_that_make_no_sense_are_a_line(tmp_path, record):
    table(tmp_path / "a.csv", rows())
    table(tmp_path / "b.csv", changed(label=lambda i: f"{i}.5"))
    table(tmp_path / "less.csv", ({"city": row["city"], "label": row["label"]} for row in rows()))
    table(tmp_path / "unlabelled.csv", ({n: row[n] for n in ("age", "city", "size")} for row in rows()))
    table(tmp_path / "new.csv", changed(label=lambda i: "perhaps"))
    train, numbers = (TRAIN.replace("FILE", name) for name in ("a.csv", "b.csv"))
    for args, said in {
        f"{train} --arch cnn": "`arch`",
        f"{train} --arch transformer": "`arch`",
        f"{train} --flip": "`flip`",
        f"{train} --shift 1": "`shift`",
        f"{train} --image-size 8": "`image_size`",
        f"{train} --task regression": "`task`",
        f"{train} --test-share 0": "test_share",
        f"{train} --test-share 1": "test_share",
        f"{train} --test-share 0.001": "test on",
        f"{train} --ignore nothing": "`ignore`",
        f"{train} --ignore label": "`ignore`",
        f"{train} --ignore age city size": "beside the target",
        f"{train} --test nothing.csv": "exists",
        f"{train} --test less.csv": "without `age`",
        f"{train} --test unlabelled.csv": "with targets",
        f"{train} --test new.csv": "among",
        f"{train} --classes 2": "--classes",
        f"{train} --dataset digits": "--data",
        f"{numbers} --task classification": "`task`",
        f"{numbers} --label-smoothing 0.1": "label_smoothing",
        "train --dataset own": "`data`",
        "train --target label": "--target",
        "train --data hf:": "`data`",
    }.items():
        judge(record, args, args, tmp_path, said)
    for args in (train, numbers, f"{train} --test a.csv", f"{train} --network mup --width 8"):
        judge(record, args, args, tmp_path, None)


def test_folders_that_are_no_classes_of_images_are_a_line(tmp_path, record):
    from PIL import Image

    def image(place: str, size: tuple[int, int] = (4, 4), mode: str = "RGB") -> None:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size).save(path)

    for split in ("train", "test"):
        for c in "ab":
            image(f"split/{split}/{c}/1.png")
    (tmp_path / "nothing").mkdir()
    image("flat/1.png")
    image("mixed/1.png"), image("mixed/a/1.png")
    image("sizes/a/1.png"), image("sizes/b/1.png", (5, 4))
    image("clear/a/1.png"), image("clear/b/1.png", mode="RGBA")
    image("deep/a/1.png"), image("deep/b/1.png", mode="I;16")
    image("empty/a/1.png"), (tmp_path / "empty/b").mkdir()
    image("broken/a/1.png"), image("broken/b/1.png")
    content = (tmp_path / "broken/b/1.png").read_bytes()
    (tmp_path / "broken/b/1.png").write_bytes(content[: len(content) // 2])
    image("single/a/1.png"), image("single/a/2.png")
    for folder, said in dict(
        split="folders in it", nothing="with images", flat="each class", mixed="and with folders", sizes="one size",
        clear="transparent", deep="8 bits", empty="none in `b`", broken="be read", single="two classes",
    ).items():  # fmt: skip
        judge(record, folder, f"train --data {folder}", tmp_path, said)


def test_rows_to_predict_that_are_not_those_of_training(tmp_path, record):
    table(tmp_path / "a.csv", rows())
    judge(record, "training", TRAIN.replace("FILE", "a.csv") + " --name r", tmp_path, None)
    table(tmp_path / "right.csv", ({"size": r["size"], "city": r["city"], "age": r["age"]} for r in rows(1)))
    table(tmp_path / "gaps.csv", ({**r, "age": "", "city": "zz"} for r in rows(1)))
    table(tmp_path / "less.csv", ({"city": r["city"]} for r in rows(1)))
    table(tmp_path / "words.csv", ({**r, "age": "old"} for r in rows(1)))
    table(tmp_path / "infinite.csv", ({**r, "age": "-inf"} for r in rows(1)))
    np.savez(tmp_path / "x.npz", x=np.ones((4, 3)))
    np.savez(tmp_path / "images.npz", x=np.ones((4, 3, 3)))
    (tmp_path / "empty.csv").touch()
    (tmp_path / "names.csv").write_text("age,city,size\n")
    for name, said in {
        "right.csv": None,
        "gaps.csv": None,
        "a.csv": None,
        "less.csv": "without `age`",
        "words.csv": "`age`",
        "infinite.csv": "finite",
        "x.npz": "without `age`",
        "images.npz": "a table",
        "empty.csv": "empty",
        "names.csv": "none",
        "nothing.csv": "exists",
    }.items():
        judge(record, f"predict {name}", f"predict runs/r {name}", tmp_path, said)
    judge(record, "predict of no run", "predict runs/none right.csv", tmp_path, "missing")
    # What was predicted is of the rows in their order, whatever the order of columns.
    found = []
    for name in ("a.csv", "turned.csv"):
        table(tmp_path / "turned.csv", ({n: r[n] for n in ("label", "size", "city", "age")} for r in rows()))
        judge(record, f"predict {name}", f"predict runs/r {name} --out {name}.out", tmp_path, None)
        out = tmp_path / f"{name}.out"
        found.append(out.read_text() if out.exists() else None)
    record("files", "columns in another order", "right" if found[0] == found[1] else "silent")
