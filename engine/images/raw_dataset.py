"""A dataset as read from its files: bytes, class-major, with a fingerprint of the content."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
LabelArray = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Images of one split as bytes, class-major."""

    images: Pixels
    """(n, channels, height, width)"""
    labels: LabelArray

    def per_class(self, classes: int) -> tuple[int, ...]:
        """Return the number of images of each class."""
        return tuple(int(count) for count in np.bincount(self.labels, minlength=classes))


@dataclass(frozen=True)
class RawDataset:
    """A dataset as read from its files."""

    train: Split
    test: Split
    class_names: tuple[str, ...]
    white: int
    """The pixel value that means 1.0: 255, or 16 for digits."""

    @property
    def fingerprint(self) -> str:
        """Hash of white and of the shapes, labels and pixels of both splits."""
        hasher = hashlib.sha256(json.dumps({"white": self.white}).encode())
        for split in (self.train, self.test):
            hasher.update(json.dumps(list(split.images.shape)).encode())
            hasher.update(split.labels.astype("<i8").tobytes())
            hasher.update(np.ascontiguousarray(split.images).data)
        return hasher.hexdigest()[:32]
