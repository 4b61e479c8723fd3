"""Image files in folders and zip files: splits, classes, and faults by name."""

import pytest

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.facts import class_names
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.sources.find_images import find_source
from tests.engine.images.samples import (
    CIFAR10,
    CIFAR10_CLASSES,
    FOLDER,
    members,
    random_png,
    source_of,
    write_folder,
    write_zip,
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train/cat/000.png": b"no image"}, ["train/cat/000.png", "broken"]),
        ({"train/cat/000.png": random_png(1)[:60]}, ["train/cat/000.png", "broken"]),
        ({"train/cat/000.png": random_png(1, size=(9, 9))}, ["train/cat/000.png", "9x9", "6x4"]),
        ({"train/cat/000.png": random_png(1, mode="RGBA")}, ["train/cat/000.png", "transparent"]),
        ({"test/dog/000.png": random_png(1)}, ["dog", "needs both splits"]),
    ],
)
def test_unfit_file_is_named(tmp_path, change, words):
    write_folder(tmp_path / "pets", members() | change)
    with pytest.raises(DataError) as caught:
        find_source(FOLDER, tmp_path, fetch=False).read()
    for word in words:
        assert word in str(caught.value)


def test_val_counts_as_test_only_if_there_is_no_test_split(tmp_path):
    files = members() | {
        f"val/{name}/{i:03d}.png": random_png(5) for name in ("cat", "ant") for i in range(3)
    }
    write_folder(tmp_path / "a" / "pets", files)
    write_zip(tmp_path / "b" / "pets.zip", files)
    for name in "ab":
        assert len(find_source(FOLDER, tmp_path / name, fetch=False).read().test.labels) == 4


def test_cifar_as_image_files_has_the_official_order_of_classes(tmp_path):
    write_zip(tmp_path / "cifar10.zip", members(CIFAR10_CLASSES, 1, 1, size=(32, 32)))
    raw = find_source(CIFAR10, tmp_path, fetch=False).read()
    assert raw.class_names == CIFAR10_CLASSES
    assert raw.train.labels.tolist() == list(range(10))


def test_tiny_imagenet_as_its_archive_unpacks_equals_sorted_folders(tmp_path):
    ids = class_names.TINY_IMAGENET[:3]
    files = members(ids, 2, 2, size=(64, 64))
    write_zip(tmp_path / "sorted" / "tiny_imagenet.zip", files)
    base, labels = tmp_path / "raw" / "tiny-imagenet-200", []
    for name, content in files.items():
        split, wnid, file = name.split("/")
        plain = f"val_{wnid}_{file}"
        name = f"train/{wnid}/images/{file}" if split == "train" else f"val/images/{plain}"
        write_folder(base, {name: content})
        if split == "test":
            labels.append(f"{plain}\t{wnid}\t0\t0\t62\t62")
    (base / "val" / "val_annotations.txt").write_text("\n".join(labels))
    tiny = Dataset(name="tiny_imagenet")
    datasets = [find_source(tiny, tmp_path / p, fetch=False).read() for p in ("sorted", "raw")]
    assert datasets[0].fingerprint == datasets[1].fingerprint
    assert datasets[0].class_names == ids


def test_archive_members_that_are_not_class_files_are_counted_and_not_read(tmp_path):
    strange = {
        "../evil/train/a.png": b"",
        "/abs/x.png": b"",
        "train/x.png": b"",
        "README": b"",
        "a/b/c.png": b"",
    }
    write_zip(tmp_path / "pets.zip", members() | strange)
    source = source_of(tmp_path)
    assert source.read().train.per_class(2) == (3, 3)
    assert source.account.passed_over == {
        "with unsafe names": 2,
        "outside of class folders": 1,
        "without suffix": 1,
        "in a/": 1,
    }
    (tmp_path / "pets.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"pets\.zip is not a readable zip file"):
        source_of(tmp_path)
