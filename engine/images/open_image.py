"""Single image files, opened with limits, upright and with 8 bits per channel.

A decoder of Pillow may raise any exception on damaged bytes, so all of them mean a broken file
here; errors of the system come before, when the file is read.
"""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ddspec.dsl.diagnostics import DataError
from ddspec.engine.images.image_formats import FORMAT_OF, formats_for, suffix_of

MAX_FILE_BYTES = 2**30
"""Larger files are refused before memory is allocated for them."""

MAX_PIXELS = 4096 * 4096
"""Larger images are refused before they are decoded, unless they are resized."""

MAX_RESIZED_PIXELS = 16_384 * 16_384
"""Larger images are refused before they are decoded, also if they are resized."""

GREY_MODES = ("1", "L", "LA", "La")
"""Pillow's modes of images without colour: 1 bit, 8 bits, 8 bits with alpha."""

ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
"""Pillow's modes with an alpha channel."""

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How an image is turned upright, by its EXIF orientation; 1 is upright already."""

ORIENTATION_TAG = 0x0112

STORED_AT_ONCE = 64
"""Images of a file of many that are in work at the same time, so that none is far behind."""

ONE_LARGE_IMAGE = threading.RLock()
"""Held while a large file or image is in memory, so that threads do not multiply its size."""


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
    """Size in bytes; 0 if it is not known before the image is read."""
    read: Callable[[], bytes]
    position: int = 0
    """Its place in a file of many images, which are read fastest in that order."""


@dataclass(frozen=True)
class ImageHead:
    """What the header of an image says, before its pixels are decoded."""

    image: Image.Image
    orientation: int
    """EXIF orientation: 1 for upright, or a key of TRANSPOSITIONS."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright image."""
        width, height = self.image.size
        return (height, width) if self.orientation >= 5 else (width, height)

    @property
    def is_grey(self) -> bool:
        """Whether the image has no colours; a palette counts as colours."""
        return is_grey(self.image)


def is_grey(image: Image.Image) -> bool:
    """Return whether an image has no colours; a palette counts as colours."""
    return image.mode in GREY_MODES or image.mode.startswith(("I", "F"))


def is_transparent(image: Image.Image) -> bool:
    """Return whether an image has an alpha channel or a transparent colour."""
    return image.mode in ALPHA_MODES or "transparency" in image.info


@contextmanager
def limits_of_ddspec() -> Iterator[None]:
    """Let Pillow open images up to the limit of this module, while it is entered."""
    previous = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = MAX_RESIZED_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = previous


def alone_if(is_large: bool) -> AbstractContextManager[object]:
    """Return a lock that only one large file or image holds at a time."""
    return ONE_LARGE_IMAGE if is_large else nullcontext()


def is_large_file(file: ImageFile) -> bool:
    """Return whether a file needs so much memory that it is decoded alone."""
    return file.size > 4 * MAX_PIXELS


def open_image(file: ImageFile, is_resized: bool) -> ImageHead:
    """Open an image, reading only its header.

    Raises DataError if the file is not an image, or is too large.
    """
    if file.size > MAX_FILE_BYTES:
        raise too_large(file, file.size)
    data = file.read()
    # The size of an image in a column of a table is known only now.
    if len(data) > MAX_FILE_BYTES:
        raise too_large(file, len(data))
    try:
        image = Image.open(io.BytesIO(data), formats=formats_for(file.file_name))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{file.label} has more than the {MAX_RESIZED_PIXELS:,} pixels that are read",
            hint="shrink or remove it",
        ) from error
    except Exception as error:
        raise broken_image(file) from error
    check_size(image, file, is_resized)
    return ImageHead(image, orientation_of(image, data))


def too_large(file: ImageFile, size: int) -> DataError:
    """Return the error for a file of more bytes than are read."""
    return DataError(
        f"{file.label} has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read",
        hint="shrink or remove it",
    )


def check_size(image: Image.Image, file: ImageFile, is_resized: bool) -> None:
    """Raise DataError if an image is too large to be decoded."""
    size = f"{file.label} has {image.width}x{image.height} pixels"
    if image.width * image.height > MAX_RESIZED_PIXELS:
        raise DataError(f"{size}; at most {MAX_RESIZED_PIXELS:,} are read", "shrink or remove it")
    if not is_resized and image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"{size}; at most {MAX_PIXELS:,} are read if images are not resized",
            hint="set dataset.resolution, which resizes all images to one size; or shrink it",
        )


def broken_image(file: ImageFile) -> DataError:
    """Return the error for a file that is not an image, or only a part of one."""
    image_format = FORMAT_OF.get(suffix_of(file.file_name))
    if image_format is not None and image_format not in Image.OPEN:
        return DataError(
            f"{file.label} may be a {image_format} image, which this Pillow cannot decode",
            hint=f"install a Pillow with {image_format}, or save the image as PNG",
        )
    return DataError(f"{file.label} is not an image or is broken", hint="repair or remove it")


def orientation_of(image: Image.Image, data: bytes) -> int:
    """Return the EXIF orientation of an image; 1 if it says none or is damaged.

    Pillow turns TIFF images itself. It decodes a whole PNG to find its EXIF data, which may
    stand behind the pixels; so a PNG without any is recognised by its bytes.
    """
    if image.format == "TIFF":
        return 1
    marks = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
    if image.format == "PNG" and not any(mark in data for mark in marks):
        return 1
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return orientation if orientation in TRANSPOSITIONS else 1


def load_image(head: ImageHead, file: ImageFile, side: int | None) -> Image.Image:
    """Decode an image, turned upright and with 8 bits per channel.

    An image that is too large to be kept and is resized to `side` may come smaller, but at least
    twice as large as that. Raises DataError if it is broken, or its values have no known white.
    """
    image = head.image
    try:
        if side is not None and image.width * image.height > MAX_PIXELS:
            image.draft(image.mode, (2 * side, 2 * side))
        image.load()
    except Exception as error:
        raise broken_image(file) from error
    if image.mode.startswith(("I", "F")):
        image = with_8_bits(image, file)
    transposition = TRANSPOSITIONS.get(head.orientation)
    return image if transposition is None else image.transpose(transposition)


def with_8_bits(image: Image.Image, file: ImageFile) -> Image.Image:
    """Return a grey image of integers or floats with 8 bits.

    Grey becomes what Pillow makes of colours: of 16 bits the upper 8, or in PGM and PPM files
    255/65535 of the value, rounded. Floats from 0 to 1 are multiplied by 255 and rounded. Raises
    DataError if there are other values.
    """
    values = np.asarray(image)
    is_float = values.dtype.kind == "f"
    lowest, highest = values.min(), values.max()
    if not 0 <= lowest <= highest <= (1 if is_float else 65_535):  # Also refuses NaN.
        limit = "floats from 0 to 1" if is_float else "integers from 0 to 65,535"
        raise DataError(
            f"{file.label} has values from {lowest:g} to {highest:g}; {limit} are read",
            hint="save the images with 8 or 16 bits per channel",
        )
    if is_float:
        pixels = np.round(values * 255.0)
    else:
        pixels = np.round(values / 257.0) if image.format == "PPM" else values // 256
    grey = Image.fromarray(pixels.astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        alpha = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
        return Image.merge("LA", (grey, alpha))
    return grey
