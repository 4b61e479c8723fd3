"""Reading a dataset once: its images are stored as bytes, its facts as a note."""

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ddspec.dsl.facts.datasets import KNOWN, DatasetFacts, side_of
from ddspec.dsl.facts.reading import DataReading
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.raw_dataset import RawDataset
from ddspec.engine.images.sources.find_images import find_source
from ddspec.engine.machine.environment import environment
from ddspec.engine.store.artifacts import image_digest, image_preimage
from ddspec.engine.store.hdf5_file import read_text_attribute
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store


@dataclass(frozen=True)
class DatasetReading:
    """Facts of a dataset's images, and from which files they were read."""

    facts: DatasetFacts
    reading: DataReading


def dataset_facts(
    dataset: Dataset, folder: Path, store: Store, fetch: bool = False
) -> DatasetFacts:
    """Return shapes, statistics and fingerprint of a dataset, as `read_dataset` does."""
    return read_dataset(dataset, folder, store, fetch).facts


def read_dataset(
    dataset: Dataset, folder: Path, store: Store, fetch: bool = False
) -> DatasetReading:
    """Return shapes, statistics and fingerprint of a dataset, and what was read of it.

    Images are read only if the store has none for the present state of their files, or if these
    changed just now. Raises DataError if images are missing, broken, or not those of the dataset.
    """
    source = find_source(dataset, folder, fetch)
    if source.is_settled:
        note = store.noted(f"source-{source.signature}")
        with contextlib.suppress(ValidationError):
            facts = DatasetFacts.model_validate_json(json.dumps(note))
            if stored_classes(store, facts.fingerprint) == facts.class_names:
                return DatasetReading(facts, source.reading)
    began = time.monotonic()
    raw = source.read()
    facts = ingest(dataset, raw, store, time.monotonic() - began)
    if source.is_settled:
        store.note_if_writable(f"source-{source.signature}", facts.model_dump(mode="json"))
    return DatasetReading(facts, source.reading)


def stored_classes(store: Store, fingerprint: str) -> tuple[str, ...] | None:
    """Return the names of the classes of stored images; None if they are not stored.

    Raises StoreError if they are damaged. Images with other names of their classes have the same
    fingerprint.
    """
    name = image_digest(fingerprint)
    if store.has("dataset", name):
        with store.open("dataset", name) as file:
            return tuple(json.loads(read_text_attribute(file, "class_names")))
    return None


def ingest(dataset: Dataset, raw: RawDataset, store: Store, seconds: float) -> DatasetFacts:
    """Store images, unless the store has them, and return their facts.

    `seconds` is the time that reading them took.
    """
    facts = facts_of(dataset, raw)
    if stored_classes(store, facts.fingerprint) == facts.class_names:
        return facts
    arrays: dict[str, NDArray[Any]] = {
        "train_images": raw.train.images,
        "train_labels": raw.train.labels,
        "test_images": raw.test.images,
        "test_labels": raw.test.labels,
    }
    made = Provenance(environments=(environment("cpu"),), seconds=seconds)
    attributes = {"white": raw.white, "class_names": json.dumps(raw.class_names)}
    if side_of(dataset) is not None:
        attributes["resized"] = (
            f"to {facts.height}x{facts.width} pixels, {dataset.fit}, bilinear and antialiased"
        )
    store.put("dataset", image_preimage(facts.fingerprint), arrays, made, attributes)
    return facts


NUMBERS_AT_ONCE = 2**24
"""Numbers that are counted at once; NumPy copies them with eight times their bytes."""


def facts_of(dataset: Dataset, raw: RawDataset) -> DatasetFacts:
    """Return shapes, counts, statistics and fingerprint of images."""
    known = KNOWN.get(dataset.name)
    mean, std = (known.mean, known.std) if known else statistics(raw)
    channels, height, width = raw.train.images.shape[1:]
    return DatasetFacts(
        channels=channels,
        height=height,
        width=width,
        class_names=raw.class_names,
        train_per_class=raw.train.per_class(len(raw.class_names)),
        test_per_class=raw.test.per_class(len(raw.class_names)),
        mean=mean,
        std=std,
        fingerprint=raw.fingerprint,
    )


def value_counts(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how often each of the 256 values occurs in images (n, height, width)."""
    at_once = max(1, NUMBERS_AT_ONCE // max(1, pixels[0].size))
    parts = (pixels[first : first + at_once] for first in range(0, len(pixels), at_once))
    return np.sum([np.bincount(part.reshape(-1), minlength=256) for part in parts], axis=0)


def statistics(raw: RawDataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of the training images in [0, 1].

    Both are rounded to six digits. A deviation is at least 0.001, because images are divided
    by it.
    """
    channels = [raw.train.images[:, channel] for channel in range(raw.train.images.shape[1])]
    # Counting each of the 256 values is exact and needs no copy of the images as floats.
    counts = [value_counts(pixels) for pixels in channels]
    values = np.arange(256) / raw.white
    mean = np.array([(count * values).sum() / count.sum() for count in counts])
    square = np.array([(count * values**2).sum() / count.sum() for count in counts])
    std = np.maximum(np.sqrt(np.maximum(square - mean**2, 0.0)), 1e-3)
    return tuple(round(float(m), 6) for m in mean), tuple(round(float(s), 6) for s in std)
