"""Real images as tensors on the device, normalised by channel or whitened."""

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.plan.steps import DatasetStep
from ddspec.engine.machine.stopwatch import Stopwatch
from ddspec.engine.numerics.seeds import random_stream
from ddspec.engine.numerics.whitening import Whitening, fit_whitening, standardised
from ddspec.engine.store.artifacts import (
    FEWER_NUMBERS_HINT,
    WHITENING_HINT,
    image_digest,
    read_whitening,
    whitening_digest,
    whitening_preimage,
)
from ddspec.engine.store.hdf5_file import read_text_attribute
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store


@dataclass(frozen=True)
class RealData:
    """Images of all splits as networks receive them, on the device, class-major."""

    train_images: Float[Tensor, "n c h w"]
    train_labels: Int[Tensor, " n"]
    test_images: Float[Tensor, "m c h w"]
    test_labels: Int[Tensor, " m"]
    validation_images: Float[Tensor, "k c h w"]
    """Held out of the training images; k is 0 if the spec holds none out."""
    validation_labels: Int[Tensor, " k"]


@dataclass(frozen=True)
class LabelledBytes:
    """The images of a split that a spec asks for, as bytes, class-major, with their labels."""

    images: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]


def load_data(step: DatasetStep, store: Store, device: torch.device) -> RealData:
    """Return a dataset's images, prepared as its step says.

    A missing whitening is fitted and stored. Raises StoreError if the stored images are not
    those that the plan was made for.
    """
    with store.open("dataset", image_digest(step.facts.fingerprint)) as file:
        white = int(file.attrs["white"])
        splits = {split: read_split(step, file, split) for split in ("train", "test")}
    training, held_out = hold_out(step, splits["train"])
    if len(training.labels) != step.facts.train_count:
        raise StoreError(
            f"the plan states {step.facts.train_count:,} training images, but the stored "
            f"images that it names give {len(training.labels):,}",
            hint="make the plan again from its spec",
        )
    if step.dataset.zca:
        fit_whitening_once(step, training.images, white, store)
        whitening = read_whitening(store, step)
        train, test, validation = (
            whiten(part.images, whitening, white, device)
            for part in (training, splits["test"], held_out)
        )
    else:
        train, test, validation = (
            normalise(part.images.to(device), step.facts, white)
            for part in (training, splits["test"], held_out)
        )
    return RealData(
        train_images=train,
        train_labels=training.labels.to(device),
        test_images=test,
        test_labels=splits["test"].labels.to(device),
        validation_images=validation,
        validation_labels=held_out.labels.to(device),
    )


def read_split(step: DatasetStep, file: h5py.File, split: str) -> LabelledBytes:
    """Read the classes of a split that a spec asks for, labelled in its order."""
    stored_classes = json.loads(read_text_attribute(file, "class_names"))
    counts = np.bincount(file[f"{split}_labels"][()], minlength=len(stored_classes))
    most = step.dataset.images_per_class if split == "train" else None
    parts = []
    for name in step.facts.class_names:
        number = stored_classes.index(name)
        first, count = int(counts[:number].sum()), int(counts[number])
        parts.append(slice(first, first + min(count, most or count)))
    sizes = [part.stop - part.start for part in parts]
    numbers = sum(sizes) * int(np.prod(file[f"{split}_images"].shape[1:]))
    # As bytes, and as floats if they are on the CPU, where they may be normalised in place.
    copies = 5 if step.route.device == "cpu" else 1
    claim(copies * numbers, f"the {split} images of {step.dataset.name}", FEWER_NUMBERS_HINT)
    # Adjacent classes are read in one piece, which saves the copy of joining them.
    if all(before.stop == after.start for before, after in pairwise(parts)):
        images = file[f"{split}_images"][parts[0].start : parts[-1].stop]
    else:
        images = np.concatenate([file[f"{split}_images"][part] for part in parts])
    labels = np.repeat(np.arange(len(parts)), sizes)
    return LabelledBytes(torch.from_numpy(images), torch.from_numpy(labels))


def hold_out(step: DatasetStep, labelled: LabelledBytes) -> tuple[LabelledBytes, LabelledBytes]:
    """Split training images, at random in each class, into those trained on and held out."""
    if not step.facts.validation_per_class:
        return labelled, LabelledBytes(labelled.images[:0], labelled.labels[:0])
    kept = torch.ones(len(labelled.labels), dtype=torch.bool)
    first = 0
    for label, (name, held) in enumerate(
        zip(step.facts.class_names, step.facts.validation_per_class, strict=True)
    ):
        count = step.facts.train_per_class[label] + held
        order = torch.randperm(
            count, generator=random_stream(step.dataset.split_seed, "validation", name)
        )
        kept[first + order[:held]] = False
        first += count
    training = LabelledBytes(labelled.images[kept], labelled.labels[kept])
    return training, LabelledBytes(labelled.images[~kept], labelled.labels[~kept])


def fit_whitening_once(step: DatasetStep, images: Tensor, white: int, store: Store) -> None:
    """Fit the whitening of a training set and store it, unless the store has it."""
    if store.has("whitening", whitening_digest(step)):
        return
    facts = step.facts
    pixels = facts.channels * facts.height * facts.width
    # The covariance, its eigenvectors, and the memory of the decomposition, in float64.
    size = f"{facts.height}x{facts.width} pixels"
    claim(3 * 8 * pixels**2, f"fitting a whitening to images of {size}", WHITENING_HINT)
    stopwatch = Stopwatch(step.route)
    form = step.dataset.whitening
    assert form is not None  # The caller whitens.
    whitening = fit_whitening(images.numpy(), white, form, facts.std)
    arrays: dict[str, NDArray[Any]] = {
        "mean": whitening.mean,
        "values": whitening.values,
        "vectors": whitening.vectors,
    }
    if whitening.scale is not None:
        arrays["scale"] = whitening.scale
    if whitening.contrast is not None:
        arrays["contrast"] = whitening.contrast
    made = Provenance().then(stopwatch.work())
    store.put("whitening", whitening_preimage(step), arrays, made)


def normalise(images: Tensor, facts: DatasetFacts, white: int) -> Float[Tensor, "n c h w"]:
    """Return bytes as numbers with mean 0 and standard deviation 1 per channel."""
    mean = torch.tensor(facts.mean, device=images.device)[:, None, None]
    std = torch.tensor(facts.std, device=images.device)[:, None, None]
    return images.float().div_(white).sub_(mean).div_(std)


WHITENED_AT_ONCE = 5000
"""Number of images whitened at once, which bounds the memory needed beside the result."""


def whiten(
    images: Tensor, whitening: Whitening, white: int, device: torch.device
) -> Float[Tensor, "n c h w"]:
    """Return bytes (n, c, h, w) as ZCA-whitened numbers of the same shape."""
    matrix = torch.from_numpy(whitening.forward_matrix()).to(device)
    mean = torch.from_numpy(whitening.mean.astype(np.float32)).to(device)
    parts = []
    for part in images.split(WHITENED_AT_ONCE):
        flat = part.to(device).flatten(1).float().div_(white)
        if whitening.standardises:
            flat = torch.from_numpy(standardised(flat.cpu().numpy())).to(flat)
        parts.append((flat - mean) @ matrix)
    return torch.cat(parts).view(images.shape)
