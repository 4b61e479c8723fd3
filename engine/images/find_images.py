"""Where the images of a dataset lie, and reading them in one canonical order.

Whatever the source, images are class-major: classes in the dataset's own order, within a class
by official rank (the order of torchvision's files, or of sorted file names). So the same data
gives the same fingerprint and the same numbers. Files are read where they lie; nothing of an
archive is unpacked to disk.
"""

import hashlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ddspec.dsl.diagnostics import DataError, DataMissing
from ddspec.dsl.facts.class_names import folders_of
from ddspec.dsl.facts.datasets import DIGITS_SPLIT_SEED, KNOWN, side_of
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.terms import DatasetName, ImageNetSubset
from ddspec.engine.images.decode import resized_arrays
from ddspec.engine.images.image_files import (
    TINY_FOLDER,
    ImageFiles,
    decode_dataset,
    file_state,
    first_line,
    image_files,
    tiny_imagenet_as_published,
    where_to_place,
)
from ddspec.engine.images.raw_dataset import LabelArray, Pixels, RawDataset, Split


@dataclass(frozen=True)
class ImageSource:
    """A place that holds a dataset: how to read it, and how to notice that it changed."""

    signature: str
    """Changes with the names, sizes and times of the files."""
    read: Callable[[], RawDataset]


def data_folder(given: Path | None) -> Path:
    """--data, else $DDSPEC_DATA, else a folder in the user's cache."""
    if given is not None:
        return given
    if os.environ.get("DDSPEC_DATA"):
        return Path(os.environ["DDSPEC_DATA"])
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "ddspec" / "data"


@dataclass(frozen=True)
class Layout:
    """How torchvision keeps a dataset: its files or folders, and the loader that reads them."""

    names: tuple[str, ...]
    loader: str

    def is_in(self, base: Path) -> bool:
        """Whether the dataset lies there, in whatever state."""
        return any((base / name).exists() for name in self.names)

    def files(self, base: Path) -> list[Path]:
        """The files that are there."""
        return [
            path
            for place in (base / name for name in self.names if (base / name).exists())
            for path in (sorted(place.iterdir()) if place.is_dir() else [place])
            if path.is_file()
        ]


TORCHVISION: Mapping[DatasetName, Layout] = {
    "mnist": Layout(("MNIST/raw",), "MNIST"),
    "fashion_mnist": Layout(("FashionMNIST/raw",), "FashionMNIST"),
    "svhn": Layout(("train_32x32.mat", "test_32x32.mat"), "SVHN"),
    "cifar10": Layout(("cifar-10-batches-py",), "CIFAR10"),
    "cifar100": Layout(("cifar-100-python",), "CIFAR100"),
}
"""Datasets that torchvision reads and downloads."""

IMAGENET_FOLDER = "imagenet"
"""A folder with all classes of ImageNet, of which a subset takes its own."""


def find_source(dataset: Dataset, folder: Path, fetch: bool) -> ImageSource:
    """The place where a dataset lies; with `fetch`, downloaded where a network allows.

    Raises DataError that says what to place where.
    """
    if dataset.name == "digits":
        return resized_source(signature("digits", [version("scikit-learn")]), read_digits, dataset)
    layout = TORCHVISION.get(dataset.name)
    for base in (folder, folder / dataset.name) if layout else ():
        if layout and layout.is_in(base):
            return torchvision_source(base, layout, dataset)
    name = dataset.root or dataset.name
    found = image_files(folder, name) or other_image_files(dataset, folder)
    if found is not None:
        read = partial(decode_dataset, found.files, dataset, KNOWN.get(dataset.name))
        return ImageSource(
            signature(name, [*sorted(found.state), *preparation_parts(dataset)]), read
        )
    if layout is None:
        hint = f"place {where_to_place(name)}"
        raise DataMissing(f'"{name}" is not in {folder}', hint=hint + other_places_hint(dataset))
    if not fetch:
        raise DataMissing(
            f"{dataset.name} is not in {folder}",
            hint=f"ddspec run downloads it where a network allows; or place torchvision's "
            f"{' and '.join(layout.names)} there, or {where_to_place(dataset.name)}",
        )
    download(folder, layout, dataset.name)
    return torchvision_source(folder, layout, dataset)


def other_image_files(dataset: Dataset, folder: Path) -> ImageFiles | None:
    """Image files in a folder that is not called by the dataset's name."""
    if dataset.name == "tiny_imagenet":
        return tiny_imagenet_as_published(folder)
    if dataset.name in get_args(ImageNetSubset):
        return image_files(folder, IMAGENET_FOLDER, frozenset(folders_of(dataset.name)))
    return None


