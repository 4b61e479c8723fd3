"""Datasets are datasets wherever they lie, with the same images in the same order."""

import numpy as np
import pytest

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.facts import class_names
from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.find_images import find_source, read_digits
from tests.engine.images.samples import (
    CIFAR10,
    CIFAR10_CLASSES,
    FOLDER,
    idx,
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


def test_mnist_is_read_from_its_original_files(tmp_path):
    random, files = np.random.default_rng(0), {}
    labels = {"train": np.tile(np.arange(10), 2), "t10k": np.arange(10)}
    images = {split: random.integers(0, 256, (len(each), 28, 28)) for split, each in labels.items()}
    for split in labels:
        files[f"{split}-images-idx3-ubyte"] = idx(images[split])
        files[f"{split}-labels-idx1-ubyte"] = idx(labels[split])
    write_folder(tmp_path / "MNIST" / "raw", files)
    raw = find_source(Dataset(name="mnist"), tmp_path, fetch=False).read()
    assert raw.train.images.shape == (20, 1, 28, 28)
    assert np.array_equal(raw.train.images[0, 0], images["train"][0])
    assert np.array_equal(raw.train.images[1, 0], images["train"][10])
    larger = find_source(Dataset(name="mnist", resolution=32), tmp_path, fetch=False).read()
    assert larger.train.images.shape == (20, 1, 32, 32)


def test_svhn_is_loaded_with_the_arguments_of_its_loader(tmp_path, monkeypatch):
    class Loader:
        """torchvision gives SVHN as (n, 3, 32, 32), and takes the split by name."""

        def __init__(self, root, split, download):
            self.labels = np.arange(10)[::-1]
            self.data = np.full((10, 3, 32, 32), 7 if split == "train" else 9, np.uint8)

    monkeypatch.setattr("torchvision.datasets.SVHN", Loader)
    (tmp_path / "train_32x32.mat").touch()
    raw = find_source(Dataset(name="svhn"), tmp_path, fetch=False).read()
    assert (raw.train.images == 7).all() and (raw.test.images == 9).all()
    assert raw.train.labels.tolist() == list(range(10))


def test_torchvision_and_image_files_have_the_same_fingerprint(tmp_path, monkeypatch):
    """torchvision's files are shuffled over classes; within a class their order is official."""
    files = members(CIFAR10_CLASSES, 3, 2, size=(32, 32))
    write_zip(tmp_path / "cifar10.zip", files)
    expected = find_source(CIFAR10, tmp_path, fetch=False).read()
    shuffled = np.random.default_rng(0).permutation

    class Loader:
        """torchvision gives CIFAR-10 as (n, 32, 32, 3) and a list of labels."""

        def __init__(self, root, train, download):
            split = expected.train if train else expected.test
            ranks = {label: iter(np.flatnonzero(split.labels == label)) for label in range(10)}
            self.targets = [int(label) for label in shuffled(split.labels)]
            order = [next(ranks[label]) for label in self.targets]
            self.data = split.images[order].transpose(0, 2, 3, 1)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Loader)
    (tmp_path / "own" / "cifar-10-batches-py").mkdir(parents=True)
    loaded = find_source(CIFAR10, tmp_path / "own", fetch=False).read()
    assert loaded.fingerprint == expected.fingerprint
