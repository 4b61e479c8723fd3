"""Datasets are read once, and their facts are those of the images."""

import io
import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from ddspec.dsl.diagnostics import SpecError
from ddspec.dsl.facts import class_names
from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.raw_dataset import RawDataset, Split
from ddspec.engine.images.real_data import load_data
from ddspec.engine.images.sources.ingest import dataset_facts, statistics
from ddspec.engine.store.store import Store
from tests.engine.images.samples import (
    CIFAR10,
    CIFAR10_CLASSES,
    CPU,
    FOLDER,
    members,
    plan_of,
    png_of,
    random_png,
    warnings_for,
    write_folder,
    write_zip,
)


@pytest.fixture
def settled(monkeypatch):
    """Let files that were just written count as old."""
    monkeypatch.setattr("ddspec.engine.images.sources.image_source.SETTLING_NS", 0)


def forbid_decoding(monkeypatch):
    """Fail the test if images are decoded."""
    monkeypatch.setattr(
        "ddspec.engine.images.sources.find_images.decode_dataset",
        lambda *a: pytest.fail("decoded again"),
    )


def test_images_are_read_again_only_after_a_file_changed(tmp_path, monkeypatch, settled):
    write_folder(tmp_path / "pets", members())
    store = Store(tmp_path / "store")
    first = dataset_facts(FOLDER, tmp_path, store)
    with monkeypatch.context() as patched:
        forbid_decoding(patched)
        assert dataset_facts(FOLDER, tmp_path, store) == first
    (tmp_path / "pets/train/cat/000.png").write_bytes(random_png(777))
    assert dataset_facts(FOLDER, tmp_path, store).fingerprint != first.fingerprint


def other_version(folder):
    """Write files of equal names and sizes and of one time, but with other pixels."""
    files = {}
    for name in members():
        stream = io.BytesIO()
        Image.new("RGB", (6, 4), "red" if folder.name == "v1" else "blue").save(stream, "BMP")
        files[name.replace(".png", ".bmp")] = stream.getvalue()
    write_folder(folder / "pets", files)
    for path in (folder / "pets").rglob("*.bmp"):
        os.utime(path, (315_532_800, 315_532_800))


@pytest.mark.parametrize("kind", ["other folder", "other folder in its place", "written in place"])
def test_other_images_with_equal_names_sizes_and_times_are_read(tmp_path, kind, settled):
    store = Store(tmp_path / "store")
    other_version(tmp_path / "v1")
    other_version(tmp_path / "v2")
    first = dataset_facts(FOLDER, tmp_path / "v1", store)
    expected = dataset_facts(FOLDER, tmp_path / "v2", Store(tmp_path / "fresh"))
    second = tmp_path / "v2"
    if kind == "other folder in its place":
        (tmp_path / "v1").rename(tmp_path / "old")
        second = (tmp_path / "v2").rename(tmp_path / "v1")
    if kind == "written in place":
        for path in (tmp_path / "v2").rglob("*.bmp"):
            shutil.copy2(path, tmp_path / "v1" / path.relative_to(tmp_path / "v2"))
        second = tmp_path / "v1"
    assert dataset_facts(FOLDER, second, store).fingerprint == expected.fingerprint
    assert first.fingerprint != expected.fingerprint


