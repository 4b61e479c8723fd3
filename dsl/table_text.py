"""Tables as text: CSV files, and small HTML tables for notebooks."""

import csv
import io
from collections.abc import Iterable, Sequence
from html import escape

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


def html_table(title: str, rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Return rows as a table below a title; without a `head`, the first column names the rows."""
    first = "td" if head else "th"
    lines = [html_row(head, "th", "th")] if head else []
    lines += [html_row(row, first, "td") for row in rows]
    body = "\n".join(lines)
    return f"<strong>{escape(title)}</strong>\n<table>\n{body}\n</table>"


def html_row(cells: Sequence[str], first: str, others: str) -> str:
    """Return a row of a table; `first` and `others` are the elements of its cells."""
    tags = [first, *[others] * (len(cells) - 1)]
    texts = [f"<{tag}>{escape(cell)}</{tag}>" for tag, cell in zip(tags, cells, strict=True)]
    return f"<tr>{''.join(texts)}</tr>"
