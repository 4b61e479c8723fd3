"""Images as arrays: NumPy's .npz, as MedMNIST has them, and STL-10's binary files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataError, DdspecError
from ddspec.dsl.regular_file import is_there
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.terminal_text import escape_text, message_of
from ddspec.engine.images.layouts import class_order
from ddspec.engine.images.listing import check_unpackable, open_zip, unreadable
from ddspec.engine.images.raw_dataset import LabelArray, Pixels, RawDataset
from ddspec.engine.images.sources.image_source import (
    ImageSource,
    labelled_split,
    read_source_file,
    source_of_files,
)

SPELLINGS = (("{split}_images", "{split}_labels"), ("x_{split}", "y_{split}"))
"""Names of the arrays of a split: those of MedMNIST, and those of Keras."""


@dataclass(frozen=True)
class ArrayHeader:
    """What the header of an array in a .npz file states."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """Size of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def npz_source(dataset: Dataset, folder: Path) -> ImageSource | None:
    """Return a dataset kept in one .npz file; None if there is none.

    It is NAME.npz, or the only .npz file in the folder NAME. Raises DataError if it does not
    hold the images and labels of two splits.
    """
    name = dataset.root or dataset.name
    single = folder / f"{name}.npz"
    paths = [single] if is_there(single) else visible(folder / name, "*.npz")
    if not paths:
        return None
    if len(paths) > 1:
        names = ", ".join(escape_text(path.name) for path in paths[:5])
        raise DataError(f"{name}/ has several .npz files: {names}", hint="keep the one to read")
    path = paths[0]
    headers = array_headers(path)
    names_of_splits = {split: arrays_of(split, headers) for split in ("train", "val", "test")}
    train = names_of_splits["train"]
    test = names_of_splits["test"] or names_of_splits["val"]
    if train is None or test is None:
        raise DataError(
            f"{escape_text(path.name)} has no arrays of {'training' if train is None else 'test'} "
            f"images and labels; it holds {', '.join(map(escape_text, headers)) or 'no arrays'}",
            hint="name them train_images, train_labels, test_images and test_labels",
        )

    def read() -> RawDataset:
        return read_arrays(path, headers, train, test, dataset)

    others = sorted({*headers} - {*train, *test})
    notes = [f"arrays {', '.join((*train, *test))}"]
    if others:
        notes.append(f"arrays passed over: {', '.join(map(escape_text, others))}")
    return source_of_files(label_of(path, folder), path, [path], read, dataset, tuple(notes))


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder that fit a pattern, without hidden ones, in their order."""
    return [path for path in sorted(folder.glob(pattern)) if not path.name.startswith(".")]


def label_of(path: Path, folder: Path) -> str:
    """Return the path of a file below the data folder, for messages."""
    return escape_text(str(path.relative_to(folder)))


def arrays_of(split: str, headers: Mapping[str, ArrayHeader]) -> tuple[str, str] | None:
    """Return the names of a split's images and labels in a file; None if it has none."""
    for images, labels in SPELLINGS:
        pair = images.format(split=split), labels.format(split=split)
        if pair[0] in headers and pair[1] in headers:
            return pair
    return None


def array_headers(path: Path) -> dict[str, ArrayHeader]:
    """Return the header of every array in a .npz file, without reading the numbers.

    Raises DataError if the file is damaged, an array holds Python objects, or its size is not
    what its header states.
    """
    headers, archive = {}, open_zip(path)
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            continue
        name = info.filename.removesuffix(".npy")
        label = escape_text(f"{path.name}: {name}")
        check_unpackable(info, label, path.name)
        try:
            with archive.open(info) as stream:
                header = read_header(stream)
                head_bytes = stream.tell()
        except OSError as error:
            raise unreadable(label, error) from error
        except Exception as error:
            raise damaged(label, error) from error
        if header.dtype.hasobject:
            raise DataError(f"{label} holds Python objects", hint="save it as an array of numbers")
        if header.bytes != info.file_size - head_bytes:
            raise damaged(label, ValueError("its size is not what its header states"))
        headers[name] = header
    return headers


