import torch

from assertions import assert_close
from mupi.data import load
from mupi.data.drawings import MEAN, STD, load_drawings
from mupi.data.omniglot import load_characters
from omniglot_archives import write_archives


def test_characters_are_classes_and_the_last_drawers_are_the_test(tmp_path, monkeypatch):
    directory = write_archives(tmp_path, monkeypatch)
    data = load_drawings(directory, "background")
    assert data.train_x.shape == (13 * 15, 784) and data.test_x.shape == (13 * 5, 784)
    assert data.train_y.bincount().tolist() == [15] * 13
    assert data.test_y.bincount().tolist() == [5] * 13
    assert data.classes[0] == "Alphabet_of_the_Magi/character01"
    images = load_characters(directory, "images_background.zip").images.float() / 255
    assert_close(data.train_x[15 + 3] * STD + MEAN, images[1, 3])
    assert_close(data.test_x[5 + 3] * STD + MEAN, images[1, 18])


def test_some_characters_of_the_evaluation_alphabets(tmp_path, monkeypatch):
    directory = write_archives(tmp_path, monkeypatch)
    whole = load("omniglot-evaluation", directory)
    part = load("omniglot-evaluation", directory, classes=4, generator=torch.Generator().manual_seed(1))
    assert len(whole.classes) == 9 and len(part.classes) == 4
    assert part.test_y.bincount().tolist() == [5] * 4
    for x, y in zip(part.train_x, part.train_y, strict=True):
        same = (whole.train_x == x).all(1).nonzero()[:, 0]
        assert part.classes[int(y)] in {whole.classes[int(whole.train_y[i])] for i in same}
