"""Datasets in the files that torchvision downloads: unpacked by it, or still compressed."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataMissing
from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.regular_file import is_there
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.terminal_text import message_of
from ddspec.engine.images.layout_hints import where_to_place
from ddspec.engine.images.raw_dataset import RawDataset
from ddspec.engine.images.sources.idx_files import idx_paths, read_idx_dataset
from ddspec.engine.images.sources.image_source import ImageSource, source_of_files
from ddspec.engine.images.sources.published_files import read_cifar, read_svhn


@dataclass(frozen=True)
class Layout:
    """The names under which torchvision stores a dataset, and the arguments of its loader."""

    loader: str
    """Class in `torchvision.datasets`."""
    names: tuple[str, ...]
    """Files or folders of the dataset."""
    archive: str = ""
    """Archive of the folder, which is read if the folder is missing."""
    splits: tuple[Mapping[str, Any], Mapping[str, Any]] = ({"train": True}, {"train": False})
    """Arguments of the loader for the training and for the test images."""


SVHN_SPLITS = ({"split": "train"}, {"split": "test"})

TORCHVISION: Mapping[str, Layout] = {
    "mnist": Layout("MNIST", ("MNIST/raw",)),
    "fashion_mnist": Layout("FashionMNIST", ("FashionMNIST/raw",)),
    "svhn": Layout("SVHN", ("train_32x32.mat", "test_32x32.mat"), splits=SVHN_SPLITS),
    "cifar10": Layout("CIFAR10", ("cifar-10-batches-py",), "cifar-10-python.tar.gz"),
    "cifar100": Layout("CIFAR100", ("cifar-100-python",), "cifar-100-python.tar.gz"),
}
"""Datasets that torchvision reads and downloads."""


def torchvision_source(dataset: Dataset, folder: Path) -> ImageSource | None:
    """Return a dataset in torchvision's files; None if there are none.

    They lie in the data folder, or in a folder in it with the dataset's name. Reading them
    raises DataError if they are incomplete or altered.
    """
    layout = TORCHVISION.get(dataset.name)
    for base in (folder, folder / dataset.name) if layout else ():
        found_in = layout and place_in(base, layout, dataset.name)
        if layout and found_in:
            label = str(found_in.relative_to(folder))
            read = reader_of(dataset.name, layout, found_in)
            return source_of_files(label, found_in, files_of(found_in, layout), read, dataset)
    return None


def place_in(base: Path, layout: Layout, name: str) -> Path | None:
    """Return the folder or file in `base` that a dataset is read from; None if there is none."""
    names = layout.names
    if name in ("mnist", "fashion_mnist"):
        # The two have the same file names; without torchvision's folders a folder's name decides.
        names = (*names, *((".", "raw", "MNIST/raw") if base.name == name else ()))
        return next((base / each for each in names if idx_paths(base / each)), None)
    names = (*names, layout.archive) if layout.archive else names
    return next((base / each for each in names if is_there(base / each)), None)


def files_of(place: Path, layout: Layout) -> list[Path]:
    """Return the files of a dataset, changes of which are noticed."""
    paths = sorted(place.iterdir()) if place.is_dir() else [place]
    if layout.loader == "SVHN":
        paths = [place.parent / name for name in layout.names]
    return [path for path in paths if path.is_file()]


def reader_of(name: str, layout: Layout, place: Path) -> Callable[[], RawDataset]:
    """Return the function that reads a dataset from a folder or file."""
    known = KNOWN[name]

    def read() -> RawDataset:
        from torchvision import datasets

        claim(
            sum(path.stat().st_size for path in files_of(place, layout)),
            f"reading {name} in {place}",
        )
        loader = getattr(datasets, layout.loader)
        if name in ("mnist", "fashion_mnist"):
            return read_idx_dataset(place, known.class_names, known.width)
        if name == "svhn":
            checksums = [loader.split_list[split][1:] for split in ("train", "test")]
            return read_svhn(place.parent, checksums, known.class_names)
        return read_cifar(place, (loader.train_list, loader.test_list), known.class_names)

    return read


def download(dataset: Dataset, folder: Path) -> ImageSource:
    """Download a dataset with torchvision and return it.

    Raises DataMissing, which says where to place which files, if that fails.
    """
    from torchvision import datasets

    layout, name = TORCHVISION[dataset.name], dataset.name
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        loader = getattr(datasets, layout.loader)
        for options in layout.splits:
            loader(root=folder, download=True, **options)
    except (OSError, RuntimeError) as error:
        raise DataMissing(
            f"{name} is not in {folder} and could not be downloaded ({message_of(error)})",
            hint=f"place torchvision's {' and '.join(layout.names)} there, "
            f"or {where_to_place(name)}",
        ) from error
    finally:
        socket.setdefaulttimeout(previous)
    source = torchvision_source(dataset, folder)
    assert source is not None
    return source