def read_header(stream: Any) -> ArrayHeader:
    """Read the header of an array; raise ValueError if it is damaged."""
    version = npy_format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = npy_format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = npy_format.read_array_header_2_0(stream)
    return ArrayHeader(shape, dtype)


def damaged(label: str, error: Exception) -> DataError:
    """Return the error for an array that cannot be read."""
    return DataError(f"{label} is damaged ({message_of(error)})", "make or download it again")


def read_array(path: Path, name: str, header: ArrayHeader) -> NDArray[Any]:
    """Read an array of a .npz file, whose header is known."""
    label = escape_text(f"{path.name}: {name}")
    claim(2 * header.bytes, f"reading {label}", "use a dataset of fewer or smaller images")
    try:
        with open_zip(path).open(f"{name}.npy") as stream:
            return npy_format.read_array(stream, allow_pickle=False)
    except DdspecError:
        raise
    except Exception as error:
        raise damaged(label, error) from error


def read_arrays(
    path: Path,
    headers: Mapping[str, ArrayHeader],
    train: tuple[str, str],
    test: tuple[str, str],
    dataset: Dataset,
) -> RawDataset:
    """Read the images and labels of both splits; raise DataError if they do not fit."""
    file = escape_text(path.name)
    pairs = (train, test)
    for images, _ in pairs:
        check_images(headers[images], f"{file}: {images}", dataset)
    texts = [read_labels(path, labels, headers[labels]) for _, labels in pairs]
    names = class_names_in(texts[0], f"{file}: {train[1]}")
    numbers = {name: number for number, name in enumerate(names)}
    splits = []
    for (images, labels), values in zip(pairs, texts, strict=True):
        unknown = sorted({*values} - {*names})
        if unknown:
            raise DataError(
                f'{file}: {labels} has the class "{escape_text(unknown[0])}", which has no '
                f"training images",
                hint="the classes of both splits have to be the same",
            )
        pixels = channels_first(read_array(path, images, headers[images]))
        numbered = np.array([numbers[value] for value in values], np.int64)
        splits.append(
            labelled_split(pixels, numbered, len(names), f"{file}: {images}", f"{file}: {labels}")
        )
    missing = sorted({*names} - {*texts[1]})
    if missing:
        raise DataError(f'class "{escape_text(missing[0])}" of {file} has no test images')
    if splits[0].images.shape[1:] != splits[1].images.shape[1:]:
        raise DataError(f"training and test images of {file} have different sizes")
    return RawDataset(splits[0], splits[1], names, white=255)


def class_names_in(values: list[str], label: str) -> tuple[str, ...]:
    """Return the classes among labels, numbers in their order; at least two."""
    names = class_order(values)
    if len(names) < 2:
        raise DataError(f"{escape_text(label)} has fewer than two classes")
    return names


def check_images(header: ArrayHeader, label: str, dataset: Dataset) -> None:
    """Raise DataError unless an array holds images of bytes, in the colours asked for."""
    shape = "x".join(map(str, header.shape))
    if header.dtype != np.uint8:
        raise DataError(
            f"{escape_text(label)} holds {header.dtype} numbers; uint8 from 0 to 255 is read",
            hint="save the images as uint8",
        )
    has_channels = len(header.shape) == 4 and {1, 3} & {header.shape[1], header.shape[3]}
    if min(header.shape, default=0) < 1 or not (len(header.shape) == 3 or has_channels):
        raise DataError(
            f"{escape_text(label)} has the shape {shape or 'of a single number'}",
            hint="the shape of images is (n, height, width) or (n, height, width, channels), with "
            "1 or 3 channels",
        )
    is_grey = len(header.shape) == 3 or header.shape[3] == 1 or header.shape[1] == 1
    if dataset.color != "auto" and (dataset.color == "grey") != is_grey:
        colours = "grey" if is_grey else "coloured"
        raise DataError(
            f"{escape_text(label)} is {colours}, but dataset.color is {dataset.color}",
            hint="remove dataset.color, which is for image files",
        )


def channels_first(images: NDArray[np.uint8]) -> Pixels:
    """Return images as (n, channels, height, width); the last axis is that of the channels.

    If it cannot be, having neither 1 nor 3 entries, the second one is.
    """
    if images.ndim == 3:
        return images[:, None]
    return images.transpose(0, 3, 1, 2) if images.shape[3] in (1, 3) else images


