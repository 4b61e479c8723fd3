"""CIFAR and SVHN are read from the published files alone, unpacked or in their archive."""

import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.sources.find_images import find_source
from tests.engine.images.samples import (
    CIFAR10,
    CIFAR10_CLASSES,
    members,
    write_folder,
    write_zip,
)

BATCHES, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
SVHN = Dataset(name="svhn")


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A small CIFAR-10 as {file name: bytes}, whose checksums torchvision lists."""
    write_zip(tmp_path / "expected" / "cifar10.zip", members(CIFAR10_CLASSES, 3, 2, size=(32, 32)))
    raw = find_source(CIFAR10, tmp_path / "expected", fetch=False).read()
    files = {}
    for split, part in (("train", raw.train), ("test", raw.test)):
        shuffled = np.random.default_rng(0).permutation(part.labels)
        ranks = {label: iter(np.flatnonzero(part.labels == label)) for label in range(10)}
        order = [next(ranks[label]) for label in shuffled]
        data = part.images[order].reshape(len(order), -1)
        sums = []
        for number, half in enumerate(np.array_split(np.arange(len(order)), 2)):
            batch = {"data": data[half], "labels": shuffled[half].tolist()}
            files[f"{split}_{number}"] = pickle.dumps(batch)
            sums.append((f"{split}_{number}", md5(files[f"{split}_{number}"])))
        monkeypatch.setattr(f"torchvision.datasets.CIFAR10.{split}_list", sums)
    return files, raw.fingerprint


def write_archive(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_batches_and_their_archive_are_the_dataset_of_image_files(tmp_path, cifar):
    files, fingerprint = cifar
    write_folder(tmp_path / "a" / BATCHES, files)
    (tmp_path / "b").mkdir()
    write_archive(tmp_path / "b" / ARCHIVE, {f"{BATCHES}/{k}": v for k, v in files.items()})
    for folder, label in (("a", BATCHES), ("b", ARCHIVE)):
        source = find_source(CIFAR10, tmp_path / folder, fetch=False)
        assert source.label == label
        assert source.read().fingerprint == fingerprint
    assert [path.name for path in (tmp_path / "b").iterdir()] == [ARCHIVE]


def test_altered_batch_is_never_unpickled(tmp_path, cifar):
    files, _ = cifar

    class Program:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    write_folder(tmp_path / BATCHES, files | {"train_1": pickle.dumps(Program())})
    with pytest.raises(DataError, match=r"train_1 of .* is not the published file"):
        find_source(CIFAR10, tmp_path, fetch=False).read()
    assert not (tmp_path / "executed").exists()


def test_folder_that_is_unpacked_in_part_is_refused(tmp_path, cifar):
    files, _ = cifar
    del files["train_1"]
    write_folder(tmp_path / BATCHES, files)
    with pytest.raises(DataError, match="is incomplete: it lacks train_1"):
        find_source(CIFAR10, tmp_path, fetch=False).read()
    (tmp_path / BATCHES / "train_1").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="it is a device, not a regular file"):
        find_source(CIFAR10, tmp_path, fetch=False).read()


def test_damaged_archive_is_refused_in_words(tmp_path, cifar):
    files, _ = cifar
    path = tmp_path / ARCHIVE
    write_archive(path, files)
    whole = path.read_bytes()
    middle = len(whole) // 2
    wrong = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for content in (b"", b"<!doctype html>", whole[:middle], wrong):
        path.write_bytes(content)
        with pytest.raises(DataError, match=ARCHIVE) as caught:
            find_source(CIFAR10, tmp_path, fetch=False).read()
        assert caught.value.hint
    write_archive(path, {"train_0": files["train_0"]})
    with pytest.raises(DataError, match="lacks train_1, test_0, test_1"):
        find_source(CIFAR10, tmp_path, fetch=False).read()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="it is a pipe"):
        find_source(CIFAR10, tmp_path, fetch=False).read()


def test_svhn_is_read_with_the_label_ten_as_zero(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 10), dtype=np.uint8)
    stream, split_list = io.BytesIO(), {}
    savemat(stream, {"X": pixels, "y": np.arange(1, 11)[::-1, None]})
    for split in ("train", "test"):
        name = f"{split}_32x32.mat"
        split_list[split] = ["", name, md5(stream.getvalue())]
        (tmp_path / name).write_bytes(stream.getvalue())
    monkeypatch.setattr("torchvision.datasets.SVHN.split_list", split_list)
    raw = find_source(SVHN, tmp_path, fetch=False).read()
    assert raw.train.labels.tolist() == list(range(10))
    assert np.array_equal(raw.train.images[0], pixels[..., 0].transpose(2, 0, 1))
    assert np.array_equal(raw.train.images[1], pixels[..., 9].transpose(2, 0, 1))
    (tmp_path / "train_32x32.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(DataError, match=r"train_32x32\.mat is not the published file"):
        find_source(SVHN, tmp_path, fetch=False).read()
    (tmp_path / "train_32x32.mat").unlink()
    with pytest.raises(DataError, match=r"lacks train_32x32\.mat"):
        find_source(SVHN, tmp_path, fetch=False).read()
