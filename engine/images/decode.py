"""Decoding of single image files into bytes of the size and colours that a spec asks for.

A decoder of Pillow may raise any exception on damaged bytes, so all of them mean a broken file
here; errors of the system come before, when the file is read.

Resizing uses Pillow's bilinear filter, which antialiases when it shrinks. `crop` scales the
shorter side to the resolution and cuts out the middle; `stretch` scales both sides to it.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.terms import AlphaName, Fit
from ddspec.engine.images.image_formats import formats_for
from ddspec.engine.images.raw_dataset import Pixels

MAX_FILE_BYTES = 2**30
"""Larger files are refused before memory is allocated for them."""

MAX_PIXELS = 4096 * 4096
"""Larger images are refused before they are decoded."""

GREY_MODES = ("1", "L", "LA")
"""Pillow's modes of images without colour: 1 bit, 8 bits, 8 bits with alpha."""


@dataclass(frozen=True)
class ImageFile:
    """An image file of a dataset: its split and class, and how to read its bytes."""

    split: str
    class_name: str
    """Name of its folder, which in some datasets is not the name of the class."""
    file_name: str
    """Its path below the folder of its class."""
    label: str
    """The file's path in messages."""
    size: int
    """Size in bytes."""
    read: Callable[[], bytes]


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


def open_image(file: ImageFile) -> Image.Image:
    """Open an image, reading only its header.

    Raises DataError if the file is not an image, or is too large.
    """
    if file.size > MAX_FILE_BYTES:
        raise DataError(
            f"{file.label} has {file.size:,} bytes; at most {MAX_FILE_BYTES:,} are read",
            hint="shrink or remove it",
        )
    data = file.read()
    try:
        image = Image.open(io.BytesIO(data), formats=formats_for(file.file_name))
    except Exception as error:
        raise broken_image(file) from error
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"{file.label} has {image.width}x{image.height} pixels; "
            f"at most {MAX_PIXELS:,} are read",
            hint="shrink or remove it",
        )
    return image


def broken_image(file: ImageFile) -> DataError:
    """Return the error for a file that is not an image, or only a part of one."""
    return DataError(f"{file.label} is not an image or is broken", hint="repair or remove it")


def is_grey(image: Image.Image) -> bool:
    """Return whether an image has no colours; a palette counts as colours."""
    return image.mode in GREY_MODES or image.mode.startswith(("I", "F"))


def is_transparent(image: Image.Image) -> bool:
    """Return whether an image has an alpha channel or a transparent colour."""
    return "A" in image.getbands() or "transparency" in image.info


def decode_image(file: ImageFile, target: TargetFormat) -> Pixels:
    """Decode an image into bytes (channels, height, width).

    Raises DataError if it is broken, has more than 8 bits per channel, or does not fit `target`.
    """
    image = open_image(file)
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{file.label} has more than 8 bits per channel",
            hint="save the images with 8 bits per channel",
        )
    try:
        image.load()
        image = without_alpha(image, file, target.alpha)
        image = image.convert("L" if target.channels == 1 else "RGB")
    except DataError:
        raise
    except Exception as error:
        raise broken_image(file) from error
    if image.size != (target.width, target.height):
        if not target.resizes:
            raise DataError(
                f"{file.label} has {image.width}x{image.height} pixels, "
                f"but others have {target.width}x{target.height}",
                hint="dataset.resolution resizes all images to one size",
            )
        image = resize(image, target.width, target.fit)
    array = np.asarray(image, dtype=np.uint8)
    return array[None] if target.channels == 1 else array.transpose(2, 0, 1)


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
        left, top = (width - side) // 2, (height - side) // 2
        scaled = image.resize((width, height), Image.Resampling.BILINEAR)
        return scaled.crop((left, top, left + side, top + side))
    return image.resize((side, side), Image.Resampling.BILINEAR)


def resized_arrays(images: Pixels, white: int, side: int, fit: Fit) -> Pixels:
    """Resize images (n, channels, height, width) whose white is `white`; it becomes 255."""
    resized = np.empty((len(images), images.shape[1], side, side), dtype=np.uint8)
    for number, pixels in enumerate(images):
        scaled = np.round(pixels * (255.0 / white)).astype(np.uint8)
        layers = [np.asarray(resize(Image.fromarray(layer), side, fit)) for layer in scaled]
        resized[number] = np.stack(layers)
    return resized
