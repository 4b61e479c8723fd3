"""MNIST's files: arrays in the format IDX, as they are or compressed by gzip.

A file begins with two zero bytes, the type of its numbers (8 for bytes), its number of axes, and
the length of each axis in four bytes, the most significant first. The numbers follow.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.regular_file import is_there, open_regular_file
from ddspec.dsl.terminal_text import escape_text, message_of
from ddspec.engine.images.listing import unreadable
from ddspec.engine.images.raw_dataset import RawDataset, Split
from ddspec.engine.images.sources.image_source import labelled_split

SPLITS = ("train", "t10k")
MAX_BYTES = 10**9
"""Arrays of more bytes are refused; those of MNIST have 47 million."""

TYPE_NAMES = {8: "bytes", 9: "signed bytes", 11: "shorts", 12: "integers", 13: "floats"}
TYPE_NAMES[14] = "doubles"
"""Types of numbers, by the third byte of a file."""


def idx_paths(folder: Path) -> dict[str, Path]:
    """Return the files of MNIST in a folder by their usual name; lacking files are absent.

    A file that is there twice is taken uncompressed, as torchvision leaves it.
    """
    paths = {}
    for split in SPLITS:
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            name = f"{split}-{kind}"
            spellings = (name, name.replace("-idx", ".idx"))
            for candidate in (*spellings, *(f"{spelling}.gz" for spelling in spellings)):
                if name not in paths and is_there(folder / candidate):
                    paths[name] = folder / candidate
    return paths


def read_idx_dataset(folder: Path, class_names: tuple[str, ...], side: int) -> RawDataset:
    """Read MNIST, or a dataset in its form, whose images are squares of `side` pixels.

    Raises DataError if a file is missing, damaged, or not of this form.
    """
    paths = idx_paths(folder)

    def path_of(name: str) -> Path:
        if name not in paths:
            raise DataError(
                f"{folder.name}/ has no file {name} and no {name}.gz",
                hint="download it again; the files there are not enough",
            )
        return paths[name]

    def read_split(split: str) -> Split:
        image_path = path_of(f"{split}-images-idx3-ubyte")
        label_path = path_of(f"{split}-labels-idx1-ubyte")
        images, labels = read_idx(image_path, 3), read_idx(label_path, 1)
        if images.shape[1:] != (side, side):
            size = "x".join(map(str, images.shape[1:]))
            raise DataError(
                f"{image_path.name} has images of {size} pixels, not {side}x{side}",
                hint="place the files of this dataset",
            )
        return labelled_split(
            images[:, None],
            labels.astype(np.int64),
            len(class_names),
            image_path.name,
            label_path.name,
        )

    train, test = map(read_split, SPLITS)
    return RawDataset(train, test, class_names, white=255)


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Read an array of bytes with this number of axes.

    Raises DataError if the file holds anything else. The sizes that it states are checked
    before memory is taken.
    """
    name = escape_text(path.name)
    try:
        with open_regular_file(path) as descriptor, open(descriptor, "rb", closefd=False) as plain:
            stream = gzip.GzipFile(fileobj=plain) if path.suffix == ".gz" else plain
            head = stream.read(4 + 4 * axes)
            shape = shape_of(head, axes, name)
            count = math.prod(shape)
            if count > MAX_BYTES:
                raise DataError(f"{name} states {count:,} bytes; at most {MAX_BYTES:,} are read")
            content = stream.read(count + 1)
    except EOFError as error:
        raise DataError(f"{name} is cut off", hint="download it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{name} is damaged ({message_of(error)})", hint="download it again"
        ) from error
    except OSError as error:
        raise unreadable(name, error) from error
    if len(content) != count:
        comparison = "more" if len(content) > count else f"{len(content):,}"
        raise DataError(
            f"{name} states {count:,} bytes of numbers, but holds {comparison}",
            hint="download it again",
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def shape_of(head: bytes, axes: int, name: str) -> tuple[int, ...]:
    """Return the shape that the head of a file states; raise DataError if it is another kind."""
    if len(head) < 4 + 4 * axes or head[:2] != b"\0\0" or head[2] not in TYPE_NAMES:
        raise DataError(
            f"{name} is not a file in MNIST's format IDX: it begins with {head[:4].hex(' ')}",
            hint="place the original file",
        )
    if head[2] != 8 or head[3] != axes:
        raise DataError(
            f"{name} holds {TYPE_NAMES[head[2]]} with {head[3]} axes; "
            f"bytes with {axes} {'axes are' if axes > 1 else 'axis are'} read",
            hint="place the original file",
        )
    return tuple(int.from_bytes(head[4 + 4 * n : 8 + 4 * n], "big") for n in range(axes))
