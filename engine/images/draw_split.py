"""Choosing test images at random, by a seed, for a dataset that comes without a split."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import torch

from ddspec.dsl.diagnostics import DataError
from ddspec.engine.images.open_image import ImageFile
from ddspec.engine.numerics.seeds import random_stream

UNSPLIT = "unsplit"
"""The split of images that have none yet."""


def positions_to_test_on(count: int, class_name: str, share: float, seed: int) -> set[int]:
    """Return which of the images of a class, in their order, are drawn to test on.

    Their number is `share * count`, rounded, but at least one; at least one is left to train on.
    Raises DataError if there are fewer than two images.
    """
    if count < 2:
        raise DataError(
            f'class "{class_name}" has only one image, which cannot be split',
            hint="add an image to it, or leave the class out",
        )
    drawn = min(count - 1, max(1, round(count * share)))
    order = torch.randperm(count, generator=random_stream(seed, "split", class_name))
    return set(order[:drawn].tolist())


def draw_split(files: Sequence[ImageFile], share: float, seed: int) -> list[ImageFile]:
    """Return files without a split as training and test images, drawn in each class.

    The draw depends on the names of classes and files, not on the order of `files`.
    """
    in_order = sorted(files, key=lambda file: (file.class_name, file.file_name))
    split = []
    for class_name, members in groupby(in_order, key=lambda file: file.class_name):
        images = list(members)
        chosen = positions_to_test_on(len(images), class_name, share, seed)
        split += [
            replace(file, split="test" if position in chosen else "train")
            for position, file in enumerate(images)
        ]
    return split
