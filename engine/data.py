"""Real images as tensors on the device, normalised by channel or whitened."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ddspec.dsl.datasets import DatasetFacts
from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.plan import DatasetStep
from ddspec.engine.artifacts import (
    ZCA_EPSILON,
    image_digest,
    read_whitening,
    whitening_digest,
    whitening_preimage,
)
from ddspec.engine.store import Provenance, Store
from ddspec.engine.whitening import Whitening, fit_whitening


@dataclass(frozen=True)
class RealData:
    """Images of both splits as networks are given them, on the device, class-major."""

    train_images: Float[Tensor, "n c h w"]
    train_labels: Int[Tensor, " n"]
    test_images: Float[Tensor, "m c h w"]
    test_labels: Int[Tensor, " m"]


def load_data(step: DatasetStep, store: Store, device: torch.device) -> RealData:
    """The images of the step's fingerprint as it prepares them; fits a whitening once."""
    facts = step.facts
    with store.open("dataset", image_digest(facts.fingerprint)) as file:
        white = int(file.attrs["white"])
        found = {name: torch.from_numpy(file[name][()]) for name in file}
    if len(found["train_images"]) != facts.train_count:
        raise StoreError("the images in the store are not those of the plan")
    if step.dataset.zca:
        make_whitening(step, found["train_images"], white, store)
        whitening = read_whitening(store, facts.fingerprint)
        images = [
            whitened(found[f"{split}_images"], whitening, white, device)
            for split in ("train", "test")
        ]
    else:
        images = [
            normalised(found[f"{split}_images"].to(device), facts, white)
            for split in ("train", "test")
        ]
    return RealData(
        train_images=images[0],
        train_labels=found["train_labels"].to(device),
        test_images=images[1],
        test_labels=found["test_labels"].to(device),
    )


def make_whitening(step: DatasetStep, images: Tensor, white: int, store: Store) -> None:
    """Fit the whitening of a training set, unless the store has it."""
    fingerprint = step.facts.fingerprint
    if store.has("whitening", whitening_digest(fingerprint)):
        return
    began = time.monotonic()
    found = fit_whitening(images.numpy(), white, ZCA_EPSILON)
    arrays: dict[str, NDArray[Any]] = {
        "mean": found.mean,
        "values": found.values,
        "vectors": found.vectors,
    }
    made = Provenance().then(step.route, time.monotonic() - began)
    store.put("whitening", whitening_preimage(fingerprint), arrays, made)


def normalised(images: Tensor, facts: DatasetFacts, white: int) -> Float[Tensor, "n c h w"]:
    """Bytes to numbers of mean 0 and standard deviation 1 per channel."""
    mean = torch.tensor(facts.mean, device=images.device)[:, None, None]
    std = torch.tensor(facts.std, device=images.device)[:, None, None]
    return images.float().div_(white).sub_(mean).div_(std)


WHITENED_AT_ONCE = 5000
"""Images that are whitened at once, which bounds the memory beside the result."""


def whitened(
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
