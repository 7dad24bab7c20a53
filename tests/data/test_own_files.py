"""Files of every kind are read alike, split alike, and what is wrong with one is a line."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from mupi.data.own.load import load_own, split
from mupi.data.own.raw import RawImages, RawTable, fingerprint
from mupi.data.own.reading import read_raw
from mupi.data.own.wanted import Wanted

LINES = ["age,city,label", *(f"{'' if i == 3 else i},{'Rome' if i % 3 else 'NA'},{'yn'[i % 2]}" for i in range(30))]


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def load(source: str, target: str | None = None, **options):
    settings = dict(task=None, test=None, test_share=0.2) | options
    ignore = settings.pop("ignore", ())
    return load_own(source, Wanted(target, ignore), **settings, generator=torch.Generator().manual_seed(0))


def test_a_table_is_the_same_in_every_format(tmp_path):
    import pyarrow
    from pyarrow import parquet

    source = write(tmp_path / "a.csv", *LINES)
    rows = [line.split(",") for line in LINES[1:]]
    age = [None if row[0] == "" else int(row[0]) for row in rows]
    city = [None if row[1] == "NA" else row[1] for row in rows]
    columns = dict(age=age, city=pyarrow.array(city).dictionary_encode(), label=[row[2] for row in rows])
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    write(tmp_path / "b.csv", *(line.replace(",", ";") for line in LINES))
    write(tmp_path / "c.csv", "," + LINES[0], *(f"{i},{line}" for i, line in enumerate(LINES[1:])))
    first = load(source, "label")
    for name in ("a.parquet", "b.csv", "c.csv"):
        other = load(str(tmp_path / name), "label")
        assert torch.equal(first.data.train_x, other.data.train_x) and first.data.classes == other.data.classes
        assert torch.equal(first.data.test_y, other.data.test_y)
    assert any("index" in note for note in other.notes)
    assert first.task == "classification" and first.data.classes == ("n", "y")
    assert any("`age` (1)" in note and "`city` (10)" in note for note in first.notes)


def test_a_column_that_numbers_the_rows_is_named(tmp_path):
    """Of a table that is sorted by the answer, before it was shuffled or since, it would be the answer."""
    lines = [f"{1000 + i},{i % 7},{2 * i},{i * i / 2},{'ab'[i > 9]}" for i in range(24)]
    orders = (lines, lines[::-1], random.Random(0).sample(lines, 24), random.Random(1).sample(lines, 20))
    for several in orders:
        found = load(write(tmp_path / "a.csv", "id,some,even,square,label", *several), "label")
        (note,) = (note for note in found.notes if "number the rows" in note)
        assert "`id`;" in note and note.endswith("--ignore id")
    few = load(write(tmp_path / "b.csv", "id,some,even,square,label", *lines[9::-1], lines[20]), "label")
    assert not any("number the rows" in note for note in few.notes)


def test_arrays_and_tensors_are_the_same(tmp_path):
    x, y = np.random.default_rng(0).random((20, 3)).astype(np.float32), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, tmp_path / "a.pt")
    torch.save((torch.from_numpy(x), torch.from_numpy(y)), tmp_path / "b.pt")
    found = [load(str(tmp_path / name)) for name in ("a.npz", "a.pt", "b.pt")]
    assert len({one.checksum for one in found}) == 1
    assert all(torch.equal(one.data.train_x, found[0].data.train_x) for one in found)


@pytest.mark.parametrize(
    "y, task, said",
    [
        (np.arange(30) % 3, "classification", "integers (0, 1, 2), taken as classes (--task regression"),
        (np.arange(30), "regression", "30 different integers, taken as numbers (--task classification"),
        (np.arange(30) % 3 * 1.0, "regression", "taken as numbers (--task classification"),
        (np.arange(30) / 7, "regression", None),
        (np.arange(30) % 2 == 0, "classification", None),
        (np.array(["b", "a", "c"] * 10), "classification", None),
    ],
)
def test_whole_numbers_are_never_classes_without_a_word(tmp_path, y, task, said):
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).random((30, 2)), y=y)
    found = load(str(tmp_path / "a.npz"))
    assert found.task == task
    assert any("--task" in note for note in found.notes) == (said is not None)
    assert said is None or any(said in note for note in found.notes)
    if task == "regression":
        values = torch.cat([found.data.train_y, found.data.test_y])[:, 0]
        units = found.data.numbers
        assert units is not None and found.data.outputs == 1
        assert sorted((units.mean + units.std * values.double()).tolist()) == pytest.approx(
            sorted(y.tolist()), abs=1e-5
        )


def test_integers_are_what_is_said(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).random((30, 2)), y=np.arange(30) % 12 - 2)
    assert load(str(tmp_path / "a.npz"), task="regression").data.numbers is not None
    found = load(str(tmp_path / "a.npz"), task="classification")
    assert found.data.classes == tuple(str(i) for i in range(-2, 10))
    assert not any("--task" in note for note in found.notes)


def test_a_split_has_of_each_class_the_same_share_and_is_its_seeds():
    strata = np.repeat([0, 1, 2], [50, 10, 1])
    train, test = split(strata, 0.2, torch.Generator().manual_seed(1))
    assert np.bincount(strata[test]).tolist() == [10, 2] and sorted([*train, *test]) == list(range(61))
    again, other = (split(strata, 0.2, torch.Generator().manual_seed(s))[1] for s in (1, 2))
    assert again.tolist() == test.tolist() != other.tolist()


def test_a_folder_of_images_and_one_of_images_without_classes(tmp_path):
    from PIL import Image

    draw = np.random.default_rng(0)
    for i in range(20):
        place = tmp_path / "ab"[i % 2]
        place.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (5, 4, 3), dtype=np.uint8)).save(place / f"{i}.png")
    found = load(str(tmp_path))
    assert found.data.image_shape == (3, 5, 4) and found.data.classes == ("a", "b")
    raw = read_raw(str(tmp_path / "a"), Wanted(only=()))
    assert isinstance(raw.inputs, RawImages) and raw.target is None and len(raw.inputs.files) == 10
    pixels = torch.from_numpy(raw.inputs.pixels).float()
    assert abs(found.meaning.inputs.module()(pixels).mean()) < 0.1
    Image.new("RGB", (9, 9)).save(tmp_path / "a" / "z.png")
    with pytest.raises(ValueError, match=r"images of one size.*--image-size"):
        load(str(tmp_path))
    assert read_raw(str(tmp_path), Wanted(size=6)).inputs.pixels.shape == (21, 3, 6, 6)
    (tmp_path / "a" / "inside").mkdir()
    with pytest.raises(ValueError, match="has folders in it, `inside`"):
        load(str(tmp_path))


@pytest.mark.slow
def test_a_saved_data_set_of_hugging_face_is_a_table_or_images(tmp_path):
    import datasets
    from PIL import Image

    labels = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features({"age": datasets.Value("int64"), "label": labels})
    table = datasets.Dataset.from_dict({"age": list(range(30)), "label": [i % 2 for i in range(30)]}, features=features)
    datasets.DatasetDict(train=table, test=table.select(range(5))).save_to_disk(str(tmp_path / "table"))
    found = load(f"hf:{tmp_path / 'table'}")
    assert len(found.data.train_x) == 30 and len(found.data.test_x) == 5 and found.data.classes == ("no", "yes")
    images = [Image.fromarray(np.full((4, 4), i, np.uint8)) for i in range(20)]
    shown = datasets.Dataset.from_dict(
        {"image": images, "label": [i % 2 for i in range(20)]},
        features=datasets.Features({"image": datasets.Image(), "label": labels}),
    )
    shown.save_to_disk(str(tmp_path / "images"))
    found = load(f"hf:{tmp_path / 'images'}")
    assert found.data.image_shape == (1, 4, 4) and len(found.data.test_x) == 4


def test_a_checksum_is_of_contents():
    def of(**columns):
        from mupi.data.own.raw import Raw

        return fingerprint(Raw("here", RawTable({n: np.array(v, object) for n, v in columns.items()})))

    assert of(a=["1", None]) == of(a=["1", None])
    assert len({of(a=["1", None]), of(b=["1", None]), of(a=["1", "None"]), of(a=["1", "2"])}) == 4
