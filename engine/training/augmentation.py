"""Differentiable siamese augmentation (DSA), on the device and without a loop over images.

Zhao and Bilen, arXiv:2102.08259, as the trajectory-matching code uses it: one family per batch,
drawn uniformly, with separate parameters for each image. Every operation is affine in the pixels.
Shifts and zooms are products with small matrices, and rotation is a gather in both directions, so
that forward and backward passes are deterministic on every device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.dsl.terms import AugmentationFamily
from ddspec.engine.numerics.seeds import to_device

CROP_RATIO = 0.125
CUTOUT_RATIO = 0.5
SCALE_RATIO = 1.2
ROTATION = math.radians(15)


@dataclass(frozen=True)
class AugmentationDraw:
    """One augmentation of a batch: its family and three uniform numbers per image.

    Numbers for one image alone are shared by all images of a batch.
    """

    family: AugmentationFamily
    uniform: Float[Tensor, "n 3"]

    def of_images(self, indices: Tensor) -> "AugmentationDraw":
        """Return the draw of some of the images of a batch."""
        return AugmentationDraw(self.family, self.uniform[indices])

    def repeated(self, count: int) -> "AugmentationDraw":
        """Return the draw of one image for each of `count` images."""
        return AugmentationDraw(self.family, self.uniform[:1].expand(count, 3))


def draw_augmentation(
    families: Sequence[AugmentationFamily], count: int, generator: torch.Generator
) -> AugmentationDraw | None:
    """Draw an augmentation for `count` images; None without families."""
    if not families:
        return None
    chosen = int(torch.randint(len(families), (), generator=generator))
    # Three numbers per image whatever the family: a draw takes the same part of the stream.
    return AugmentationDraw(families[chosen], torch.rand((count, 3), generator=generator))


def augment(
    images: Float[Tensor, "n c h w"], drawn: AugmentationDraw | None
) -> Float[Tensor, "n c h w"]:
    """Return the augmented batch."""
    if drawn is None:
        return images
    u = to_device(drawn.uniform, images.device).to(images.dtype).expand(len(images), 3)
    match drawn.family:
        case "color":
            return color(images, u)
        case "crop":
            return crop(images, u)
        case "cutout":
            return cutout(images, u)
        case "flip":
            return torch.where(per_image(u[:, 0]) < 0.5, images.flip(3), images)
        case "scale":
            return scale(images, u)
        case "rotate":
            angles = (2 * u[:, 0] - 1) * ROTATION
            return Rotation.apply(images, angles, False)
        case _:
            assert_never(drawn.family)


def per_image(values: Float[Tensor, " n"]) -> Float[Tensor, "n 1 1 1"]:
    """Shape one number per image so that it broadcasts over a batch of images."""
    return values[:, None, None, None]


def color(images: Float[Tensor, "n c h w"], u: Float[Tensor, "n 3"]) -> Float[Tensor, "n c h w"]:
    """Change brightness (by up to 0.5), saturation (factor up to 2), contrast (0.5 to 1.5)."""
    # The order is that of the field's code: brightness, saturation, contrast.
    brighter = images + (per_image(u[:, 0]) - 0.5)
    grey = brighter.mean(dim=1, keepdim=True)
    saturated = (brighter - grey) * (2 * per_image(u[:, 1])) + grey
    mean = saturated.mean(dim=(1, 2, 3), keepdim=True)
    return (saturated - mean) * (per_image(u[:, 2]) + 0.5) + mean


def crop(images: Float[Tensor, "n c h w"], u: Float[Tensor, "n 3"]) -> Float[Tensor, "n c h w"]:
    """Shift by whole pixels, up to an eighth of the image each way; zeros come in."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=u.device) + shift(u[:, :1], height)
    columns = torch.arange(width, device=u.device) + shift(u[:, 1:2], width)
    return resample(images, interpolation(rows, height), interpolation(columns, width))


def shift(u: Float[Tensor, "n 1"], size: int) -> Float[Tensor, "n 1"]:
    """Return a whole number of pixels, uniform in [-s, s], s an eighth of the size."""
    most = int(CROP_RATIO * size + 0.5)
    return torch.floor(u * (2 * most + 1)) - most


def cutout(images: Float[Tensor, "n c h w"], u: Float[Tensor, "n 3"]) -> Float[Tensor, "n c h w"]:
    """Zero a box of half the side; the part of a box outside the image zeroes the border."""
    height, width = images.shape[2:]
    rows, columns = cutout_span(u[:, :1], height), cutout_span(u[:, 1:2], width)
    box = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(box, 0.0, images)


