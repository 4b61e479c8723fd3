"""Where the images of a dataset lie, and reading them in one canonical order.

Whatever the source, images are class-major: classes in the dataset's own order, within a class
by official rank (the order of torchvision's files, or of sorted file names). So the same data
gives the same fingerprint and the same numbers. Files are read where they lie; nothing of an
archive is unpacked to disk.
"""

import hashlib
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import assert_never

import numpy as np

from ddspec.dsl.datasets import DIGITS_SPLIT_SEED, KNOWN, DatasetFacts
from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.spec import Dataset
from ddspec.dsl.terms import DatasetName
from ddspec.engine.image_files import ImageFiles, brief, decode, file_state, image_files, placing
from ddspec.engine.raw import Labels, Pixels, RawDataset, Split


@dataclass(frozen=True)
class Source:
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


def find_source(dataset: Dataset, folder: Path, fetch: bool) -> Source:
    """The place where a dataset lies; with `fetch`, downloaded where a network allows.

    Raises DataError that says what to place where.
    """
    match dataset.name:
        case "digits":
            return Source(signature("digits", [version("scikit-learn")]), read_digits)
        case "cifar10":
            return find_cifar(dataset, folder, fetch, "cifar-10-batches-py", "CIFAR10")
        case "cifar100":
            return find_cifar(dataset, folder, fetch, "cifar-100-python", "CIFAR100")
        case "folder":
            root = dataset.root
            assert root is not None  # a check refuses a folder without root
            found = image_files(folder, root)
            if found is None:
                raise DataError(f'"{root}" is not in {folder}', hint=f"place {placing(root)}")
            return as_source(found, root, None)
        case _:
            assert_never(dataset.name)


def find_cifar(dataset: Dataset, folder: Path, fetch: bool, own_layout: str, loader: str) -> Source:
    """CIFAR as torchvision keeps it, as image files, or downloaded where a network allows."""
    for base in (folder, folder / dataset.name):
        if (base / own_layout).is_dir():
            return torchvision_source(base, own_layout, loader, dataset.name)
    found = image_files(folder, dataset.name)
    if found is not None:
        return as_source(found, dataset.name, KNOWN[dataset.name])
    if not fetch:
        raise DataError(
            f"{dataset.name} is not in {folder}",
            hint=f"ddspec run downloads it where a network allows; or place torchvision's "
            f"{own_layout}/ there, or {placing(dataset.name)}",
        )
    download(folder, loader, own_layout, dataset.name)
    return torchvision_source(folder, own_layout, loader, dataset.name)


def download(folder: Path, loader: str, own_layout: str, name: str) -> None:
    """Let torchvision fetch a dataset. Raises DataError that says what to place where."""
    from torchvision import datasets

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        getattr(datasets, loader)(root=folder, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{name} is not in {folder} and could not be downloaded ({brief(error)})",
            hint=f"place torchvision's {own_layout}/ there, or {placing(name)}",
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def signature(name: str, parts: Iterable[str]) -> str:
    """A short name for the present state of a source."""
    stated = [f"reader {READER}", name, *parts]
    return hashlib.sha256("\n".join(stated).encode()).hexdigest()[:32]


READER = 1
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
        train=class_major(images[np.sort(train)], labels[np.sort(train)]),
        test=class_major(images[np.sort(test)], labels[np.sort(test)]),
        class_names=KNOWN["digits"].class_names,
        white=16,
    )


def class_major(images: Pixels, labels: Labels) -> Split:
    """Sorted by class, keeping the order within each."""
    order = np.argsort(labels, kind="stable")
    return Split(np.ascontiguousarray(images[order]), labels[order])


def torchvision_source(base: Path, own_layout: str, loader: str, name: DatasetName) -> Source:
    """A dataset in torchvision's own files, whose checksums it verifies before it reads them."""

    def read() -> RawDataset:
        from torchvision import datasets

        def split(is_train: bool) -> Split:
            try:
                found = getattr(datasets, loader)(root=base, train=is_train, download=False)
            except (RuntimeError, OSError) as error:
                raise DataError(
                    f"{own_layout}/ is incomplete or altered ({brief(error)})",
                    hint="remove it and download it again",
                ) from error
            images = np.asarray(found.data, dtype=np.uint8).transpose(0, 3, 1, 2)
            return class_major(images, np.asarray(found.targets, dtype=np.int64))

        return RawDataset(split(True), split(False), KNOWN[name].class_names, white=255)

    files = sorted(path for path in (base / own_layout).iterdir() if path.is_file())
    return Source(signature(loader, map(file_state, files)), read)


def as_source(found: ImageFiles, name: str, known: DatasetFacts | None) -> Source:
    """A source of image files; `known` says which classes and channels must be there."""
    return Source(signature(name, sorted(found.state)), lambda: decode(found.files, name, known))