def test_facts_of_files_younger_than_two_seconds_are_neither_used_nor_kept(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    write_folder(tmp_path / "pets", members())
    first = dataset_facts(FOLDER, tmp_path, store)
    assert not (store.root / "notes").exists()
    (artifact,) = (store.root / "dataset").glob("*.h5")
    before = artifact.stat().st_mtime_ns
    assert dataset_facts(FOLDER, tmp_path, store) == first
    assert artifact.stat().st_mtime_ns == before  # Equal images are not written again.
    time.sleep(2.1)
    assert dataset_facts(FOLDER, tmp_path, store) == first
    forbid_decoding(monkeypatch)
    assert dataset_facts(FOLDER, tmp_path, store) == first
    (tmp_path / "pets/train/cat/000.png").touch()
    with pytest.raises(pytest.fail.Exception, match="decoded again"):
        dataset_facts(FOLDER, tmp_path, store)


def test_equal_images_under_other_names_of_classes_can_share_a_store(tmp_path, settled):
    store = Store(tmp_path / "store")
    for folder, classes in (("a", ("ant", "cat")), ("b", ("bee", "dog"))):
        files = {
            n.replace("ant", classes[0]).replace("cat", classes[1]): c for n, c in members().items()
        }
        write_folder(tmp_path / folder / "pets", files)
    for folder, classes in (("a", ("ant", "cat")), ("b", ("bee", "dog"))) * 2:
        facts = dataset_facts(FOLDER, tmp_path / folder, store)
        assert facts.class_names == classes
        data = load_data(plan_of(facts).step("dataset"), store, CPU)
        assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_cifar_without_a_class_is_refused_unless_the_spec_names_its_classes(tmp_path):
    write_zip(tmp_path / "cifar10.zip", members(CIFAR10_CLASSES[:9], 3, 1, size=(32, 32)))
    facts = dataset_facts(CIFAR10, tmp_path, Store(tmp_path / "store"))
    with pytest.raises(SpecError, match="9 of the 10 classes of cifar10"):
        warnings_for(facts)
    with pytest.raises(SpecError, match='no class "truck"'):
        warnings_for(facts, 'dataset.classes=["cat", "truck"]')
    (warned,) = warnings_for(facts, 'dataset.classes=["cat", "dog"]')
    assert (warned.code, warned.severity) == ("incomplete-dataset", "warning")


def test_cifar_with_missing_images_gives_a_warning(tmp_path):
    write_zip(tmp_path / "cifar10.zip", members(CIFAR10_CLASSES, 3, 1, size=(32, 32)))
    facts = dataset_facts(CIFAR10, tmp_path, Store(tmp_path / "store"))
    (warned,) = warnings_for(facts)
    assert "30 of the 50,000 train images" in warned.problem


def test_other_split_of_a_known_dataset_gives_a_warning(tmp_path):
    """fastai's Imagenette tests on images that others train on."""
    files = members(tuple(class_names.IMAGENET["imagenette"]), 3, 2, size=(8, 8))
    write_folder(tmp_path / "imagenette2-160", files)
    dataset = Dataset(name="imagenette", resolution=8)
    facts = dataset_facts(dataset, tmp_path, Store(tmp_path / "store"))
    change = ['dataset.name="imagenette"', "dataset.resolution=8", "network.depth=1"]
    (warned,) = warnings_for(facts, *change)
    assert (warned.code, warned.severity) == ("other-split", "warning")
    assert "20 test images, where the published split has 500" in warned.problem
    assert "published accuracies of imagenette do not apply" in warned.problem
    published = facts.model_copy(update={"test_per_class": (50,) * 10})
    assert not warnings_for(published, *change)
    assert not warnings_for(KNOWN["cifar10"])
    more = KNOWN["cifar10"].model_copy(update={"train_per_class": (5001,) * 10})
    (warned,) = warnings_for(more)
    assert "50,010 training images, where the published split has 50,000" in warned.problem


def test_statistics_are_the_mean_and_deviation_of_each_channel():
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 5, 5), dtype=np.uint8)
    images[:, 2] = 7
    split = Split(images, np.zeros(20, dtype=np.int64))
    mean, std = statistics(RawDataset(split, split, ("a",), white=255))
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(std[:2], (images / 255).std(axis=(0, 2, 3))[:2], atol=1e-6)
    assert std[2] == 0.001  # A constant channel must not divide images by zero.


@pytest.mark.parametrize("values", [(0, 0), (255, 255), (0, 1)], ids=["black", "white", "masks"])
def test_images_that_show_nothing_are_named_before_any_work(values, tmp_path):
    """Black images, and masks of 0 and 1, ended as a learned student_lr below zero."""

    def png(first, second):
        pixels = np.full((6, 4), first, dtype=np.uint8)
        pixels[::2] = second
        return png_of(Image.fromarray(pixels))

    files = {
        f"{split}/{label}/{number}.png": png(*values)
        for split, count in (("train", 3), ("test", 2))
        for label in ("ant", "cat")
        for number in range(count)
    }
    write_folder(tmp_path / "mine", files)
    dataset = Dataset(name="folder", root="mine")
    facts = dataset_facts(dataset, tmp_path, Store(tmp_path / "store"))
    change = ['dataset={name="folder", root="mine"}', "network.depth=1"]
    (warned,) = warnings_for(facts, *change)
    assert (warned.code, warned.severity) == ("constant-images", "warning")
    assert "all pixels of all training images have about the same value" in warned.problem
