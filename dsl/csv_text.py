"""CSV text whose cells no spreadsheet takes for a formula."""

import csv
import io
from collections.abc import Iterable, Sequence

Cell = float | int | str | tuple[float, ...] | None

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters by which spreadsheets know a formula, or that they skip before one."""


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a header line and rows as CSV.

    Every CSV file of ddspec is written by this function, because its texts may come from
    strangers.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(harmless_text, header))
    writer.writerows(map(csv_cell, row) for row in rows)
    return text.getvalue()


def csv_cell(value: Cell) -> Cell:
    """Return a value as a CSV cell; spaces separate several numbers."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return harmless_text(value) if isinstance(value, str) else value


def harmless_text(text: str) -> str:
    """Return a text with an apostrophe in front if a spreadsheet could take it for a formula.

    Numbers stay as they are. A carriage return, which would begin a new row, becomes a space.
    """
    line = text.replace("\r", " ")
    return f"'{line}" if text.startswith(FORMULA_STARTS) and not is_number(text) else line


def is_number(text: str) -> bool:
    """Return whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
