"""Tables as lines of text with aligned columns, cut to the width of the terminal if asked."""

from collections.abc import Collection, Sequence

from ddspec.dsl.diagnostics import cell_width
from ddspec.dsl.terminal_text import MOST_IN_MESSAGE, cut_text, escape_text

GAP = "  "
LEAST = 8
"""Cells that a cut column keeps."""


def columns(
    rows: Sequence[Sequence[str]], width: int | None = None, whole: Collection[int] = ()
) -> list[str]:
    """Return the rows as lines with aligned columns; cells are escaped and cut.

    If lines would be longer than `width`, the widest columns lose cells, except those whose
    numbers are in `whole`; the first column is cut in its middle, the others at their end.
    """
    rows = [[cut_text(escape_text(cell), MOST_IN_MESSAGE) for cell in row] for row in rows]
    widths = [max(cells(row[column]) for row in rows) for column in range(len(rows[0]))]
    if width is not None:
        widths = narrowed(widths, width, whole)
    lines = [
        GAP.join(
            padded(shortened(cell, size, in_middle=column == 0), size)
            for column, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    # On a very narrow terminal even the shortest columns are too wide.
    return lines if width is None else [first_cells(line, width) for line in lines]


def narrowed(widths: Sequence[int], width: int, whole: Collection[int]) -> list[int]:
    """Return the widths of columns that fit on a line together, as far as they can be cut."""
    left = list(widths)
    while sum(left) + len(GAP) * (len(left) - 1) > width:
        cut = [n for n, size in enumerate(left) if n not in whole and size > LEAST]
        if not cut:
            break
        left[max(cut, key=left.__getitem__)] -= 1
    return left


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
