"""Real images as tensors, normalised on the device."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ddspec.dsl.datasets import DatasetFacts
from ddspec.dsl.diagnostics import StoreError
from ddspec.engine.artifacts import image_digest
from ddspec.engine.store import Store


@dataclass(frozen=True)
class RealData:
    """Normalised images of both splits on the device, class-major."""

    train_images: Float[Tensor, "n c h w"]
    train_labels: Int[Tensor, " n"]
    test_images: Float[Tensor, "m c h w"]
    test_labels: Int[Tensor, " m"]


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
    mean = torch.tensor(facts.mean, device=images.device)[:, None, None]
    std = torch.tensor(facts.std, device=images.device)[:, None, None]
    return images.float().div_(white).sub_(mean).div_(std)
