"""Finding the images of a dataset, and reading them in one canonical order.

Whatever the source, images are class-major: classes in the dataset's order, and within a class
in the order of torchvision's files or of sorted file names. The same data thus gives the same
fingerprint and the same numbers. Files are read in place; no archive is unpacked to disk.
"""

import os
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import numpy as np

from ddspec.dsl.diagnostics import DataError, DataMissing
from ddspec.dsl.facts.class_names import folders_of
from ddspec.dsl.facts.datasets import DIGITS_SPLIT_SEED, KNOWN
from ddspec.dsl.regular_file import resolved
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.terminal_text import escape_text
from ddspec.dsl.terms import ImageNetSubset
from ddspec.engine.images.draw_split import UNSPLIT, draw_split
from ddspec.engine.images.image_files import decode_dataset
from ddspec.engine.images.layout_hints import unfit_place, unread_layout, where_to_place
from ddspec.engine.images.layouts import ImageFiles, image_files
from ddspec.engine.images.listing import TABLE_SUFFIXES, unreadable
from ddspec.engine.images.raw_dataset import RawDataset
from ddspec.engine.images.shards.parquet_files import parquet_files
from ddspec.engine.images.shards.tar_shards import tar_shards
from ddspec.engine.images.sources.arrays import npz_source, stl10_source
from ddspec.engine.images.sources.extension_reader import extension_source
from ddspec.engine.images.sources.image_source import (
    ImageSource,
    already_split,
    is_settled,
    preparation_parts,
    resized_source,
    signature,
    sort_by_class,
)
from ddspec.engine.images.sources.torchvision_files import (
    TORCHVISION,
    download,
    torchvision_source,
)
from ddspec.engine.images.sources.unpack import TAR_SUFFIXES, tar_archive, unpack
from ddspec.engine.images.tables.labelled_images import images_with_tables
from ddspec.engine.images.tiny_imagenet import TINY_FOLDER, tiny_imagenet_as_published


def data_folder(given: Path | None) -> Path:
    """Return the folder of --data, else of $DDSPEC_DATA, else one in the user's cache."""
    if given is not None:
        return given
    if os.environ.get("DDSPEC_DATA"):
        return Path(os.environ["DDSPEC_DATA"])
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "ddspec" / "data"


FASTAI_SUFFIXES = ("2", "2-320", "2-160")
"""Endings of the names of the folders in fastai's archives of ImageNet subsets."""

IMAGENET_FOLDER = "imagenet"
"""Folder with all classes of ImageNet, of which a subset reads its own."""


def find_source(dataset: Dataset, folder: Path, fetch: bool) -> ImageSource:
    """Find a dataset; with `fetch`, unpack or download it if it is missing.

    Raises DataMissing, which says where to place which files, if it is neither found nor
    downloaded.
    """
    if dataset.name == "digits":
        state = signature("digits", [version("scikit-learn")])
        return resized_source("scikit-learn", state, read_digits, dataset)
    if dataset.reader is not None:
        return extension_source(dataset, dataset.reader, folder)
    try:
        source = (
            torchvision_source(dataset, folder)
            or image_file_source(dataset, folder)
            or packed_source(dataset, folder, fetch)
            or other_form_source(dataset, folder)
        )
    except OSError as error:
        raise unreadable(str(error.filename or folder), error) from error
    if source is not None:
        return source
    name, layout = dataset.root or dataset.name, TORCHVISION.get(dataset.name)
    if unfit := unfit_place(folder, *places_of(dataset)):
        raise unfit
    if layout is None:
        if unread := unread_layout(folder, name, dataset.name == "folder"):
            raise unread
        hint = f"place {where_to_place(name)}"
        raise DataMissing(f'"{name}" is not in {folder}', hint=hint + other_places_hint(dataset))
    if not fetch:
        raise DataMissing(
            f'"{dataset.name}" is not in {folder}',
            hint=f"ddspec run downloads it if there is a network; or place torchvision's "
            f"{' and '.join(layout.names)} there, or {where_to_place(dataset.name)}",
        )
    return download(dataset, folder)


def image_file_source(dataset: Dataset, folder: Path) -> ImageSource | None:
    """Return a dataset that is kept as image files; None if there are none."""
    without_split = dataset.split is not None
    by_name = (image_files(folder, each, without_split=without_split) for each in names_of(dataset))
    images = next(filter(None, by_name), None) or other_image_files(dataset, folder)
    if images is None:
        return None
    return source_of_image_files(images, folder, dataset)


