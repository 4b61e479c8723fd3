"""Datasets are read once, and their facts are those of the images."""

import numpy as np
import pytest

from ddspec.dsl.diagnostics import SpecError
from ddspec.engine.images.ingest import dataset_facts, statistics
from ddspec.engine.images.raw_dataset import RawDataset, Split
from ddspec.engine.store.store import Store
from tests.engine.images.samples import (
    CIFAR10,
    CIFAR10_CLASSES,
    FOLDER,
    members,
    random_png,
    warnings_for,
    write_folder,
    write_zip,
)


def test_images_are_read_again_only_after_a_file_changed(tmp_path, monkeypatch):
    write_folder(tmp_path / "pets", members())
    store = Store(tmp_path / "store")
    first = dataset_facts(FOLDER, tmp_path, store)
    with monkeypatch.context() as patched:
        patched.setattr(
            "ddspec.engine.images.find_images.decode_dataset",
            lambda *a: pytest.fail("decoded again"),
        )
        assert dataset_facts(FOLDER, tmp_path, store) == first
    (tmp_path / "pets/train/cat/000.png").write_bytes(random_png(777))
    assert dataset_facts(FOLDER, tmp_path, store).fingerprint != first.fingerprint


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


def test_statistics_are_the_mean_and_deviation_of_each_channel():
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 5, 5), dtype=np.uint8)
    images[:, 2] = 7
    split = Split(images, np.zeros(20, dtype=np.int64))
    mean, std = statistics(RawDataset(split, split, ("a",), white=255))
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(std[:2], (images / 255).std(axis=(0, 2, 3))[:2], atol=1e-6)
    assert std[2] == 0.001  # A constant channel must not divide images by zero.
