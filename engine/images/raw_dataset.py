"""A dataset as it was read: bytes, class-major, with a fingerprint of their content."""

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
        """Images of each class."""
        return tuple(int(count) for count in np.bincount(self.labels, minlength=classes))


@dataclass(frozen=True)
class RawDataset:
    """A dataset as it was read."""

    train: Split
    test: Split
    class_names: tuple[str, ...]
    white: int
    """The value that means 1.0."""

    @property
    def fingerprint(self) -> str:
        """Hash of shapes, labels, pixels and white in canonical order."""
        hashed = hashlib.sha256(json.dumps({"white": self.white}).encode())
        for split in (self.train, self.test):
            hashed.update(json.dumps(list(split.images.shape)).encode())
            hashed.update(split.labels.astype("<i8").tobytes())
            hashed.update(np.ascontiguousarray(split.images).data)
        return hashed.hexdigest()[:32]
