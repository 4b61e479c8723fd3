"""Tables as lines of text with aligned columns."""

from collections.abc import Sequence

from ddspec.dsl.terminal_text import MOST_IN_MESSAGE, cut_text, escape_text


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns; cells are escaped and cut."""
    rows = [[cut_text(escape_text(cell), MOST_IN_MESSAGE) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
