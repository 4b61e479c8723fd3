"""Contact sheets: one picture of many synthetic images, to be taken in at a glance.

A row holds the images of one class, or one image of each of several classes if there is one
image per class. Neighbours are a pixel apart.
"""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image, ImageChops

from ddspec.dsl.record.synthetic_set import ImageSheet

MOST_ACROSS = MOST_DOWN = 10
"""Most images in a row and in a column of a contact sheet."""
FEW_CLASSES = 10
"""Up to this many classes of one image each are set out in two rows."""
MOST_SHEET_PIXELS = 163_840
"""Most pixels of a contact sheet: 100 images of 32 x 32 fit, or ten of 128 x 128."""
SHEET_SIDE = 340
"""Width at which a page shows a contact sheet, in pixels; whole multiples of its own width."""
THUMBNAIL_SIDE = 20
"""Side to which the images of a thumbnail are shrunk, in pixels."""
THUMBNAIL_WIDTH = 110
"""Width up to which a thumbnail of small images is enlarged, in pixels."""

Keep = Callable[[str, bytes], str]
"""Keeps a PNG under a name and returns its address for the page."""


def embed_inside(_: str, png: bytes) -> str:
    """Return an address that contains the PNG."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def png_bytes(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue()


@dataclass(frozen=True)
class ContactSheet:
    """One picture of many images, with the size at which a page shows it."""

    caption: str
    alt: str
    uri: str
    width: int
    height: int
    is_change: bool = False
    """Whether it shows a difference of images, most of which is grey."""


OpenSheet = tuple[ImageSheet, Image.Image]
"""A sheet of a record with its pixels."""


def contact_sheets(first: OpenSheet, result: OpenSheet, keep: Keep) -> tuple[ContactSheet, ...]:
    """Return the contact sheet of the result and, after distillation, what it began with.

    The third sheet is what distillation changed: grey where nothing changed, lighter where
    pixels grew, darker where they fell.
    """
    sheet, _ = result
    part = shown_part(sheet)
    after = tiles(*result)
    made = [contact_sheet(after, f"after {sheet.iteration:,} iterations", part, "result", keep)]
    if first[0].iteration == sheet.iteration or shape_of(first[0]) != shape_of(sheet):
        caption = f"iteration {sheet.iteration:,}" if sheet.iteration else "the initial set"
        return (contact_sheet(after, caption, part, "result", keep),)
    before = tiles(*first)
    made.append(contact_sheet(before, "before distillation", part, "before", keep))
    change = ImageChops.subtract(after.convert("RGB"), before.convert("RGB"), 2.0, 128)
    # A difference is opaque everywhere; what lies between the images is to stay transparent.
    change.putalpha(after.getchannel("A"))
    caption = "change: grey where nothing changed"
    made.append(replace(contact_sheet(change, caption, part, "change", keep), is_change=True))
    return tuple(made)


def contact_sheet(
    image: Image.Image, caption: str, part: str, name: str, keep: Keep
) -> ContactSheet:
    """Return a picture of tiles as a page shows it."""
    scale = max(1, SHEET_SIDE // image.width)
    return ContactSheet(
        caption=caption,
        alt=f"{part}, {caption}",
        uri=keep(f"contact-{name}.png", png_bytes(image)),
        width=image.width * scale,
        height=image.height * scale,
    )


def thumbnail(sheet: ImageSheet, image: Image.Image) -> ContactSheet:
    """Return ten images as a small picture, each shrunk to a few pixels."""
    cells = [(row, 0) for row in range(min(sheet.rows, FEW_CLASSES))]
    if len(cells) < FEW_CLASSES:
        every = [(row, column) for row in range(sheet.rows) for column in range(sheet.columns)]
        cells = every[:FEW_CLASSES]
    rows = [cells[:5], cells[5:]] if len(cells) > 5 else [cells]
    small = pasted(sheet, image, rows, THUMBNAIL_SIDE)
    return ContactSheet(
        caption="",
        alt=f"{len(cells)} synthetic images",
        uri=embed_inside("", png_bytes(small)),
        width=small.width * (scale := max(1, THUMBNAIL_WIDTH // small.width)),
        height=small.height * scale,
    )


def tiles(sheet: ImageSheet, image: Image.Image) -> Image.Image:
    """Return the images of a contact sheet, set out in rows."""
    return pasted(sheet, image, cells_of(sheet))


def cells_of(sheet: ImageSheet) -> list[list[tuple[int, int]]]:
    """Return the row and column in the sheet of every shown image, in rows as shown."""
    most = max(1, MOST_SHEET_PIXELS // (sheet.image_height * sheet.image_width))
    if sheet.columns == 1:
        count = min(sheet.rows, most, MOST_ACROSS * MOST_DOWN)
        across = -(-count // 2) if 5 < count <= FEW_CLASSES else min(count, MOST_ACROSS)
        cells = [(row, 0) for row in range(count)]
        return [cells[start : start + across] for start in range(0, count, across)]
    across = min(sheet.columns, MOST_ACROSS, max(1, int(most**0.5)))
    down = min(sheet.rows, MOST_DOWN, max(1, most // across))
    return [[(row, column) for column in range(across)] for row in range(down)]


def pasted(
    sheet: ImageSheet, image: Image.Image, rows: list[list[tuple[int, int]]], most_side: int = 0
) -> Image.Image:
    """Return the named images of a sheet, a pixel apart; `most_side` shrinks larger ones."""
    high, wide = sheet.image_height, sheet.image_width
    shrink = max(1, -(-max(high, wide) // most_side)) if most_side else 1
    tile_high, tile_wide = max(1, high // shrink), max(1, wide // shrink)
    across, down = max(map(len, rows)), len(rows)
    made = Image.new(image.mode, (across * (tile_wide + 1) - 1, down * (tile_high + 1) - 1))
    for y, cells in enumerate(rows):
        for x, (row, column) in enumerate(cells):
            left, top = column * wide, row * high
            cut = image.crop((left, top, left + wide, top + high))
            if shrink > 1:
                cut = cut.resize((tile_wide, tile_high), Image.Resampling.BOX)
            made.paste(cut, (x * (tile_wide + 1), y * (tile_high + 1)))
    return made


def shape_of(sheet: ImageSheet) -> tuple[int, int, int, int]:
    """Return the numbers of rows, columns and pixels of a sheet."""
    return (sheet.rows, sheet.columns, sheet.image_height, sheet.image_width)


def shown_part(sheet: ImageSheet) -> str:
    """Return in words which of the images a contact sheet shows."""
    cells = cells_of(sheet)
    shown, total = sum(map(len, cells)), sheet.rows * sheet.columns
    if shown == total:
        return f"All {total:,} synthetic images" if total > 1 else "The synthetic image"
    if sheet.columns == 1:
        return f"The first {shown:,} of {total:,} synthetic images, one per class"
    return (
        f"{len(cells[0]):,} of {sheet.columns:,} synthetic images of {len(cells):,} of "
        f"{sheet.rows:,} classes"
    )
