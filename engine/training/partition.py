"""Partitioned images: each stored image is f x f small ones, which networks see enlarged.

The multi-formation of IDC (arXiv:2205.14959). The small images are enlarged bilinearly to the full
size before augmentation, which is linear in the stored pixels, so that every objective can learn
them. With f = 1 a stored image is what networks see.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ddspec.engine.training.augmentation import interpolation


def small_images(stored: Float[Tensor, "n c h w"], factor: int) -> Float[Tensor, "m c k l"]:
    """Cut stored images into their small ones: those of an image follow one another, by rows."""
    n, c, h, w = stored.shape
    parts = stored.view(n, c, factor, h // factor, factor, w // factor)
    return parts.permute(0, 2, 4, 1, 3, 5).reshape(-1, c, h // factor, w // factor)


def enlarged(small: Float[Tensor, "n c h w"], factor: int) -> Float[Tensor, "n c k l"]:
    """Enlarge images bilinearly; the values at the border continue outwards, as in IDC's code."""
    rows, columns = (enlargement(size, factor, small) for size in small.shape[2:])
    # A product with matrices, whose derivative is deterministic on every device.
    return rows @ small @ columns.mT


def enlargement(size: int, factor: int, like: Tensor) -> Float[Tensor, "out size"]:
    """Return the matrix that reads a line of pixels at `factor` times as many positions."""
    fine = torch.arange(size * factor, dtype=like.dtype, device=like.device)
    # Pixels are squares whose centres lie at k + 1/2.
    positions = ((fine + 0.5) / factor - 0.5).clamp(0, size - 1)
    return interpolation(positions[None], size)[0]


def seen_images(
    stored: Float[Tensor, "n c h w"], factor: int, indices: Tensor | None = None
) -> Float[Tensor, "m c h w"]:
    """Return the images that networks see, or those of them that `indices` name."""
    if factor == 1:
        return stored if indices is None else stored[indices]
    small = small_images(stored, factor)
    return enlarged(small if indices is None else small[indices], factor)


def seen_labels(labels: Tensor, factor: int) -> Tensor:
    """Return the label of every image that networks see, which is that of the stored image."""
    return labels if factor == 1 else labels.repeat_interleave(factor**2, dim=0)


def composed(images: Float[Tensor, "m c h w"], factor: int) -> Float[Tensor, "n c h w"]:
    """Return stored images that show full-sized ones: each pixel is the mean of f x f pixels."""
    if factor == 1:
        return images
    small = torch.nn.functional.avg_pool2d(images, factor)
    count, c, h, w = small.shape
    parts = small.view(count // factor**2, factor, factor, c, h, w)
    return parts.permute(0, 3, 1, 4, 2, 5).reshape(-1, c, h * factor, w * factor)
