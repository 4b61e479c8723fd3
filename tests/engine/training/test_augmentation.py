"""Every family against an independent reading of it; shifts and turns are exact transposes."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ddspec.dsl.terms import AugmentationFamily
from ddspec.engine.training.augmentation import (
    AugmentationDraw,
    Rotation,
    augment,
    draw_augmentation,
)

FAMILIES = get_args(AugmentationFamily)


def images(count=5, channels=3, height=8, width=8):
    generator = torch.Generator().manual_seed(0)
    return torch.randn((count, channels, height, width), generator=generator, dtype=torch.float64)


def uniform(count=5, seed=1):
    return torch.rand(
        (count, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def test_color_is_brightness_then_saturation_then_contrast():
    x, u = images(), uniform()
    expected = []
    for image, (a, b, c) in zip(x.numpy(), u.numpy(), strict=True):
        image = image + (a - 0.5)
        grey = image.mean(axis=0, keepdims=True)
        image = (image - grey) * 2 * b + grey
        expected.append((image - image.mean()) * (c + 0.5) + image.mean())
    torch.testing.assert_close(
        augment(x, AugmentationDraw("color", u)), torch.tensor(np.array(expected))
    )


def test_crop_shifts_by_whole_pixels_and_fills_with_zeros():
    x, u = images(height=16, width=16), uniform(seed=5)
    most = 2
    moved = augment(x, AugmentationDraw("crop", u))
    for image, result, (a, b, _) in zip(x, moved, u.tolist(), strict=True):
        dy, dx = (math.floor(v * (2 * most + 1)) - most for v in (a, b))
        padded = F.pad(image, (most,) * 4)
        expected = padded[:, most + dy : most + dy + 16, most + dx : most + dx + 16]
        torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("size", [8, 6, 10])
def test_cutout_clamps_its_box_to_the_image(size):
    """Box sides 4, 3 and 5: centres reach `size` only where the side is even."""
    side = int(0.5 * size + 0.5)
    u = torch.rand((200, 3), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    cut = augment(
        torch.ones(200, 1, size, size, dtype=torch.float64), AugmentationDraw("cutout", u)
    )
    for result, (a, b, _) in zip(cut, u.tolist(), strict=True):
        expected = torch.ones(size, size, dtype=torch.float64)
        rows, columns = (
            sorted(
                {
                    min(max(math.floor(v * (size + (side % 2 == 0))) - side // 2 + k, 0), size - 1)
                    for k in range(side)
                }
            )
            for v in (a, b)
        )
        for row in rows:
            for column in columns:
                expected[row, column] = 0
        assert torch.equal(result[0], expected)


def test_flip_mirrors_half_of_the_images():
    x, u = (
        images(count=200),
        torch.rand(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4)),
    )
    flipped = augment(x, AugmentationDraw("flip", u))
    for image, result, first in zip(x, flipped, u[:, 0].tolist(), strict=True):
        assert torch.equal(result, image.flip(2) if first < 0.5 else image)


def affine(x, matrix):
    """torch's own sampling, aligned at the corners as in the field's code."""
    grid = F.affine_grid(matrix, list(x.shape), align_corners=True)
    return F.grid_sample(x, grid, align_corners=True)


def test_scale_is_affine_sampling():
    x, u = images(), uniform()
    factors = u * (1.2 - 1 / 1.2) + 1 / 1.2
    matrix = torch.zeros(5, 2, 3, dtype=torch.float64)
    matrix[:, 0, 0], matrix[:, 1, 1] = factors[:, 0], factors[:, 1]
    torch.testing.assert_close(augment(x, AugmentationDraw("scale", u)), affine(x, matrix))


def test_rotation_is_affine_sampling_on_square_images():
    x, u = images(height=9, width=9), uniform()
    angles = (2 * u[:, 0] - 1) * math.radians(15)
    matrix = torch.zeros(5, 2, 3, dtype=torch.float64)
    matrix[:, 0, 0] = matrix[:, 1, 1] = angles.cos()
    matrix[:, 0, 1], matrix[:, 1, 0] = -angles.sin(), angles.sin()
    torch.testing.assert_close(augment(x, AugmentationDraw("rotate", u)), affine(x, matrix))


def test_rotation_and_its_pass_back_are_transposes():
    """<A x, y> = <x, A' y> for every angle, also on images that are not square."""
    x, y = images(count=40, height=7, width=10), images(count=40, height=7, width=10).flip(0)
    angles = torch.linspace(-0.26, 0.26, 40, dtype=torch.float64)
    left = (Rotation.apply(x, angles, False) * y).sum(dim=(1, 2, 3))
    right = (x * Rotation.apply(y, angles, True)).sum(dim=(1, 2, 3))
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_derivative_it_claims(family):
    x = images(count=2, channels=2, height=4, width=4).requires_grad_()
    drawn = AugmentationDraw(family, uniform(count=2))
    assert torch.autograd.gradcheck(lambda pixels: augment(pixels, drawn), x)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_affine_in_the_pixels(family):
    drawn, a, b = AugmentationDraw(family, uniform()), images(), images().flip(0)
    middle = augment((a + b) / 2, drawn)
    torch.testing.assert_close(middle, (augment(a, drawn) + augment(b, drawn)) / 2)


def test_a_batch_gets_one_family_drawn_from_those_given():
    generator = torch.Generator().manual_seed(0)
    drawn = {draw_augmentation(["crop", "flip"], 3, generator).family for _ in range(50)}
    assert drawn == {"crop", "flip"}
    assert draw_augmentation([], 3, generator) is None
