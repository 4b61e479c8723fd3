"""Readers that follow the conventions of public code, as doubles for tests.

They share nothing with ddspec, so that an export which only ddspec understands is noticed.
"""

import csv
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from torch import Tensor


def read_pair(folder: Path) -> tuple[Tensor, Tensor, float]:
    """Images, labels and learning rate as the evaluation of MTT and of DATM reads them.

    DATM takes the softmax of a matrix of labels; MTT trains on class numbers.
    """
    images = torch.load(folder / "images_best.pt", map_location="cpu", weights_only=True)
    labels = torch.load(folder / "labels_best.pt", map_location="cpu", weights_only=True)
    rate = torch.load(folder / "lr_best.pt", map_location="cpu", weights_only=True)
    taught = labels.float().softmax(-1) if labels.ndim == 2 else labels.long()
    return images.float(), taught, float(rate.item())


def read_image_folders(root: Path) -> tuple[Tensor, Tensor, list[str]]:
    """Images in [0, 1], labels and paths as torchvision's ImageFolder yields them."""
    classes = sorted(path.name for path in root.iterdir() if path.is_dir())
    images, labels, paths = [], [], []
    for label, name in enumerate(classes):
        for path in sorted((root / name).iterdir()):
            pixels = np.asarray(Image.open(path), dtype=np.float32) / 255
            images.append(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
            labels.append(label)
            paths.append(f"{root.name}/{name}/{path.name}")
    return torch.from_numpy(np.stack(images)), torch.tensor(labels), paths


def read_label_table(path: Path) -> dict[str, list[float]]:
    """Soft labels by the path of an image."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[0] == "image"
    return {row[0]: [float(share) for share in row[1:]] for row in rows}


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an .npz or an .h5 file."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in file}
