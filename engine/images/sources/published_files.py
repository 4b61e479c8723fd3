"""CIFAR and SVHN in their published files, which are known by their checksums.

Nothing in a file is used before its MD5 sum is that of the published one. CIFAR is kept as
pickles, which could otherwise run any program.
"""

import hashlib
import io
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.regular_file import is_there
from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.raw_dataset import RawDataset, Split
from ddspec.engine.images.sources.image_source import read_source_file, sort_by_class
from ddspec.engine.images.tar_files import open_tar

MAX_BYTES = 500_000_000
"""No published file is larger."""

Checksums = Sequence[Sequence[str]]
"""Names of files and their MD5 sums, as torchvision lists them."""


def read_cifar(
    batches: Path, checksums: tuple[Checksums, Checksums], class_names: tuple[str, ...]
) -> RawDataset:
    """Read CIFAR-10 or CIFAR-100 from the folder of its batches, or from its archive.

    `checksums` are those of the training and of the test batches. Raises DataError if a batch is
    missing or altered.
    """
    names = [name for split in checksums for name, _ in split]
    contents = read_folder(batches, names) if batches.is_dir() else read_archive(batches, names)

    def read_split(batch_sums: Checksums) -> Split:
        images, labels = [], []
        for name, checksum in batch_sums:
            content = published(contents[name], name, checksum, escape_text(batches.name))
            batch = pickle.loads(content, encoding="latin1")
            images.append(np.asarray(batch["data"], np.uint8).reshape(-1, 3, 32, 32))
            labels.append(np.asarray(batch.get("labels", batch.get("fine_labels")), np.int64))
        return sort_by_class(np.concatenate(images), np.concatenate(labels))

    train, test = map(read_split, checksums)
    return RawDataset(train, test, class_names, white=255)


def published(content: bytes, name: str, checksum: str, container: str) -> bytes:
    """Return the content of a file; raise DataError if it is not the published one."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != checksum:
        where = "" if name == container else f" of {container}"
        raise DataError(
            f"{name}{where} is not the published file: its checksum is another one",
            hint=f"remove {container} and download it again",
        )
    return content


def read_folder(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return files of a folder by name; raise DataError if one is missing."""
    lacking = [name for name in names if not is_there(folder / name)]
    if lacking:
        raise DataError(
            f"{escape_text(folder.name)} is incomplete: it lacks {', '.join(lacking)}",
            hint="download it again, or remove it; an archive beside it is then read instead",
        )
    return {name: read_source_file(folder / name, MAX_BYTES) for name in names}


def read_archive(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return files of a tar archive by name, whatever folder they are in.

    Raises DataError if the archive is damaged or lacks one of them.
    """
    label, contents = escape_text(path.name), dict[str, bytes]()
    with open_tar(path) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if member.isreg() and name in names and member.size <= MAX_BYTES:
                file = archive.extractfile(member)
                contents[name] = file.read() if file else b""
    lacking = [name for name in names if name not in contents]
    if lacking:
        raise DataError(
            f"{label} lacks {', '.join(lacking)}", hint="remove it and download it again"
        )
    return contents


def read_svhn(folder: Path, checksums: Checksums, class_names: tuple[str, ...]) -> RawDataset:
    """Read SVHN's cropped digits from its two files of MATLAB, one for each split.

    Raises DataError if one is missing or altered.
    """
    from scipy.io import loadmat

    names = [name for name, _ in checksums]
    contents = read_folder(folder, names)

    def read_split(name: str, checksum: str) -> Split:
        arrays = loadmat(io.BytesIO(published(contents[name], name, checksum, name)))
        # The file gives the digit 0 the label 10.
        labels = arrays["y"].astype(np.int64).reshape(-1) % 10
        return sort_by_class(np.transpose(arrays["X"], (3, 2, 0, 1)), labels)

    train, test = (read_split(*each) for each in checksums)
    return RawDataset(train, test, class_names, white=255)