def source_of_image_files(images: ImageFiles, folder: Path, dataset: Dataset) -> ImageSource:
    """Return the source of image files that were found.

    Raises DataMissing if they have no split and the spec asks for none, and DataError if they
    have one and it asks for another.
    """
    name, notes = dataset.root or dataset.name, images.notes
    is_split = all(file.split != UNSPLIT for file in images.files)
    if is_split and dataset.split is not None:
        raise already_split(images.label)
    if not is_split and dataset.split is None:
        raise DataMissing(f"{images.label} has no split into training and test images", NO_SPLIT)
    if dataset.split is not None:
        images = replace(images, files=draw_split(images.files, dataset.split, dataset.split_seed))
        share = f"{100 * dataset.split:g} % of the images of each class"
        notes = (*notes, f"{share} were drawn to test on, by split_seed {dataset.split_seed}")
    read = partial(decode_dataset, images, dataset, KNOWN.get(dataset.name))
    parts = [str(resolved(folder)), *sorted(images.state), *preparation_parts(dataset)]
    settled = is_settled(images.changed_ns)
    return ImageSource(signature(name, parts), read, images.account, settled, images.label, notes)


NO_SPLIT = (
    "set dataset.split = 0.2, which draws a fifth of each class to test on; or move the images to "
    "folders train/ and test/"
)
"""Hint for a dataset without a split."""


def other_form_source(dataset: Dataset, folder: Path) -> ImageSource | None:
    """Return a dataset of the user's in files with a table, arrays or shards; None if none.

    Raises DataError if it is there in several arrays or shards, or if none of them can be read.
    """
    if dataset.name != "folder":
        return None
    name, unfit_table = dataset.root or dataset.name, None
    try:
        labelled = images_with_tables(folder, name)
        if labelled is not None:
            return source_of_image_files(labelled, folder, dataset)
    except DataMissing:
        raise
    except DataError as error:
        # The table may belong to shards, beside which some images lie.
        unfit_table = error
    arrays = (npz_source(dataset, folder), stl10_source(dataset, folder))
    forms = (tar_shards(folder, name), parquet_files(folder, name))
    sources = [each for each in arrays if each is not None]
    sources += [source_of_image_files(each, folder, dataset) for each in forms if each is not None]
    if not sources and unfit_table is not None:
        raise unfit_table
    if len(sources) > 1:
        raise DataError(
            f"{escape_text(name)} is there more than once: "
            f"{' and '.join(source.label for source in sources)}",
            hint="remove or rename all but the one that you mean",
        )
    return sources[0] if sources else None


def names_of(dataset: Dataset) -> tuple[str, ...]:
    """Return the names that the folder or archive of a dataset may have, the usual one first."""
    name = dataset.root or dataset.name
    if dataset.name in get_args(ImageNetSubset):
        return (name, *(f"{name}{suffix}" for suffix in FASTAI_SUFFIXES))
    return (name,)


def places_of(dataset: Dataset) -> tuple[list[str], list[str]]:
    """Return the names that a dataset's folder and its archives may have in the data folder."""
    names = [*names_of(dataset)]
    if dataset.name == "tiny_imagenet":
        names.append(TINY_FOLDER)
    suffixes = (".zip", ".npz", *TAR_SUFFIXES, *TABLE_SUFFIXES)
    archives = [f"{name}{suffix}" for name in names for suffix in suffixes]
    if dataset.name in get_args(ImageNetSubset):
        names.append(IMAGENET_FOLDER)
    return names, archives


def packed_source(dataset: Dataset, folder: Path, fetch: bool) -> ImageSource | None:
    """Return a dataset whose tar archive is in the folder, which is unpacked with `fetch`.

    None if there is no such archive, or a folder beside it. Raises DataMissing without `fetch`.
    """
    for name in names_of(dataset):
        archive, target = tar_archive(folder, name), folder / name
        if archive is None or target.exists():
            continue
        if not fetch:
            raise DataMissing(
                f"{escape_text(archive.name)} is in {folder}, but not unpacked",
                hint=f"unpack it to {escape_text(name)}/, as ddspec run does",
            )
        unpack(archive, target)
        source = image_file_source(dataset, folder)
        note = f"{escape_text(archive.name)} was unpacked to {escape_text(name)}/"
        return None if source is None else replace(source, notes=(*source.notes, note))
    return None


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
