"""Real images as tensors: kept once as bytes in the store, normalised on the device."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.datasets import KNOWN, DatasetFacts
from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.digest import digest
from ddspec.dsl.plan import Route
from ddspec.dsl.spec import Dataset
from ddspec.engine.raw import RawDataset
from ddspec.engine.sources import find_source
from ddspec.engine.store import Provenance, Store


@dataclass(frozen=True)
class RealData:
    """Normalised images of both splits on the device, class-major."""

    train_images: Float[Tensor, "n c h w"]
    train_labels: Int[Tensor, " n"]
    test_images: Float[Tensor, "m c h w"]
    test_labels: Int[Tensor, " m"]


def dataset_facts(dataset: Dataset, folder: Path, store: Store) -> DatasetFacts:
    """Shapes, statistics and fingerprint of the images; read once, then known by their files.

    Raises DataError where they are missing, broken, or not what they claim to be.
    """
    source = find_source(dataset, folder)
    noted = store.noted(f"source-{source.signature}")
    if noted is not None:
        facts = DatasetFacts.model_validate_json(json.dumps(noted))
        if store.has("dataset", image_digest(facts.fingerprint)):
            return facts
    return ingest(dataset, source.read(), source.signature, store)


def image_digest(fingerprint: str) -> str:
    """Name of the artifact that holds the images of that fingerprint."""
    return digest(image_preimage(fingerprint))


def image_preimage(fingerprint: str) -> dict[str, str]:
    """Images are named by their content, whatever normalisation a spec asks for."""
    return {"images": fingerprint}


def ingest(dataset: Dataset, raw: RawDataset, signature: str, store: Store) -> DatasetFacts:
    """Keep the images in the store and note what they are."""
    known = KNOWN.get(dataset.name)
    mean, std = (known.mean, known.std) if known else statistics(raw)
    channels, height, width = raw.train.images.shape[1:]
    facts = DatasetFacts(
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
    arrays: dict[str, NDArray[Any]] = {
        "train_images": raw.train.images,
        "train_labels": raw.train.labels,
        "test_images": raw.test.images,
        "test_labels": raw.test.labels,
    }
    made = Provenance(Route(device="cpu", threads=1), 0.0)
    store.put("dataset", image_preimage(facts.fingerprint), arrays, made, {"white": raw.white})
    store.note(f"source-{signature}", facts.model_dump(mode="json"))
    return facts


def statistics(raw: RawDataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of the training images in [0, 1]."""
    pixels = raw.train.images.astype(np.float64) / raw.white
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    std = np.maximum(std, 1e-3)
    return tuple(round(float(m), 6) for m in mean), tuple(round(float(s), 6) for s in std)


def load_data(facts: DatasetFacts, store: Store, device: torch.device) -> RealData:
    """The images of that fingerprint, normalised, on the device."""
    with store.open("dataset", image_digest(facts.fingerprint)) as file:
        white = int(file.attrs["white"])
        found = {name: torch.from_numpy(file[name][()]) for name in file}
    if len(found["train_images"]) != facts.train_count:
        raise StoreError("the images in the store are not those of the plan")
    return RealData(
        train_images=normalised(found["train_images"].to(device), facts, white),
        train_labels=found["train_labels"].to(device),
        test_images=normalised(found["test_images"].to(device), facts, white),
        test_labels=found["test_labels"].to(device),
    )


def normalised(images: Tensor, facts: DatasetFacts, white: int) -> Float[Tensor, "n c h w"]:
    """Bytes to numbers of mean 0 and standard deviation 1 per channel."""
    mean, std = channel_statistics(facts, images.device)
    return images.float().div_(white).sub_(mean).div_(std)


def channel_statistics(facts: DatasetFacts, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, shaped to meet a batch of images."""
    mean = torch.tensor(facts.mean, device=device)[:, None, None]
    std = torch.tensor(facts.std, device=device)[:, None, None]
    return mean, std


def to_pixels(images: Float[Tensor, "n c h w"], facts: DatasetFacts) -> Float[Tensor, "n c h w"]:
    """Normalised images back in [0, 1], clipped, for looking at."""
    mean, std = channel_statistics(facts, images.device)
    return (images * std + mean).clamp(0, 1)
