"""Finding the images of a dataset, and reading them in one canonical order.

Whatever the source, images are class-major: classes in the dataset's order, and within a class
in the order of torchvision's files or of sorted file names. The same data thus gives the same
fingerprint and the same numbers. Files are read in place; no archive is unpacked to disk.
"""

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataError, DataMissing
from ddspec.dsl.facts.class_names import folders_of
from ddspec.dsl.facts.datasets import DIGITS_SPLIT_SEED, KNOWN, FilesAccount, side_of
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.terms import DatasetName, ImageNetSubset
from ddspec.engine.images.decode import resized_arrays
from ddspec.engine.images.image_files import decode_dataset
from ddspec.engine.images.layout_hints import unread_layout, where_to_place
from ddspec.engine.images.layouts import (
    TINY_FOLDER,
    ImageFiles,
    image_files,
    tiny_imagenet_as_published,
)
from ddspec.engine.images.listing import first_line, states_of
from ddspec.engine.images.raw_dataset import LabelArray, Pixels, RawDataset, Split


@dataclass(frozen=True)
class ImageSource:
    """A dataset that was found: how to read it, and how to notice that it changed."""

    signature: str
    """Hash of the folder, the reader's version, and the files' names, sizes, times and inodes."""
    read: Callable[[], RawDataset]
    account: FilesAccount | None = None
    """Which files are images, for a dataset kept as image files."""
    is_settled: bool = True
    """Whether the signature tells all later versions of the files from this one.

    Clocks of file systems are coarse: a file that changed just now can change again and keep its
    times."""


def data_folder(given: Path | None) -> Path:
    """Return the folder of --data, else of $DDSPEC_DATA, else one in the user's cache."""
    if given is not None:
        return given
    if os.environ.get("DDSPEC_DATA"):
        return Path(os.environ["DDSPEC_DATA"])
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "ddspec" / "data"


@dataclass(frozen=True)
class Layout:
    """How torchvision stores a dataset, and how its loader is called."""

    names: tuple[str, ...]
    """Files or folders of the dataset."""
    loader: str
    """Class in `torchvision.datasets`."""
    splits: tuple[Mapping[str, Any], Mapping[str, Any]] = ({"train": True}, {"train": False})
    """Arguments of the loader for the training and for the test images."""
    labels: str = "targets"
    """The loader's attribute that holds the labels."""
    channels_last: bool = True
    """Whether colour images are (n, height, width, channels)."""

    def is_in(self, base: Path) -> bool:
        """Return whether a folder holds any of the dataset's files."""
        return any((base / name).exists() for name in self.names)

    def files(self, base: Path) -> list[Path]:
        """Return the dataset's files in a folder."""
        existing = [base / name for name in self.names if (base / name).exists()]
        return [
            path
            for parent in existing
            for path in (sorted(parent.iterdir()) if parent.is_dir() else [parent])
            if path.is_file()
        ]


TORCHVISION: Mapping[DatasetName, Layout] = {
    "mnist": Layout(("MNIST/raw",), "MNIST"),
    "fashion_mnist": Layout(("FashionMNIST/raw",), "FashionMNIST"),
    "svhn": Layout(
        names=("train_32x32.mat", "test_32x32.mat"),
        loader="SVHN",
        splits=({"split": "train"}, {"split": "test"}),
        labels="labels",
        channels_last=False,
    ),
    "cifar10": Layout(("cifar-10-batches-py",), "CIFAR10"),
    "cifar100": Layout(("cifar-100-python",), "CIFAR100"),
}
"""Datasets that torchvision reads and downloads."""

IMAGENET_FOLDER = "imagenet"
"""Folder with all classes of ImageNet, of which a subset reads its own."""


def find_source(dataset: Dataset, folder: Path, fetch: bool) -> ImageSource:
    """Find a dataset; with `fetch`, download it if it is missing.

    Raises DataMissing, which says where to place which files, if it is neither found nor
    downloaded.
    """
    if dataset.name == "digits":
        return resized_source(signature("digits", [version("scikit-learn")]), read_digits, dataset)
    layout = TORCHVISION.get(dataset.name)
    for base in (folder, folder / dataset.name) if layout else ():
        if layout and layout.is_in(base):
            return torchvision_source(base, layout, dataset)
    name = dataset.root or dataset.name
    images = image_files(folder, name) or other_image_files(dataset, folder)
    if images is not None:
        read = partial(decode_dataset, images, dataset, KNOWN.get(dataset.name))
        parts = [str(folder.resolve()), *sorted(images.state), *preparation_parts(dataset)]
        return ImageSource(
            signature(name, parts), read, images.account, is_settled(images.changed_ns)
        )
    if layout is None:
        if unread := unread_layout(folder, name):
            raise unread
        hint = f"place {where_to_place(name)}"
        raise DataMissing(f'"{name}" is not in {folder}', hint=hint + other_places_hint(dataset))
    if not fetch:
        raise DataMissing(
            f"{dataset.name} is not in {folder}",
            hint=f"ddspec run downloads it if there is a network; or place torchvision's "
            f"{' and '.join(layout.names)} there, or {where_to_place(dataset.name)}",
        )
    download(folder, layout, dataset.name)
    return torchvision_source(folder, layout, dataset)


