"""Datasets are datasets wherever they lie, with the same images in the same order."""

import pytest

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.facts import class_names
from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.sources.find_images import find_source, read_digits
from tests.engine.images.samples import (
    CIFAR10,
    FOLDER,
    members,
    write_folder,
    write_zip,
)


def test_folder_and_both_kinds_of_zip_have_the_same_fingerprint(tmp_path):
    files = members()
    write_folder(tmp_path / "a" / "pets", files)
    write_zip(tmp_path / "b" / "pets.zip", files)
    for split, name in (("train", "train"), ("test", "val")):
        part = {k.split("/", 1)[1]: v for k, v in files.items() if k.startswith(split)}
        halves = list(part.items())
        write_zip(tmp_path / "c" / "pets" / f"{name}-00.zip", dict(halves[::2]))
        write_zip(tmp_path / "c" / "pets" / f"{name}-01.zip", dict(halves[1::2]))
    datasets = [find_source(FOLDER, tmp_path / name, fetch=False).read() for name in "abc"]
    assert len({raw.fingerprint for raw in datasets}) == 1
    assert datasets[0].class_names == ("ant", "cat")
    assert datasets[0].train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert datasets[0].train.images.shape == (6, 3, 4, 6)


def test_digits_are_split_as_their_facts_say():
    raw, facts = read_digits(), KNOWN["digits"]
    assert raw.train.per_class(10) == facts.train_per_class
    assert raw.test.per_class(10) == facts.test_per_class
    pixels = raw.train.images / raw.white
    assert pixels.mean() == pytest.approx(facts.mean[0], abs=1e-4)
    assert pixels.std() == pytest.approx(facts.std[0], abs=1e-4)


def test_missing_folder_says_what_to_place_where(tmp_path):
    with pytest.raises(DataError) as caught:
        find_source(FOLDER, tmp_path, fetch=False)
    assert "pets/train/CLASS/FILE" in caught.value.hint


def test_missing_cifar_says_what_to_place_where(tmp_path, monkeypatch):
    def refuse(*a, **k):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", refuse)
    with pytest.raises(DataError, match="no route to host") as caught:
        find_source(CIFAR10, tmp_path / "new", fetch=True)
    assert "cifar-10-batches-py" in caught.value.hint
    assert "cifar10.zip" in caught.value.hint


def test_missing_dataset_is_neither_downloaded_nor_given_a_folder_unless_asked(tmp_path):
    with pytest.raises(DataError, match="is not in"):
        find_source(CIFAR10, tmp_path / "typo", fetch=False)
    assert not (tmp_path / "typo").exists()


def test_imagenet_subset_is_read_from_its_folder_or_from_all_of_imagenet(tmp_path):
    ids = class_names.IMAGENET["imagewoof"]
    files = members(tuple(ids), 2, 1, size=(20, 30))
    write_folder(tmp_path / "a" / "imagewoof", files)
    write_folder(tmp_path / "b" / "imagenet", files | members(("n00000001",), 2, 1))
    woof = Dataset(name="imagewoof", resolution=16)
    datasets = [find_source(woof, tmp_path / name, fetch=False).read() for name in "ab"]
    assert datasets[0].fingerprint == datasets[1].fingerprint
    assert datasets[0].class_names == tuple(ids.values()) == KNOWN["imagewoof"].class_names
    assert datasets[0].train.images.shape == (20, 3, 16, 16)
    with pytest.raises(DataError) as caught:
        find_source(woof, tmp_path / "none", fetch=False)
    assert "n02096294" in caught.value.hint
