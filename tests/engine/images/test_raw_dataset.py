"""The fingerprint of a dataset depends on its content, and on nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from ddspec.engine.images.raw_dataset import RawDataset, Split


@pytest.fixture
def raw():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 2, 2), dtype=np.uint8)
    train = Split(images, np.array([0, 0, 2, 2]))
    return RawDataset(train, Split(images[:1], np.array([2])), ("a", "b", "c"), white=255)


def test_images_are_counted_by_class(raw):
    assert raw.train.per_class(3) == (2, 0, 2)


def test_names_of_classes_do_not_change_the_fingerprint(raw):
    assert replace(raw, class_names=("x", "y", "z")).fingerprint == raw.fingerprint


def test_every_pixel_label_shape_and_white_changes_the_fingerprint(raw):
    images, labels = raw.train.images, raw.train.labels
    other_pixel = images.copy()
    other_pixel[3, 2, 1, 1] ^= 1
    changed = [
        replace(raw, white=16),
        replace(raw, train=Split(other_pixel, labels)),
        replace(raw, train=Split(images, np.array([0, 0, 1, 2]))),
        replace(raw, train=Split(images.reshape(4, 2, 3, 2), labels)),
        replace(raw, train=raw.test, test=raw.train),
    ]
    assert len({each.fingerprint for each in [raw, *changed]}) == len(changed) + 1
