"""The synthetic images of a run as a notebook shows them."""

import base64
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

from ddspec.dsl.record.file_names import IMAGES
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.synthetic_set import ImageSheet
from ddspec.dsl.regular_file import read_regular_file

MOST_SHOWN = 10
"""Most classes, and most images of a class, that are shown."""
SIDE = 64
"""Pixels of an image's side on the screen."""


def picture_html(folder: Path, record: Record) -> str:
    """Return the images of a run's chosen synthetic set; empty if there are none to show."""
    sheet = shown_sheet(record)
    if sheet is None:
        return ""
    try:
        picture = transposed(read_regular_file(folder / IMAGES / sheet.file), sheet)
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    shown = min(MOST_SHOWN, sheet.rows)
    classes = f"{shown} of {sheet.rows} classes" if shown < sheet.rows else f"{shown} classes"
    text = f"Synthetic images of {classes} after {sheet.iteration} iterations, a column per class"
    encoded = base64.b64encode(picture).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{encoded}" alt="{escape(text)}" '
        f'style="width: {shown * SIDE}px; image-rendering: pixelated">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )


def shown_sheet(record: Record) -> ImageSheet | None:
    """Return the sheet of the chosen iteration, or the last one."""
    accuracy = record.results.accuracy
    sheets = {sheet.iteration: sheet for sheet in record.sheets}
    if accuracy is not None and accuracy.iteration in sheets:
        return sheets[accuracy.iteration]
    return sheets[max(sheets)] if sheets else None


def transposed(data: bytes, sheet: ImageSheet) -> bytes:
    """Return a PNG whose columns are the first rows of a sheet, which are its classes."""
    height, width = sheet.image_height, sheet.image_width
    rows, columns = min(MOST_SHOWN, sheet.rows), min(MOST_SHOWN, sheet.columns)
    with Image.open(BytesIO(data), formats=["PNG"]) as whole:
        picture = Image.new(whole.mode, (rows * width, columns * height))
        for row in range(rows):
            for column in range(columns):
                left, top = column * width, row * height
                cell = whole.crop((left, top, left + width, top + height))
                picture.paste(cell, (row * width, column * height))
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
