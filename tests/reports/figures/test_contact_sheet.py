"""Contact sheets: which images they show, where, and what distillation changed."""

import base64
import io

import pytest
from PIL import Image

from ddspec.dsl.record.synthetic_set import ImageSheet
from ddspec.reports.figures.contact_sheet import (
    MOST_SHEET_PIXELS,
    cells_of,
    contact_sheets,
    embed_inside,
    shown_part,
    thumbnail,
    tiles,
)


def sheet_of(rows: int, columns: int, side: int = 4, iteration: int = 7) -> ImageSheet:
    return ImageSheet(
        file="a.png",
        iteration=iteration,
        rows=rows,
        columns=columns,
        image_height=side,
        image_width=side,
    )


def image_of(sheet: ImageSheet, offset: int = 0) -> Image.Image:
    """A sheet whose images have their number as grey value."""
    image = Image.new("L", (sheet.columns * sheet.image_width, sheet.rows * sheet.image_height))
    for row in range(sheet.rows):
        for column in range(sheet.columns):
            left, top = column * sheet.image_width, row * sheet.image_height
            box = (left, top, left + sheet.image_width, top + sheet.image_height)
            image.paste(row * sheet.columns + column + offset, box)
    return image.convert("LA")


def pixels(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize(
    ("rows", "columns", "side", "expected"),
    [
        (10, 1, 32, (2, 5)),
        (10, 10, 32, (10, 10)),
        (10, 50, 32, (10, 10)),
        (100, 1, 32, (10, 10)),
        (3, 1, 8, (1, 3)),
        (200, 10, 64, (6, 6)),
        (10, 1, 128, (2, 5)),
    ],
)
def test_contact_sheet_has_rows_of_a_class_or_of_classes(rows, columns, side, expected):
    sheet = sheet_of(rows, columns, side)
    cells = cells_of(sheet)

    assert (len(cells), len(cells[0])) == expected
    assert sum(map(len, cells)) * side * side <= MOST_SHEET_PIXELS
    if columns > 1:
        assert all(len({row for row, _ in line}) == 1 for line in cells)


def test_tiles_have_the_pixels_of_their_images():
    sheet = sheet_of(3, 4)
    made = tiles(sheet, image_of(sheet))

    assert made.size == (4 * 5 - 1, 3 * 5 - 1)
    assert [made.getpixel((5 * x, 5 * y))[0] for y in range(3) for x in range(4)] == [*range(12)]


def test_change_is_grey_where_nothing_changed():
    first, last = sheet_of(2, 2, iteration=0), sheet_of(2, 2)
    after = image_of(last)
    after.paste((110, 255), (0, 0, 4, 4))

    result, before, change = contact_sheets((first, image_of(first)), (last, after), embed_inside)

    assert (result.caption, before.caption) == ("after 7 iterations", "before distillation")
    shown = pixels(change.uri)
    assert shown.getpixel((0, 0)) == (128 + 55,) * 3 + (255,)
    assert shown.getpixel((6, 6)) == (128,) * 3 + (255,)
    assert [sheet.is_change for sheet in (result, before, change)] == [False, False, True]


def test_what_lies_between_images_is_transparent():
    first, last = sheet_of(2, 2, iteration=0), sheet_of(2, 2)
    for sheet in contact_sheets((first, image_of(first)), (last, image_of(last)), embed_inside):
        assert pixels(sheet.uri).getpixel((4, 0))[-1] == 0


def test_a_set_that_was_not_distilled_has_one_contact_sheet():
    sheet = sheet_of(2, 2, iteration=0)
    opened = (sheet, image_of(sheet))

    (only,) = contact_sheets(opened, opened, embed_inside)
    assert only.alt == "All 4 synthetic images, the initial set"


def test_what_a_contact_sheet_leaves_out_is_said():
    assert shown_part(sheet_of(10, 50)) == ("10 of 50 synthetic images of 10 of 10 classes")
    assert shown_part(sheet_of(200, 1)).startswith("The first 100 of 200")


def test_thumbnail_is_small_whatever_the_size_of_the_images():
    sheet = sheet_of(10, 3, side=64)
    small = thumbnail(sheet, image_of(sheet))

    assert (small.width, small.height) == (5 * 17 - 1, 2 * 17 - 1)
    assert thumbnail(sheet_of(10, 1, side=8), image_of(sheet_of(10, 1, side=8))).width == 2 * 44
    assert pixels(small.uri).getpixel((17, 0))[0] == 3
