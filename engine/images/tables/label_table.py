"""A table of labels as text: CSV or TSV, with its separator and encoding recognised."""

import codecs
import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.terminal_text import escape_text, message_of
from ddspec.engine.images.listing import FoundFile

SEPARATORS = ",;\t|"
MEMORY_PER_BYTE = 12
"""Bytes of memory that a byte of a table takes as Python's texts."""

SIGNATURES = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"))
"""First bytes of a file, and the encoding that they mean."""


@dataclass(frozen=True)
class Row:
    """A row of a table that is not empty."""

    line: int
    """Number of its last line in the file, from 1."""
    cells: Sequence[str]


@dataclass(frozen=True)
class Table:
    """The rows of a table, all with the same number of cells."""

    parts: tuple[str, ...]
    """Path of its file below the dataset's folder."""
    label: str
    """The file's path in messages."""
    header: Sequence[str]
    """The first row, which has the names of the columns, unless the table has none."""
    rows: Sequence[Row]
    """All rows but the first."""
    digest: str
    """SHA-256 of the file."""


def read_table(file: FoundFile) -> Table:
    """Read a table; raise DataError if it is not a table, or its rows have different lengths."""
    content = file.read()
    claim(MEMORY_PER_BYTE * len(content), f"reading {file.label}")
    digest = hashlib.sha256(content).hexdigest()
    text = as_text(content, file.label)
    separator = "\t" if file.parts[-1].lower().endswith(".tsv") else separator_of(text)
    rows = list(rows_of(text, separator, file.label))
    if not rows:
        raise DataError(f"{file.label} is empty")
    header = [cell.strip() for cell in rows[0].cells]
    for row in rows[1:]:
        if len(row.cells) != len(header):
            raise DataError(
                f"line {row.line} of {file.label} has {in_cells(row.cells)}, but the first has "
                f"{in_cells(header)}",
                hint='put a cell that holds the separator in quotes, "a, b"; or move a table that '
                "has no labels out of the folder",
            )
    return Table(file.parts, file.label, header, rows[1:], digest)


def in_cells(cells: Sequence[str]) -> str:
    """Return a number of cells in words."""
    return f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"


def as_text(content: bytes, label: str) -> str:
    """Return a file's bytes as a text; bytes that are not UTF-8 stay as they are in file names."""
    for beginning, encoding in SIGNATURES:
        if content.startswith(beginning):
            try:
                return content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
            except UnicodeDecodeError as error:
                raise DataError(f"{label} is not {encoding}", "save it as UTF-8") from error
    return content.decode("utf-8", "surrogateescape")


def separator_of(text: str) -> str:
    """Return the separator that the first line has most often; the comma if it has none."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return max(SEPARATORS, key=line.count)


def rows_of(text: str, separator: str, label: str) -> Iterator[Row]:
    """Yield the rows that are not empty; raise DataError if a row cannot be read."""
    # A quote that is never closed would make one cell of the rest of the file.
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield Row(reader.line_num, [cell.strip() for cell in cells])
    except csv.Error as error:
        raise DataError(
            f"{label} is not a table: line {reader.line_num}: {escape_text(message_of(error))}",
            hint="save it as CSV, as spreadsheets and pandas do; or move it out of the folder if "
            "it has no labels",
        ) from error
