"""Real images as tensors on the device, normalised by channel or whitened."""

import json
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.plan.steps import DatasetStep
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.numerics.whitening import Whitening, fit_whitening
from ddspec.engine.store.artifacts import (
    ZCA_EPSILON,
    image_digest,
    read_whitening,
    whitening_digest,
    whitening_preimage,
)
from ddspec.engine.store.hdf5_file import read_text_attribute
from ddspec.engine.store.store import Provenance, Store


@dataclass(frozen=True)
class RealData:
    """Images of all splits as networks are given them, on the device, class-major."""

    train_images: Float[Tensor, "n c h w"]
    train_labels: Int[Tensor, " n"]
    test_images: Float[Tensor, "m c h w"]
    test_labels: Int[Tensor, " m"]
    validation_images: Float[Tensor, "k c h w"]
    """Held out of the training images; none where a spec holds none out."""
    validation_labels: Int[Tensor, " k"]


@dataclass(frozen=True)
class LabelledBytes:
    """Of the images of a source, class by class, those that a spec asks for: bytes and labels."""

    images: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]


def load_data(step: DatasetStep, store: Store, device: torch.device) -> RealData:
    """The images of the step's fingerprint as it prepares them; fits a whitening once."""
    with store.open("dataset", image_digest(step.facts.fingerprint)) as file:
        white = int(file.attrs["white"])
        chosen = {split: read_split(step, file, split) for split in ("train", "test")}
    training, held = hold_out(step, chosen["train"])
    if len(training.labels) != step.facts.train_count:
        raise StoreError("the images in the store are not those of the plan")
    if step.dataset.zca:
        fit_whitening_once(step, training.images, white, store)
        whitening = read_whitening(store, step)
        train, test, validation = (
            whiten(part.images, whitening, white, device)
            for part in (training, chosen["test"], held)
        )
    else:
        train, test, validation = (
            normalise(part.images.to(device), step.facts, white)
            for part in (training, chosen["test"], held)
        )
    return RealData(
        train_images=train,
        train_labels=training.labels.to(device),
        test_images=test,
        test_labels=chosen["test"].labels.to(device),
        validation_images=validation,
        validation_labels=held.labels.to(device),
    )


def read_split(step: DatasetStep, file: h5py.File, split: str) -> LabelledBytes:
    """The images of a split that lie in the classes that are asked for, labelled in their order."""
    there = json.loads(read_text_attribute(file, "class_names"))
    counts = np.bincount(file[f"{split}_labels"][()], minlength=len(there))
    most = step.dataset.images_per_class if split == "train" else None
    parts = []
    for name in step.facts.class_names:
        number = there.index(name)
        first, count = int(counts[:number].sum()), int(counts[number])
        parts.append(slice(first, first + min(count, most or count)))
    if all(before.stop == after.start for before, after in pairwise(parts)):
        images = file[f"{split}_images"][parts[0].start : parts[-1].stop]
    else:
        images = np.concatenate([file[f"{split}_images"][part] for part in parts])
    sizes = [part.stop - part.start for part in parts]
    labels = np.repeat(np.arange(len(parts)), sizes)
    return LabelledBytes(torch.from_numpy(images), torch.from_numpy(labels))


def hold_out(step: DatasetStep, chosen: LabelledBytes) -> tuple[LabelledBytes, LabelledBytes]:
    """Training images without, and those of, the share that is held out: random in each class."""
    if not step.facts.validation_per_class:
        return chosen, LabelledBytes(chosen.images[:0], chosen.labels[:0])
    keep = torch.ones(len(chosen.labels), dtype=torch.bool)
    first = 0
    for label, (name, held) in enumerate(
        zip(step.facts.class_names, step.facts.validation_per_class, strict=True)
    ):
        count = step.facts.train_per_class[label] + held
        order = torch.randperm(
            count, generator=random_stream(step.dataset.split_seed, "validation", name)
        )
        keep[first + order[:held]] = False
        first += count
    training = LabelledBytes(chosen.images[keep], chosen.labels[keep])
    return training, LabelledBytes(chosen.images[~keep], chosen.labels[~keep])


def fit_whitening_once(step: DatasetStep, images: Tensor, white: int, store: Store) -> None:
    """Fit the whitening of a training set, unless the store has it."""
    if store.has("whitening", whitening_digest(step)):
        return
    began = time.monotonic()
    found = fit_whitening(images.numpy(), white, ZCA_EPSILON)
    arrays: dict[str, NDArray[Any]] = {
        "mean": found.mean,
        "values": found.values,
        "vectors": found.vectors,
    }
    made = Provenance().then(step.route, time.monotonic() - began)
    store.put("whitening", whitening_preimage(step), arrays, made)


def normalise(images: Tensor, facts: DatasetFacts, white: int) -> Float[Tensor, "n c h w"]:
    """Bytes to numbers of mean 0 and standard deviation 1 per channel."""
    mean = torch.tensor(facts.mean, device=images.device)[:, None, None]
    std = torch.tensor(facts.std, device=images.device)[:, None, None]
    return images.float().div_(white).sub_(mean).div_(std)


WHITENED_AT_ONCE = 5000
"""Images that are whitened at once, which bounds the memory beside the result."""


def whiten(
    images: Tensor, whitening: Whitening, white: int, device: torch.device
) -> Float[Tensor, "n c h w"]:
    """Bytes to whitened numbers."""
    matrix = torch.from_numpy(whitening.forward_matrix()).to(device)
    mean = torch.from_numpy(whitening.mean.astype(np.float32)).to(device)
    parts = [
        (part.to(device).flatten(1).float().div_(white) - mean) @ matrix
        for part in images.split(WHITENED_AT_ONCE)
    ]
    return torch.cat(parts).view(images.shape)