def other_image_files(dataset: Dataset, folder: Path) -> ImageFiles | None:
    """Return image files from a folder with another name than the dataset, if any."""
    if dataset.name == "tiny_imagenet":
        return tiny_imagenet_as_published(folder)
    if dataset.name in get_args(ImageNetSubset):
        return image_files(folder, IMAGENET_FOLDER, frozenset(folders_of(dataset.name)))
    return None


def other_places_hint(dataset: Dataset) -> str:
    """Return the hint that names other folders a dataset can be read from."""
    if dataset.name == "tiny_imagenet":
        return f"; or the folder {TINY_FOLDER} as its archive unpacks"
    if dataset.name in get_args(ImageNetSubset):
        ids = ", ".join(folders_of(dataset.name))
        return f"; or {IMAGENET_FOLDER}/ with all of ImageNet. CLASS is {ids}"
    return ""


def preparation_parts(dataset: Dataset) -> Iterator[str]:
    """Yield the settings of a spec that change how files become arrays."""
    yield from (dataset.color, dataset.alpha, str(side_of(dataset)), dataset.fit)


def resized_source(
    state: str, read: Callable[[], RawDataset], dataset: Dataset, changed_ns: int = 0
) -> ImageSource:
    """Return a source of arrays, resized if the spec asks for a resolution.

    `changed_ns` is when its files changed last, in nanoseconds since 1970.
    """
    side = dataset.resolution
    if side is None:
        return ImageSource(state, read, is_settled=is_settled(changed_ns))

    def resized() -> RawDataset:
        raw = read()
        train, test = (
            Split(resized_arrays(part.images, raw.white, side, dataset.fit), part.labels)
            for part in (raw.train, raw.test)
        )
        return RawDataset(train, test, raw.class_names, white=255)

    return ImageSource(
        signature(state, preparation_parts(dataset)), resized, is_settled=is_settled(changed_ns)
    )


def is_settled(changed_ns: int) -> bool:
    """Return whether files whose last change was then are old enough to be told from others."""
    return changed_ns <= time.time_ns() - SETTLING_NS


def download(folder: Path, layout: Layout, name: str) -> None:
    """Download a dataset with torchvision.

    Raises DataMissing, which says where to place which files, if that fails.
    """
    from torchvision import datasets

    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        loader = getattr(datasets, layout.loader)
        for options in layout.splits:
            loader(root=folder, download=True, **options)
    except (OSError, RuntimeError) as error:
        raise DataMissing(
            f"{name} is not in {folder} and could not be downloaded ({first_line(error)})",
            hint=f"place torchvision's {' and '.join(layout.names)} there, "
            f"or {where_to_place(name)}",
        ) from error
    finally:
        socket.setdefaulttimeout(previous)


def signature(name: str, parts: Iterable[str]) -> str:
    """Return a short hash of the present state of a source."""
    lines = [f"reader {READER}", name, *parts]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


READER = 3
"""Version of the reader; it is raised if the same files give other images."""

SETTLING_NS = 2 * 10**9
"""Facts of files that changed less than this time ago are not remembered, in nanoseconds."""


def read_digits() -> RawDataset:
    """Return scikit-learn's 1,797 digits: 8x8 grey, values 0 to 16, split by a fixed seed."""
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
    """Return images and labels sorted by class, keeping the order within each class."""
    order = np.argsort(labels, kind="stable")
    return Split(np.ascontiguousarray(images[order]), labels[order])


def torchvision_source(base: Path, layout: Layout, dataset: Dataset) -> ImageSource:
    """Return a dataset in torchvision's files; torchvision verifies checksums if it can.

    Reading it raises DataError if the files are incomplete or altered.
    """

    def read_part(options: Mapping[str, Any]) -> Split:
        from torchvision import datasets

        claim(
            sum(path.stat().st_size for path in layout.files(base)),
            f"reading {layout.names[0]} in {base}",
        )
        try:
            loaded = getattr(datasets, layout.loader)(root=base, download=False, **options)
        except (RuntimeError, OSError, ValueError) as error:
            raise DataError(
                f"{layout.names[0]} is incomplete or altered ({first_line(error)})",
                hint="remove it and download it again",
            ) from error
        labels = np.asarray(getattr(loaded, layout.labels), dtype=np.int64)
        images = np.asarray(loaded.data, dtype=np.uint8)
        return sort_by_class(channels_first(images, layout), labels)

    def read() -> RawDataset:
        train, test = map(read_part, layout.splits)
        return RawDataset(train, test, KNOWN[dataset.name].class_names, white=255)

    state, changed_ns = states_of(layout.files(base))
    parts = [str(base.resolve()), *state]
    return resized_source(signature(layout.loader, parts), read, dataset, changed_ns)


def channels_first(images: Pixels, layout: Layout) -> Pixels:
    """Return images as (n, channels, height, width), whatever order the loader has them in."""
    if images.ndim == 3:
        return images[:, None]
    return images.transpose(0, 3, 1, 2) if layout.channels_last else images
