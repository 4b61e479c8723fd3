"""The synthetic images of a run, cut from its sheets into one picture per class.

A sheet is a PNG with a row per class and a column per image; a picture sets the images of one
class out in rows of ten with a gap of one pixel, so that neighbours do not run together.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record import ImageSheet, Record
from ddspec.reports.units import plural

MOST_IMAGES = 1000
"""Images on a page; more make it too large to send."""
PER_ROW = 10
SHOWN_SIDE = 88
"""Pixels of the page that an image should take at least."""
MOST_PIXELS = 200_000_000


@dataclass(frozen=True)
class Picture:
    """The images of one class at one iteration, as one PNG."""

    caption: str
    alt: str
    uri: str
    width: int
    height: int
    """Size at which the page shows it."""


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
    """What is left out, in words; empty where nothing is."""


def gallery(record: Record, images: Mapping[str, bytes]) -> Gallery:
    """The synthetic set before distillation and the one that the result is of.

    `images` holds the PNG of every sheet by its file name. Raises RecordError where a sheet is
    missing, is no PNG, or has another size than the record says.
    """
    shown = shown_sheets(record)
    if not shown:
        return Gallery((), "")
    rows, columns = min(s.rows for s in shown), min(s.columns for s in shown)
    most_columns = max(1, min(columns, MOST_IMAGES // (len(shown) * rows)))
    most_rows = min(rows, MOST_IMAGES // (len(shown) * most_columns))
    opened = [(sheet, open_sheet(sheet, images)) for sheet in shown]
    names = record.dataset.class_names
    return Gallery(
        classes=tuple(
            ClassImages(
                name=(name := names[row] if row < len(names) else f"row {row + 1}"),
                pictures=tuple(
                    picture(sheet, image, row, most_columns, name) for sheet, image in opened
                ),
            )
            for row in range(most_rows)
        ),
        cut=cut_words((most_rows, rows), (most_columns, columns)),
    )


def shown_sheets(record: Record) -> Sequence[ImageSheet]:
    """The earliest sheet, and that of the result or else the latest."""
    sheets = sorted(record.sheets, key=lambda sheet: sheet.iteration)
    if len(sheets) < 2:
        return sheets
    accuracy = record.results.accuracy
    chosen = [s for s in sheets[1:] if accuracy and s.iteration == accuracy.iteration]
    return [sheets[0], chosen[0] if chosen else sheets[-1]]


def cut_words(rows: tuple[int, int], columns: tuple[int, int]) -> str:
    """What of the sheets is not on the page."""
    said = []
    if rows[0] < rows[1]:
        said.append(f"the first {rows[0]:,} of {rows[1]:,} classes")
    if columns[0] < columns[1]:
        said.append(f"the first {columns[0]:,} of {columns[1]:,} images of each class")
    if not said:
        return ""
    return f"Shown are {' and '.join(said)}; the run folder has them all."


def open_sheet(sheet: ImageSheet, images: Mapping[str, bytes]) -> Image.Image:
    """The sheet as an image of grey values or colours with transparency."""
    if sheet.file not in images:
        raise RecordError(f"the image sheet {sheet.file} is missing")
    expected = (sheet.columns * sheet.image_width, sheet.rows * sheet.image_height)
    try:
        image = Image.open(io.BytesIO(images[sheet.file]), formats=["PNG"])
        # Compared before decoding: a small file may claim a very large picture.
        if image.size != expected or expected[0] * expected[1] > MOST_PIXELS:
            raise RecordError(
                f"the image sheet {sheet.file} is {image.width} x {image.height} pixels, "
                f"but the record says {expected[0]} x {expected[1]}"
            )
        return image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RecordError(f"the image sheet {sheet.file} cannot be read: {error}") from None


def picture(sheet: ImageSheet, image: Image.Image, row: int, count: int, name: str) -> Picture:
    """The first images of one class, set out in rows."""
    high, wide = sheet.image_height, sheet.image_width
    across = min(count, PER_ROW)
    down = -(-count // PER_ROW)
    tiled = Image.new(image.mode, (across * (wide + 1) - 1, down * (high + 1) - 1))
    for column in range(count):
        left, top = column * wide, row * high
        place = (column % PER_ROW * (wide + 1), column // PER_ROW * (high + 1))
        tiled.paste(image.crop((left, top, left + wide, top + high)), place)
    out = io.BytesIO()
    tiled.save(out, format="PNG", optimize=True)
    scale = max(1, round(SHOWN_SIDE / max(high, wide)))
    caption = "before" if sheet.iteration == 0 else f"iteration {sheet.iteration:,}"
    return Picture(
        caption=caption,
        alt=f"Class {name}: {plural(count, 'synthetic image')}, {caption}",
        uri="data:image/png;base64," + base64.b64encode(out.getvalue()).decode(),
        width=tiled.width * scale,
        height=tiled.height * scale,
    )
