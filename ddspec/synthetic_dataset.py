"""Synthetic sets as datasets of torch, for training loops of one's own."""

from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.record.file_names import SYNTHETIC_H5
from ddspec.dsl.record.synthetic_set import PixelSpace
from ddspec.engine.exchange.set_content import read_content


class SyntheticDataset(TensorDataset):
    """Pairs of a synthetic image and its label, with what training on them needs."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        student_lr: float | None,
        pixels: PixelSpace | None,
        class_names: tuple[str, ...],
    ) -> None:
        super().__init__(images, labels)
        self.images = images
        """(n, c, h, w) in float32, as `pixels` says; networks must see test images so, too."""
        self.labels = labels
        """(n,) classes, or (n, classes) probabilities."""
        self.student_lr = student_lr
        """Learning rate to train with; None if the file does not say one."""
        self.pixels = pixels
        """What the numbers of the pixels are; None if the file does not say it."""
        self.class_names = class_names
        """Classes in the order of their labels; empty if the file does not say them."""


def load_set(path: str | PathLike[str]) -> SyntheticDataset:
    """Return the synthetic set in a run folder or a file as a dataset of torch.

    Files are those that `ddspec import --synthetic` reads: synthetic.h5, set.h5, .npz, a folder
    of images, or a .pt with both images and labels. Raises DataError if the file cannot be read
    or lacks one of them.
    """
    file = Path(path)
    if (file / SYNTHETIC_H5).is_file():
        file = file / SYNTHETIC_H5
    content = read_content(file)
    if content.images is None or content.labels is None:
        missing = "images" if content.images is None else "labels"
        raise DataError(
            f"{file.name} contains no {missing}",
            hint="load_set reads images and labels from one file",
        )
    images, labels = content.images, content.labels
    kind = np.int64 if labels.ndim == 1 else np.float32
    return SyntheticDataset(
        torch.from_numpy(images.astype(np.float32)),
        torch.from_numpy(labels.astype(kind)),
        content.student_lr,
        content.pixels,
        content.class_names,
    )
