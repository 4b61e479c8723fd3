"""Decoding of single image files into bytes of the size and colours that a spec asks for.

Resizing uses Pillow's bilinear filter, which antialiases when it shrinks. `crop` scales the
shorter side to the resolution and cuts out the middle; `stretch` scales both sides to it.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.terms import AlphaName, Fit
from ddspec.engine.images.open_image import (
    MAX_PIXELS,
    MAX_RESIZED_PIXELS,
    ImageFile,
    alone_if,
    broken_image,
    is_grey,
    is_large_file,
    is_transparent,
    load_image,
    open_image,
)
from ddspec.engine.images.raw_dataset import Pixels

LAYERS = 5
"""Bytes per pixel while an image is resized: four channels, and what Pillow needs beside them."""


@dataclass(frozen=True)
class TargetFormat:
    """The format that every image of a dataset is converted to."""

    channels: int
    height: int
    width: int
    resizes: bool
    """Whether images of another size are resized; otherwise they are refused."""
    fit: Fit
    alpha: AlphaName


def decode_image(file: ImageFile, target: TargetFormat) -> Pixels:
    """Decode an image into bytes (channels, height, width).

    Raises DataError if it is broken or does not fit `target`.
    """
    with alone_if(is_large_file(file)):
        head = open_image(file, target.resizes)
        with alone_if(head.size[0] * head.size[1] > MAX_PIXELS):
            image = load_image(head, file, target.width if target.resizes else None)
            image = fitted(with_channels(image, file, target), file, target)
    array = np.asarray(image, dtype=np.uint8)
    return array[None] if target.channels == 1 else array.transpose(2, 0, 1)


def with_channels(image: Image.Image, file: ImageFile, target: TargetFormat) -> Image.Image:
    """Return an image in the colours of `target`, without transparency."""
    try:
        image = without_alpha(image, file, target.alpha)
        return image.convert("L" if target.channels == 1 else "RGB")
    except DataError:
        raise
    except Exception as error:
        raise broken_image(file) from error


def fitted(image: Image.Image, file: ImageFile, target: TargetFormat) -> Image.Image:
    """Return an image in the size of `target`.

    Raises DataError if it has another size and is not to be resized.
    """
    if image.size == (target.width, target.height):
        return image
    if not target.resizes:
        raise DataError(
            f"{file.label} has {image.width}x{image.height} pixels, "
            f"but others have {target.width}x{target.height}",
            hint="dataset.resolution resizes all images to one size",
        )
    return resize(image, target.width, target.fit)


def without_alpha(image: Image.Image, file: ImageFile, alpha: AlphaName) -> Image.Image:
    """Return an image without transparency, laid on the background that a spec asks for.

    Raises DataError if the image is transparent and the spec names no background.
    """
    if not is_transparent(image):
        return image
    if alpha == "refuse":
        raise DataError(
            f"{file.label} is transparent",
            hint='dataset.alpha = "white" or "black" lays such images on that background',
        )
    layer = image.convert("RGBA")
    background = Image.new("RGBA", layer.size, alpha)
    return Image.alpha_composite(background, layer).convert("L" if is_grey(image) else "RGB")


def resize(image: Image.Image, side: int, fit: Fit) -> Image.Image:
    """Return a square image with sides of `side` pixels."""
    if fit == "crop":
        scale = side / min(image.size)
        width, height = (max(side, round(length * scale)) for length in image.size)
        if width * height > MAX_RESIZED_PIXELS:
            claim(
                LAYERS * width * height,
                f"resizing an image of {image.width}x{image.height} pixels, the shorter side to "
                f"{side},",
                'dataset.fit = "stretch" or a smaller dataset.resolution; or remove the image',
            )
        left, top = (width - side) // 2, (height - side) // 2
        scaled = image.resize((width, height), Image.Resampling.BILINEAR)
        return scaled.crop((left, top, left + side, top + side))
    return image.resize((side, side), Image.Resampling.BILINEAR)


def resized_arrays(images: Pixels, white: int, side: int, fit: Fit) -> Pixels:
    """Resize images (n, channels, height, width) whose white is `white`; it becomes 255."""
    claim(
        len(images) * images.shape[1] * side * side,
        f"resizing {len(images):,} images to dataset.resolution = {side}",
        "a smaller dataset.resolution",
    )
    resized = np.empty((len(images), images.shape[1], side, side), dtype=np.uint8)
    for number, pixels in enumerate(images):
        scaled = np.round(pixels * (255.0 / white)).astype(np.uint8)
        layers = [np.asarray(resize(Image.fromarray(layer), side, fit)) for layer in scaled]
        resized[number] = np.stack(layers)
    return resized