def other_places_hint(dataset: Dataset) -> str:
    """What else a dataset can be read from, in words."""
    if dataset.name == "tiny_imagenet":
        return f"; or the folder {TINY_FOLDER} as its archive unpacks"
    if dataset.name in get_args(ImageNetSubset):
        ids = ", ".join(folders_of(dataset.name))
        return f"; or {IMAGENET_FOLDER}/ with all of ImageNet. CLASS is {ids}"
    return ""


def preparation_parts(dataset: Dataset) -> Iterator[str]:
    """What of the spec changes how files become arrays."""
    yield from (dataset.color, dataset.alpha, str(side_of(dataset)), dataset.fit)


def resized_source(state: str, read: Callable[[], RawDataset], dataset: Dataset) -> ImageSource:
    """A source of arrays, brought to the resolution that is asked for."""
    side = dataset.resolution
    if side is None:
        return ImageSource(state, read)

    def resized() -> RawDataset:
        raw = read()
        train, test = (
            Split(resized_arrays(part.images, raw.white, side, dataset.fit), part.labels)
            for part in (raw.train, raw.test)
        )
        return RawDataset(train, test, raw.class_names, white=255)

    return ImageSource(signature(state, preparation_parts(dataset)), resized)


def download(folder: Path, layout: Layout, name: str) -> None:
    """Let torchvision fetch a dataset. Raises DataError that says what to place where."""
    from torchvision import datasets

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        loader = getattr(datasets, layout.loader)
        for split in splits_of(layout):
            loader(root=folder, download=True, **split)
    except (OSError, RuntimeError) as error:
        raise DataMissing(
            f"{name} is not in {folder} and could not be downloaded ({first_line(error)})",
            hint=f"place torchvision's {' and '.join(layout.names)} there, "
            f"or {where_to_place(name)}",
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def splits_of(layout: Layout) -> tuple[dict[str, Any], dict[str, Any]]:
    """How a loader is asked for the training and for the test images."""
    if layout.loader == "SVHN":
        return {"split": "train"}, {"split": "test"}
    return {"train": True}, {"train": False}


def signature(name: str, parts: Iterable[str]) -> str:
    """A short name for the present state of a source."""
    stated = [f"reader {READER}", name, *parts]
    return hashlib.sha256("\n".join(stated).encode()).hexdigest()[:32]


READER = 2
"""Raised when the same files come to be read as other images."""


def read_digits() -> RawDataset:
    """The 1,797 digits of scikit-learn: 8x8 grey, values 0 to 16, split by a listed seed."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=450, stratify=labels, random_state=DIGITS_SPLIT_SEED
    )
    return RawDataset(
        train=sort_by_class(images[np.sort(train)], labels[np.sort(train)]),
        test=sort_by_class(images[np.sort(test)], labels[np.sort(test)]),
        class_names=KNOWN["digits"].class_names,
        white=16,
    )


def sort_by_class(images: Pixels, labels: LabelArray) -> Split:
    """Sorted by class, keeping the order within each."""
    order = np.argsort(labels, kind="stable")
    return Split(np.ascontiguousarray(images[order]), labels[order])


def torchvision_source(base: Path, layout: Layout, dataset: Dataset) -> ImageSource:
    """A dataset in torchvision's own files, which it verifies where it knows their checksums."""

    def split(options: dict[str, Any]) -> Split:
        from torchvision import datasets

        try:
            found = getattr(datasets, layout.loader)(root=base, download=False, **options)
        except (RuntimeError, OSError, ValueError) as error:
            raise DataError(
                f"{layout.names[0]} is incomplete or altered ({first_line(error)})",
                hint="remove it and download it again",
            ) from error
        labels = found.labels if layout.loader == "SVHN" else found.targets
        images = np.asarray(found.data, dtype=np.uint8)
        return sort_by_class(channels_first(images, layout), np.asarray(labels, dtype=np.int64))

    def read() -> RawDataset:
        train, test = map(split, splits_of(layout))
        return RawDataset(train, test, KNOWN[dataset.name].class_names, white=255)

    return resized_source(
        signature(layout.loader, map(file_state, layout.files(base))), read, dataset
    )


def channels_first(images: Pixels, layout: Layout) -> Pixels:
    """Images as (n, channels, height, width), which is not how every loader has them."""
    if images.ndim == 3:
        return images[:, None]
    return images if layout.loader == "SVHN" else images.transpose(0, 3, 1, 2)