def cutout_span(u: Float[Tensor, "n 1"], size: int) -> Tensor:
    """Return which rows (or columns) a box around a random centre covers.

    Its ends are clamped to the image.
    """
    side = int(CUTOUT_RATIO * size + 0.5)
    # The field's code draws centres up to and including `size` if the side is even.
    centre = torch.floor(u * (size + 1 - side % 2))
    first = (centre - side // 2).clamp(0, size - 1)
    last = (centre - side // 2 + side - 1).clamp(0, size - 1)
    position = torch.arange(size, device=u.device)
    return (position >= first) & (position <= last)


def scale(images: Float[Tensor, "n c h w"], u: Float[Tensor, "n 3"]) -> Float[Tensor, "n c h w"]:
    """Zoom width and height by independent factors in [1/1.2, 1.2]; above one zooms out."""
    height, width = images.shape[2:]
    factors = u[:, :2] * (SCALE_RATIO - 1 / SCALE_RATIO) + 1 / SCALE_RATIO
    columns = around_centre(width, u) * factors[:, :1] + (width - 1) / 2
    rows = around_centre(height, u) * factors[:, 1:] + (height - 1) / 2
    return resample(images, interpolation(rows, height), interpolation(columns, width))


def around_centre(size: int, like: Tensor) -> Float[Tensor, " size"]:
    """Return pixel positions relative to the centre of the image."""
    return torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2


def interpolation(positions: Float[Tensor, "n out"], size: int) -> Float[Tensor, "n out size"]:
    """Return matrices that read a line of pixels at real-valued positions, zero outside."""
    pixel = torch.arange(size, dtype=positions.dtype, device=positions.device)
    return (1 - (positions[:, :, None] - pixel).abs()).clamp(min=0)


def resample(
    images: Float[Tensor, "n c h w"], rows: Float[Tensor, "n h h"], columns: Float[Tensor, "n w w"]
) -> Float[Tensor, "n c h w"]:
    """Resample each image by one matrix for its rows and one for its columns."""
    return rows[:, None] @ images @ columns[:, None].mT


class Rotation(torch.autograd.Function):
    """Rotation about the centre, bilinear, zero outside; or, if `transposed`, its transpose.

    Pixel p of the result reads the image at A p, A = [[cos, -sin], [sin, cos]] in (x, y). The
    transpose is a gather too: pixel q sums over all p with |A p - q| < 1 in both directions. They
    lie within cos 15 + sin 15 = 1.23 of A' q, and so within one pixel of A' q rounded.
    """

    @staticmethod
    def forward(ctx, images, angles, transposed):  # type: ignore[no-untyped-def]
        """Rotate a batch (n c h w) by angles (n) in radians."""
        ctx.save_for_backward(angles)
        ctx.transposed = transposed
        return rotate_transposed(images, angles) if transposed else rotate(images, angles)

    @staticmethod
    def backward(ctx, *gradients):  # type: ignore[no-untyped-def]
        """Apply the transpose, which is the derivative because rotation is linear."""
        (angles,) = ctx.saved_tensors
        return Rotation.apply(gradients[0], angles, not ctx.transposed), None, None


def rotated_positions(
    y: Float[Tensor, "#n m"],
    x: Float[Tensor, "#n m"],
    angles: Float[Tensor, " n"],
    size: torch.Size,
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """Return A times pixel positions, about the centre of an image of that height and width."""
    cy, cx = (size[0] - 1) / 2, (size[1] - 1) / 2
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    return sin * (x - cx) + cos * (y - cy) + cy, cos * (x - cx) - sin * (y - cy) + cx


def pixel_positions(like: Float[Tensor, "n c h w"]) -> tuple[Tensor, Tensor]:
    """Return row and column of every pixel of an image, each of shape (1, h * w)."""
    height, width = like.shape[2:]
    rows = torch.arange(height, dtype=like.dtype, device=like.device)
    columns = torch.arange(width, dtype=like.dtype, device=like.device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return y.reshape(1, -1), x.reshape(1, -1)


def rotate(
    images: Float[Tensor, "n c h w"], angles: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """Rotate: every pixel reads the four pixels around its rotated position."""
    y, x = rotated_positions(*pixel_positions(images), angles, images.shape[2:])
    total = torch.zeros_like(images).flatten(2)
    for dy in (0, 1):
        for dx in (0, 1):
            row, column = y.floor() + dy, x.floor() + dx
            weight = linear_weight(y - row) * linear_weight(x - column)
            total = total + weight[:, None] * read_pixels(images, row, column)
    return total.view_as(images)


def rotate_transposed(
    images: Float[Tensor, "n c h w"], angles: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """Apply the transpose of `rotate`: every pixel sums over the pixels that had read it."""
    size = images.shape[2:]
    pixel_y, pixel_x = pixel_positions(images)
    y, x = rotated_positions(pixel_y, pixel_x, -angles, size)
    total = torch.zeros_like(images).flatten(2)
    # Nine candidates cover every pixel that may have read this one (see `Rotation`).
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            row, column = y.round() + dy, x.round() + dx
            read_y, read_x = rotated_positions(row, column, angles, size)
            weight = linear_weight(read_y - pixel_y) * linear_weight(read_x - pixel_x)
            total = total + weight[:, None] * read_pixels(images, row, column)
    return total.view_as(images)


def linear_weight(distance: Tensor) -> Tensor:
    """Return the weight of a pixel at that distance in linear interpolation."""
    return (1 - distance.abs()).clamp(min=0)


def read_pixels(
    images: Float[Tensor, "n c h w"], row: Float[Tensor, "n m"], column: Float[Tensor, "n m"]
) -> Float[Tensor, "n c m"]:
    """Read pixels at whole-numbered positions, zero outside the image."""
    height, width = images.shape[2:]
    within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
    index = index[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index) * within[:, None]
