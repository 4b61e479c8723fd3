"""The synthetic images of a run: one picture per class and iteration, cut from sheets.

A sheet is a PNG with a row per class and a column per image; a picture sets the images of one
class out in rows of ten with a gap of one pixel, so that neighbours do not run together.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.synthetic_set import ImageSheet
from ddspec.reports.figures.contact_sheet import (
    ContactSheet,
    Keep,
    contact_sheets,
    embed_inside,
    png_bytes,
    shape_of,
    shown_part,
)
from ddspec.reports.format import evenly_spaced_indices

PIXELS_INSIDE = 1_024_000
"""Most pixels of all pictures of a page; 1,000 images of 32 x 32 make it 4 MB."""
MOST_BETWEEN = 9
"""Most iterations shown between the first and that of the result."""
PER_ROW = 10
SHOWN_SIDE = 88
"""Smallest side of an image on the page, in pixels."""
MOST_SMALL_WIDTH = 100
"""Most width of a picture of which a phone shows four in a row, in pixels."""
MOST_PAIR_WIDTH = 180
"""Width of a picture up to which the page shows those of all classes at once, in pixels."""
MOST_PIXELS = 200_000_000
PICTURE_NAME = r"(class-\d{4,}-iteration-\d{6,}|contact-[a-z]+)\.png"
"""Names under which pictures are kept beside the page."""


@dataclass(frozen=True)
class Picture:
    """The images of one class at one iteration, as one PNG."""

    iteration: int
    caption: str
    alt: str
    uri: str
    width: int
    height: int
    """Size at which the page shows it."""
    between: bool
    """Whether the picture is of neither the first iteration nor that of the result."""


@dataclass(frozen=True)
class ClassImages:
    """One class: its name and a picture per shown iteration."""

    name: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Gallery:
    """All pictures of a page."""

    classes: tuple[ClassImages, ...]
    cut: str
    """The omitted part in words; empty if everything is shown."""
    iterations: tuple[int, ...] = ()
    """Iterations with a picture of every class, in order."""
    result: int = 0
    """The iteration that is shown beside the first until the reader chooses another."""
    contact_sheets: tuple[ContactSheet, ...] = ()
    """The result, and after distillation also what it began with and the change."""
    shown_part: str = ""
    """The part of the images that the contact sheets show, in words."""

    @property
    def few(self) -> bool:
        """Return whether several pairs of pictures fit into a row of the page."""
        return all(
            picture.width <= MOST_PAIR_WIDTH for one in self.classes for picture in one.pictures
        )

    @property
    def are_small_pairs(self) -> bool:
        """Return whether the pictures of two classes fit beside each other on a phone."""
        return all(
            len([picture for picture in one.pictures if not picture.between]) <= 2
            and all(picture.width <= MOST_SMALL_WIDTH for picture in one.pictures)
            for one in self.classes
        )


def gallery(
    record: Record,
    images: Mapping[str, bytes],
    most_pixels: int = PIXELS_INSIDE,
    keep: Keep = embed_inside,
) -> Gallery:
    """Return pictures of the initial set, of the set of the result, and of some between.

    `images` holds the PNG of every sheet by its file name. Raises RecordError if a sheet is
    missing, is not a PNG, or differs in size from the record.
    """
    ends = shown_sheets(record)
    if not ends:
        return Gallery((), "")
    rows, columns = min(s.rows for s in ends), min(s.columns for s in ends)
    most_images = most_pixels // max(s.image_height * s.image_width for s in ends)
    most_columns = max(1, min(columns, most_images // (len(ends) * rows)))
    most_rows = max(1, min(rows, most_images // (len(ends) * most_columns)))
    left = most_images // (most_rows * most_columns) - len(ends)
    between = sheets_between(record, ends, max(0, min(left, MOST_BETWEEN)))
    shown = sorted([*ends, *between], key=lambda sheet: sheet.iteration)
    opened = [(sheet, open_sheet(sheet, images)) for sheet in shown]
    names = record.dataset.class_names

    def class_images(row: int) -> ClassImages:
        name = names[row] if row < len(names) else f"row {row + 1}"
        pictures = [
            picture(sheet, tile(sheet, image, row, most_columns), row, name, sheet in between, keep)
            for sheet, image in opened
        ]
        return ClassImages(name, tuple(pictures))

    return Gallery(
        classes=tuple(map(class_images, range(most_rows))),
        cut=cut_words((most_rows, rows), (most_columns, columns)),
        iterations=tuple(sheet.iteration for sheet in shown),
        result=ends[-1].iteration,
        contact_sheets=contact_sheets(opened[0], opened[shown.index(ends[-1])], keep),
        shown_part=shown_part(ends[-1]),
    )


def shown_sheets(record: Record) -> list[ImageSheet]:
    """Return the earliest sheet, and that of the result or else the latest."""
    sheets = sorted(record.sheets, key=lambda sheet: sheet.iteration)
    if len(sheets) < 2:
        return sheets
    accuracy = record.results.accuracy
    chosen = [s for s in sheets[1:] if accuracy and s.iteration == accuracy.iteration]
    return [sheets[0], chosen[0] if chosen else sheets[-1]]


def sheets_between(record: Record, ends: Sequence[ImageSheet], most: int) -> list[ImageSheet]:
    """Return some of the other sheets, evenly spread; those of another shape are left out."""
    others = sorted(
        (s for s in record.sheets if s not in ends and shape_of(s) == shape_of(ends[0])),
        key=lambda sheet: sheet.iteration,
    )
    if most < 2:
        return others[:most]
    return [others[index] for index in evenly_spaced_indices(len(others), most)]


def cut_words(rows: tuple[int, int], columns: tuple[int, int]) -> str:
    """Return in words what the page leaves out of the sheets."""
    parts = []
    if rows[0] < rows[1]:
        parts.append(f"the first {rows[0]:,} of {rows[1]:,} classes")
    if columns[0] < columns[1]:
        parts.append(f"the first {columns[0]:,} of {columns[1]:,} images of each class")
    if not parts:
        return ""
    return f"Shown are {' and '.join(parts)}; the run folder has them all."


def open_sheet(sheet: ImageSheet, images: Mapping[str, bytes]) -> Image.Image:
    """Return the sheet as an image of grey values or of colours with transparency."""
    if sheet.file not in images:
        raise RecordError(f"the image sheet {sheet.file} is missing")
    expected = (sheet.columns * sheet.image_width, sheet.rows * sheet.image_height)
    try:
        image = Image.open(io.BytesIO(images[sheet.file]), formats=["PNG"])
        # Checked before decoding: a small file may claim to be a very large picture.
        if image.size != expected or expected[0] * expected[1] > MOST_PIXELS:
            raise RecordError(
                f"the image sheet {sheet.file} is {image.width} x {image.height} pixels, "
                f"but the record says {expected[0]} x {expected[1]}"
            )
        return image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RecordError(f"the image sheet {sheet.file} cannot be read: {error}") from None


def tile(sheet: ImageSheet, image: Image.Image, row: int, count: int) -> Image.Image:
    """Return the first images of one class, arranged in rows."""
    high, wide = sheet.image_height, sheet.image_width
    across = min(count, PER_ROW)
    down = -(-count // PER_ROW)
    tiled = Image.new(image.mode, (across * (wide + 1) - 1, down * (high + 1) - 1))
    for column in range(count):
        left, top = column * wide, row * high
        position = (column % PER_ROW * (wide + 1), column // PER_ROW * (high + 1))
        tiled.paste(image.crop((left, top, left + wide, top + high)), position)
    return tiled


def picture(
    sheet: ImageSheet,
    tiled: Image.Image,
    row: int,
    name: str,
    between: bool,
    keep: Keep,
) -> Picture:
    """Return the images of one class as the page shows them."""
    scale = max(1, round(SHOWN_SIDE / max(sheet.image_height, sheet.image_width)))
    caption = "before" if sheet.iteration == 0 else f"iteration {sheet.iteration:,}"
    return Picture(
        iteration=sheet.iteration,
        caption=caption,
        alt=f"Class {name}: synthetic images, {caption}",
        uri=keep(f"class-{row:04d}-iteration-{sheet.iteration:06d}.png", png_bytes(tiled)),
        width=tiled.width * scale,
        height=tiled.height * scale,
        between=between,
    )
