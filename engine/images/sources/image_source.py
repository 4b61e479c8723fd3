"""A dataset that was found: how to read it, and how to notice that it changed."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.facts.datasets import FilesAccount, side_of
from ddspec.dsl.facts.reading import DataReading
from ddspec.dsl.regular_file import read_regular_file, resolved
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.decode import resized_arrays
from ddspec.engine.images.listing import states_of, unreadable
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
    label: str = ""
    """Name of the folder or the files that are read, below the data folder."""
    notes: tuple[str, ...] = ()
    """How they were understood, where that does not go without saying."""

    @property
    def reading(self) -> DataReading:
        """What was read, as a plan prints it and a record keeps it."""
        return DataReading(source=self.label, files=self.account, notes=self.notes)


READER = 3
"""Version of the reader; it is raised if the same files give other images."""

SETTLING_NS = 2 * 10**9
"""Facts of files that changed less than this time ago are not remembered, in nanoseconds."""


def is_settled(changed_ns: int) -> bool:
    """Return whether files whose last change was then are old enough to be told from others."""
    return changed_ns <= time.time_ns() - SETTLING_NS


def signature(name: str, parts: Iterable[str]) -> str:
    """Return a short hash of the present state of a source."""
    lines = [f"reader {READER}", name, *parts]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def preparation_parts(dataset: Dataset) -> Iterator[str]:
    """Yield the settings of a spec that change how files become arrays."""
    yield from (dataset.color, dataset.alpha, str(side_of(dataset)), dataset.fit)
    if dataset.split is not None:
        yield from (str(dataset.split), str(dataset.split_seed))


def source_of_files(
    label: str,
    place: Path,
    files: Sequence[Path],
    read: Callable[[], RawDataset],
    dataset: Dataset,
    notes: tuple[str, ...] = (),
) -> ImageSource:
    """Return the source of a dataset kept as arrays in a few files of one place.

    `read` may raise DataError; an image of another size than the spec asks for is resized.
    """
    state, changed_ns = states_of(files)
    parts = [str(resolved(place)), *state]
    if dataset.split is not None:
        raise already_split(label)
    # Arrays have no colours to convert, but a change of the key may refuse them.
    state_hash = signature(label, [*parts, dataset.color])
    source = resized_source(label, state_hash, read, dataset, changed_ns)
    return replace(source, notes=notes)


def already_split(label: str) -> DataError:
    """Return the error for a dataset that has a split, if a spec asks to draw one."""
    return DataError(
        f"{label} is split into training and test images already", hint="remove dataset.split"
    )


def resized_source(
    label: str, state: str, read: Callable[[], RawDataset], dataset: Dataset, changed_ns: int = 0
) -> ImageSource:
    """Return a source of arrays, resized if the spec asks for a resolution.

    `changed_ns` is when its files changed last, in nanoseconds since 1970.
    """
    side = dataset.resolution
    if side is None:
        return ImageSource(state, read, is_settled=is_settled(changed_ns), label=label)

    def resized() -> RawDataset:
        raw = read()
        train, test = (
            Split(resized_arrays(part.images, raw.white, side, dataset.fit), part.labels)
            for part in (raw.train, raw.test)
        )
        return RawDataset(train, test, raw.class_names, white=255)

    state = signature(state, preparation_parts(dataset))
    return ImageSource(state, resized, is_settled=is_settled(changed_ns), label=label)


def sort_by_class(images: Pixels, labels: LabelArray) -> Split:
    """Return images and labels sorted by class, keeping the order within each class."""
    order = np.argsort(labels, kind="stable")
    return Split(np.ascontiguousarray(images[order]), labels[order])


def labelled_split(
    images: Pixels, labels: LabelArray, classes: int, image_file: str, label_file: str
) -> Split:
    """Return a split, class-major; the names of its two files are for messages.

    Raises DataError unless each image has one label, which is that of a class.
    """
    image_file, label_file = escape_text(image_file), escape_text(label_file)
    if len(images) != len(labels):
        raise DataError(
            f"{image_file} has {len(images):,} images, but {label_file} has {len(labels):,} labels",
            hint="place two files that belong together",
        )
    if len(labels) == 0:
        raise DataError(f"{image_file} has no images")
    lowest, highest = int(labels.min()), int(labels.max())
    if not 0 <= lowest <= highest < classes:
        raise DataError(
            f"{label_file} has labels from {lowest} to {highest}; "
            f"the {classes} classes have the labels 0 to {classes - 1}",
            hint="place the label file of this dataset",
        )
    return sort_by_class(images, labels)


def read_source_file(path: Path, limit: int) -> bytes:
    """Return the content of a regular file; raise DataError if it is not one, or too large."""
    try:
        return read_regular_file(path, limit)
    except OSError as error:
        raise unreadable(escape_text(path.name), error) from error
