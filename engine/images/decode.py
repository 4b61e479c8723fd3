"""One image file after another: opened, checked, brought to the size and colours that are asked.

Resizing is Pillow's bilinear filter, which antialiases when it shrinks; `crop` brings the shorter
side to the resolution and cuts out the middle, `stretch` brings both sides to it.
"""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.terms import AlphaName, Fit
from ddspec.engine.images.raw_dataset import Pixels

MAX_PIXELS = 4096 * 4096
GREY_MODES = ("1", "L", "LA")


@dataclass(frozen=True)
class ImageFile:
    """One image that can be read: where it belongs and how to get its bytes."""

    split: str
    class_name: str
    """Name of its folder, which for some datasets is not the name of the class."""
    file_name: str
    read: Callable[[], bytes]

    @property
    def place(self) -> str:
        """As messages name it."""
        return f"{self.split}/{self.class_name}/{self.file_name}"


@dataclass(frozen=True)
class TargetFormat:
    """What every image is brought to."""

    channels: int
    height: int
    width: int
    resizes: bool
    """Whether images of another size are resized; else they are refused."""
    fit: Fit
    alpha: AlphaName


def open_image(file: ImageFile) -> Image.Image:
    """An image whose head was read. Raises DataError that names a broken one."""
    try:
        image = Image.open(io.BytesIO(file.read()))
    except (UnidentifiedImageError, *BROKEN) as error:
        raise broken_image(file) from error
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{file.place} claims {image.width}x{image.height} pixels")
    return image


BROKEN = (OSError, SyntaxError, ValueError, zipfile.BadZipFile, Image.DecompressionBombError)


def broken_image(file: ImageFile) -> DataError:
    """A file that holds no image, or only a part of one."""
    return DataError(f"{file.place} is broken or no image", hint="repair or remove it")


def is_grey(image: Image.Image) -> bool:
    """Whether an image has no colours; a palette counts as colours."""
    return image.mode in GREY_MODES or image.mode.startswith(("I", "F"))


def is_transparent(image: Image.Image) -> bool:
    """Whether an image has an alpha channel or a transparent colour."""
    return "A" in image.getbands() or "transparency" in image.info


def decode_image(file: ImageFile, wanted: TargetFormat) -> Pixels:
    """An image as (channels, height, width) bytes. Raises DataError that names what is unfit."""
    image = open_image(file)
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{file.place} has more than 8 bits a pixel", hint="save the images with 8 bits"
        )
    try:
        image.load()
        image = without_alpha(image, file, wanted.alpha)
        image = image.convert("L" if wanted.channels == 1 else "RGB")
    except BROKEN as error:
        raise broken_image(file) from error
    if image.size != (wanted.width, wanted.height):
        if not wanted.resizes:
            raise DataError(
                f"{file.place} is {image.width}x{image.height} pixels, "
                f"others are {wanted.width}x{wanted.height}",
                hint="dataset.resolution brings all images to one size",
            )
        image = resize(image, wanted.width, wanted.fit)
    array = np.asarray(image, dtype=np.uint8)
    return array[None] if wanted.channels == 1 else array.transpose(2, 0, 1)


def without_alpha(image: Image.Image, file: ImageFile, alpha: AlphaName) -> Image.Image:
    """An image without transparency: on the background that is asked for."""
    if not is_transparent(image):
        return image
    if alpha == "refuse":
        raise DataError(
            f"{file.place} is transparent",
            hint='dataset.alpha = "white" or "black" lays such images on that background',
        )
    layer = image.convert("RGBA")
    background = Image.new("RGBA", layer.size, alpha)
    return Image.alpha_composite(background, layer).convert("L" if is_grey(image) else "RGB")


def resize(image: Image.Image, side: int, fit: Fit) -> Image.Image:
    """A square image of that many pixels a side."""
    if fit == "crop":
        scale = side / min(image.size)
        width, height = (max(side, round(length * scale)) for length in image.size)
        left, top = (width - side) // 2, (height - side) // 2
        whole = image.resize((width, height), Image.Resampling.BILINEAR)
        return whole.crop((left, top, left + side, top + side))
    return image.resize((side, side), Image.Resampling.BILINEAR)


def resized_arrays(images: Pixels, white: int, side: int, fit: Fit) -> Pixels:
    """The same for images (n, channels, height, width) that are arrays; 255 becomes white."""
    found = np.empty((len(images), images.shape[1], side, side), dtype=np.uint8)
    for number, pixels in enumerate(images):
        full = np.round(pixels * (255.0 / white)).astype(np.uint8)
        layers = [np.asarray(resize(Image.fromarray(layer), side, fit)) for layer in full]
        found[number] = np.stack(layers)
    return found
