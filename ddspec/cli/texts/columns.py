"""Tables as lines of text with aligned columns, cut to the width of the terminal if asked."""

from collections.abc import Collection, Mapping, Sequence

from ddspec.dsl.diagnostics import cell_width
from ddspec.dsl.terminal_text import MOST_IN_MESSAGE, cut_text, escape_text

GAP = "  "
LEAST = 8
"""Cells that a cut column keeps."""


def columns(
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    whole: Collection[int] = (),
    left_out: Sequence[int] = (),
) -> list[str]:
    """Return the rows as lines with aligned columns; cells are escaped and cut.

    If lines would be longer than `width`, the widest columns lose cells, except those whose
    numbers are in `whole`; the first column is cut in its middle, the others at their end. If
    that is not enough, the columns in `left_out` go, one after the other.
    """
    rows = [[cut_text(escape_text(cell), MOST_IN_MESSAGE) for cell in row] for row in rows]
    widths = {column: max(cells(row[column]) for row in rows) for column in range(len(rows[0]))}
    if width is not None:
        widths = narrowed(widths, width, whole, left_out)
    lines = [
        GAP.join(
            padded(shortened(row[column], size, in_middle=column == 0), size)
            for column, size in widths.items()
        ).rstrip()
        for row in rows
    ]
    # On a very narrow terminal even the shortest columns are too wide.
    return lines if width is None else [first_cells(line, width) for line in lines]


def narrowed(
    widths: Mapping[int, int], width: int, whole: Collection[int], left_out: Sequence[int]
) -> dict[int, int]:
    """Return the widths of the columns that fit on a line together, by their numbers."""
    kept = dict(widths)
    while line_width(kept) > width:
        cut = [number for number, size in kept.items() if number not in whole and size > LEAST]
        if not cut:
            break
        kept[max(cut, key=kept.__getitem__)] -= 1
    if line_width(kept) <= width or not left_out:
        return kept
    fewer = {number: size for number, size in widths.items() if number != left_out[0]}
    return narrowed(fewer, width, whole, left_out[1:])


def line_width(widths: Mapping[int, int]) -> int:
    """Return the cells of a line with columns of these widths."""
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def shortened(cell: str, size: int, in_middle: bool) -> str:
    """Return a cell in at most `size` terminal cells, with dots where it is cut."""
    if cells(cell) <= size:
        return cell
    if not in_middle:
        return first_cells(cell, size - 3) + "..."
    head = (size - 3) // 3
    tail = first_cells(cell[::-1], size - 3 - head)[::-1]
    return first_cells(cell, head) + "..." + tail


def first_cells(text: str, size: int) -> str:
    """Return the beginning of a text that takes at most `size` terminal cells."""
    taken, used = 0, 0
    while taken < len(text) and used + cell_width(text[taken]) <= size:
        used += cell_width(text[taken])
        taken += 1
    return text[:taken]


def padded(cell: str, size: int) -> str:
    """Return a cell with spaces up to `size` terminal cells."""
    return cell + " " * (size - cells(cell))


def cells(text: str) -> int:
    """Return the number of terminal cells that a text takes."""
    return sum(map(cell_width, text))
