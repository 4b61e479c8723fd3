"""A dataset that an installed extension reads."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.keys.extension import ExtensionReader
from ddspec.dsl.regular_file import resolved
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.listing import states_of
from ddspec.engine.images.raw_dataset import RawDataset, Split
from ddspec.engine.images.sources.image_source import (
    ImageSource,
    labelled_split,
    resized_source,
    signature,
)
from ddspec.engine.numerics.extension_code import call_part


def extension_source(dataset: Dataset, reader: ExtensionReader, folder: Path) -> ImageSource:
    """Return a dataset that an extension reads, from its own folder below the data folder.

    What was read once is trusted as long as the files of that folder and the extension's code
    stay the same. If the folder has no files, it is read every time.
    """
    place = folder / (dataset.root or dataset.name.partition("/")[2])
    files = sorted(path for path in place.rglob("*") if path.is_file())
    state, changed_ns = states_of(files)
    parts = [str(resolved(place)), *state, str(reader.version), str(reader.code)]

    def read() -> RawDataset:
        return raw_dataset(reader.name, call_part("datasets", reader, folder=place))

    state_hash = signature(dataset.name, parts)
    source = resized_source(dataset.name, state_hash, read, dataset, changed_ns)
    note = f"read by version {reader.version} of the extension of {reader.owner}"
    return replace(source, is_settled=source.is_settled and bool(files), notes=(note,))


def raw_dataset(name: str, value: Any) -> RawDataset:
    """Return what a reader delivered; raise DataError unless it is a dataset."""
    parts = {"train", "test", "classes"}
    if not isinstance(value, Mapping) or not parts <= set(value):
        raise wrong(name, "it is not a mapping with train, test and classes")
    named = value["classes"]
    if not isinstance(named, list | tuple) or not all(isinstance(name, str) for name in named):
        raise wrong(name, "classes are not a list of names")
    classes = tuple(named)
    if len(set(classes)) != len(classes) or len(classes) < 2:
        raise wrong(name, "classes are not two or more different names")
    train, test = (split_of(name, part, value[part], len(classes)) for part in ("train", "test"))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise wrong(name, "training and test images have different shapes")
    return RawDataset(train, test, classes, white=255)


def split_of(name: str, split: str, value: Any, classes: int) -> Split:
    """Return one split, class-major; raise DataError unless it is images with their labels."""
    try:
        images, labels = (np.asarray(part) for part in value)
    except (TypeError, ValueError) as error:
        raise wrong(name, f"{split} is not a pair of images and labels: {error}") from None
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        found = f"{images.dtype} of shape {images.shape}"
        raise wrong(name, f"the images of {split} are {found}, not bytes (n, h, w, c) or (n, h, w)")
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[3] not in (1, 3):
        raise wrong(name, f"the images of {split} have {images.shape[3]} channels, not 1 or 3")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise wrong(name, f"the labels of {split} are not a list of whole numbers")
    arrays = np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels.astype(np.int64)
    return labelled_split(*arrays, classes, f"{split} of {name}", f"{split} of {name}")


def wrong(name: str, problem: str) -> DataError:
    """Return the error of a reader that delivered something else than a dataset."""
    return DataError(
        f"{name} did not deliver a dataset: {problem}", hint="see ddspec.extensions.Part"
    )
