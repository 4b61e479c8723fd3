"""The shapes that are measured, with random images, so that no dataset is needed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ddspec.dsl.terms import AugmentationFamily


@dataclass(frozen=True)
class Shape:
    """Images, classes, and the ConvNet that the field uses for them."""

    name: str
    channels: int
    side: int
    classes: int
    depth: int
    width: int

    def images(self, count: int, seed: int = 0) -> Tensor:
        """Return random images, normalised as networks receive them."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, self.channels, self.side, self.side, generator=generator)

    def labels(self, count: int) -> Tensor:
        """Return labels with equally many images of every class."""
        return torch.arange(count) * self.classes // count


DIGITS_SHAPE = Shape("digits", 1, 8, 10, 2, 32)
CIFAR10_SHAPE = Shape("CIFAR-10", 3, 32, 10, 3, 128)
TINY_IMAGENET_SHAPE = Shape("Tiny ImageNet", 3, 64, 200, 4, 128)

STUDENT_LR = 0.01
BATCH = 256
FAMILIES: tuple[AugmentationFamily, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")