def read_labels(path: Path, name: str, header: ArrayHeader) -> list[str]:
    """Return the label of each image as a text; raise DataError if there is not one for each."""
    label = escape_text(f"{path.name}: {name}")
    if len(header.shape) not in (1, 2) or (len(header.shape) == 2 and header.shape[1] != 1):
        shape = "x".join(map(str, header.shape))
        raise DataError(
            f"{label} has the shape {shape}; it must have one label for each image",
            hint="turn one-hot labels into numbers; several labels for an image are not read",
        )
    values = read_array(path, name, header).reshape(-1)
    if values.dtype.kind == "U":
        return [str(value) for value in values]
    if values.dtype.kind in "iub" or (
        values.dtype.kind == "f" and np.array_equal(values, np.round(values))
    ):
        return [str(int(value)) for value in values]
    raise DataError(f"{label} holds {values.dtype} numbers; labels are whole numbers or texts")


STL10_SIDE, STL10_CLASSES = 96, 10
STL10_FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
STL10_BYTES = 3 * STL10_SIDE * STL10_SIDE
MOST_STL10_BYTES = 4 * 10**9


def stl10_source(dataset: Dataset, folder: Path) -> ImageSource | None:
    """Return STL-10 in its binary files, in the dataset's folder; None if there are none."""
    name = dataset.root or dataset.name
    bases = (folder / name, folder / name / "stl10_binary")
    base = next((base for base in bases if is_there(base / STL10_FILES[0])), None)
    if base is None:
        return None
    paths = [base / file for file in STL10_FILES]
    lacking = [path.name for path in paths if not is_there(path)]
    if lacking:
        raise DataError(
            f"{label_of(base, folder)}/ has {STL10_FILES[0]}, but lacks {', '.join(lacking)}",
            hint="place all four files of STL-10 there",
        )

    def read() -> RawDataset:
        names = stl10_class_names(base / "class_names.txt")
        claim(2 * sum(path.stat().st_size for path in paths), "reading STL-10")
        train, test = (
            labelled_split(
                stl10_images(images), stl10_labels(labels), len(names), images.name, labels.name
            )
            for images, labels in (paths[:2], paths[2:])
        )
        return RawDataset(train, test, names, white=255)

    notes = ["the binary files of STL-10"]
    if (base / "unlabeled_X.bin").exists():
        notes.append("unlabeled_X.bin was passed over")
    names_file = base / "class_names.txt"
    files = [*paths, *([names_file] if is_there(names_file) else [])]
    return source_of_files(f"{label_of(base, folder)}/", base, files, read, dataset, tuple(notes))


def stl10_images(path: Path) -> Pixels:
    """Read images; each channel is stored column by column."""
    content = read_source_file(path, MOST_STL10_BYTES)
    if not content or len(content) % STL10_BYTES:
        raise DataError(
            f"{path.name} has {len(content):,} bytes, which is no whole number of images of "
            f"{STL10_BYTES:,} bytes",
            hint="download it again",
        )
    pixels = np.frombuffer(content, np.uint8).reshape(-1, 3, STL10_SIDE, STL10_SIDE)
    return pixels.transpose(0, 1, 3, 2)


def stl10_labels(path: Path) -> LabelArray:
    """Read labels from 1 to 10 as numbers from 0 to 9."""
    content = read_source_file(path, MOST_STL10_BYTES)
    return np.frombuffer(content, np.uint8).astype(np.int64) - 1


def stl10_class_names(path: Path) -> tuple[str, ...]:
    """Return the names of the classes, which are numbers if there is no file with their names."""
    if not is_there(path):
        return tuple(map(str, range(1, STL10_CLASSES + 1)))
    lines = read_source_file(path, 10_000).decode("utf-8", "replace").split()
    if len({*lines}) != STL10_CLASSES or len(lines) != STL10_CLASSES:
        raise DataError(f"{path.name} does not name {STL10_CLASSES} classes, one on each line")
    return tuple(lines)
